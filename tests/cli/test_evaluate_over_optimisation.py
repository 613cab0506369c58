"""`vlmalign evaluate over-optimisation`, on made-up run folders."""

import json

import pytest
import yaml


@pytest.fixture
def ppo(tmp_path):
    def write(name, seed, samples=4):
        folder = tmp_path / name
        folder.mkdir()
        config = {"seed": seed, "samples": samples, "reward": {"name": "scalar"}, "gold": {"name": "symbolic"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        curve = [(0, 0.0, 0.5), (2, 1.0, 0.8 + seed / 100), (4, 2.0 + seed / 100, 0.2)]
        lines = [
            {"step": k, "eval_kl": kl, "eval_reward": proxy, "eval_gold": gold, "eval_tokens": 10 + k}
            for k, (kl, proxy, gold) in enumerate(curve)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return write


def test_seeds_are_pooled_and_figures_plot_and_page_written(vlmalign, ppo, tmp_path):
    runs = [ppo(f"r{seed}", seed) for seed in (1, 2, 3)]
    files = ("--json", tmp_path / "r.json", "--plot", tmp_path / "r.png", "--report", tmp_path / "r.html")
    result = vlmalign("evaluate", "over-optimisation", *runs, "--points", 3, *files)
    assert result.code == 0, result
    assert "ppo: over-optimised. Gold is highest at KL 2" in " ".join(result.out.split())
    found = json.loads((tmp_path / "r.json").read_text())["arms"]["ppo"]
    assert found["fall_cross_fitted"]["mean"] == pytest.approx(-0.62)
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG" and "<svg" not in result.out
    assert "Is the reward over-optimised?" in (tmp_path / "r.html").read_text()


def test_arms_are_named_and_half_named_ones_refused(vlmalign, refused, ppo):
    a, b = ppo("a", 1), ppo("b", 2, samples=8)
    refused("evaluate", "over-optimisation", a, b, says="samples is 8, not 4")
    refused("evaluate", "over-optimisation", f"x={a}", b, says="give every run as NAME=RUN, or none")
    refused("evaluate", "over-optimisation", a, "--plot", "x.gif", says="ends on .svg or .png")
    refused("evaluate", "over-optimisation", "nowhere", says="config.yaml is missing")
    result = vlmalign("evaluate", "over-optimisation", f"x={a}", f"y={b}")
    assert result.code == 0 and "x: " in result.out and "y: " in result.out
