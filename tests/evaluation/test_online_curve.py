import json
import math

import pytest
import yaml

from vlmalign.evaluation.answer_growth import growth, words_growth
from vlmalign.evaluation.kl_plot import pooled_over_kl_plot
from vlmalign.evaluation.online_curve import online_over_optimisation
from vlmalign.evaluation.online_runs import check_one_arm, read_online_run
from vlmalign.evaluation.over_kl_report import render_over_kl
from vlmalign.records import DataError


@pytest.fixture
def run(tmp_path):
    """Write a run folder: points are KL, proxy, gold, tokens; answers are round, case, words."""

    def write(name, points, *, seed=1, answers=(), pessimism=0.0, gold="symbolic", se=0.01, finished=True):
        folder = tmp_path / name
        folder.mkdir()
        config = {"seed": seed, "out": str(folder), "samples": 4, "reward": {"name": "scalar"},
                  "gold": gold and {"name": gold}, "shaping": {"pessimism": pessimism}}  # fmt: skip
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        lines = [
            {"step": k, "eval_kl": kl, "eval_reward": proxy, "eval_gold": true, "eval_tokens": tokens,
             "eval_reward_se": se, "eval_gold_se": se}
            for k, (kl, proxy, true, tokens) in enumerate(points)
        ]  # fmt: skip
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [{"step": 0}, *lines]))
        said = [{"step": k, "case": case, "text": "word " * words} for k, case, words in answers]
        (folder / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))
        if finished:
            (folder / "summary.json").write_text(json.dumps({"algorithm": "ppo", "kept_round": 1}))
        return read_online_run(folder)

    return write


def rising_and_falling(run, name, shift, seed, **kwargs):
    """Gold rises by 0.4 to KL 2 and falls by 0.6 to KL 4 (and a seed's own bit); the proxy rises by 1 each."""
    points = [(0, 0.0, 0.5, 10), (2, 1.0, 0.9 + shift, 15), (4, 2.0 + shift, 0.3, 20)]
    return run(name, points, seed=seed, **kwargs)


def test_gold_that_falls_after_its_peak_while_the_proxy_rises_is_over_optimisation(run):
    runs = [rising_and_falling(run, f"r{k}", shift, k) for k, shift in enumerate((-0.02, 0.0, 0.02))]
    found = online_over_optimisation({"ppo": runs}, points=3)
    arm = found["arms"]["ppo"]
    assert found["grid"] == [0, 2, 4] and arm["verdict"] == "over-optimised"
    assert arm["peak"]["kl"] == 2 and arm["peaks"] == [2, 2, 2]
    assert arm["fall"]["mean"] == arm["fall_cross_fitted"]["mean"] == pytest.approx(-0.6)
    half = 4.302653 * 0.02 / 3**0.5  # t, 2 df, times the standard error of -0.58, -0.6, -0.62
    assert arm["fall"]["high"] == pytest.approx(-0.6 + half, abs=1e-6)
    assert arm["gold_gain"]["mean"] == pytest.approx(-0.2)
    assert arm["tokens_ratio"]["mean"] == pytest.approx(2.0)
    assert "Gold is highest at KL 2, and changes by -0.6" in arm["sentence"]


def test_a_peak_found_by_the_same_noise_is_no_fall_when_found_on_the_other_seeds(run):
    # one seed has a bump that alone makes the peak of the mean; the others know nothing of it
    bumps = [(0, 0, 0.5, 9), (1, 1, 0.5, 9), (2, 2, 0.5, 9)]
    runs = [run(f"r{k}", [p if k or p[0] != 1 else (1, 1, 0.8, 9) for p in bumps], seed=k) for k in range(4)]
    arm = online_over_optimisation({"ppo": runs}, points=3)["arms"]["ppo"]
    assert arm["peak"]["kl"] == 1 and arm["fall"]["mean"] == pytest.approx(-0.3 / 4)
    assert arm["fall_cross_fitted"]["mean"] == pytest.approx(0.0) and arm["verdict"] == "undecided"


def test_the_grid_ends_where_the_shortest_run_does_and_beyond_it_a_run_is_left_out(run):
    long = run("long", [(0, 0, 0.5, 9), (4, 4, 0.9, 9)], seed=1)
    short = run("short", [(0, 0, 0.5, 9), (2, 2, 0.9, 9)], seed=2)
    assert online_over_optimisation({"ppo": [long, short]}, points=3)["grid"] == [0, 1, 2]
    found = online_over_optimisation({"ppo": [long, short]}, points=3, to=4)
    last = found["arms"]["ppo"]["points"][-1]["gold"]
    assert (last["n"], last["excluded"], last["mean"]) == (1, 1, pytest.approx(0.9))
    assert found["arms"]["ppo"]["peak"]["kl"] == 2  # a mean of fewer runs is no peak
    assert "1 of 2 runs do not come to KL 4" in found["notes"][0]
    with pytest.raises(ValueError, match="no run comes beyond 4, and nothing is extrapolated"):
        online_over_optimisation({"ppo": [long, short]}, to=5)


def test_a_run_that_never_leaves_the_start_is_named(run):
    stuck, other = run("stuck", [(0, 0, 0.5, 9)], seed=1), run("other", [(0, 0, 0.5, 9), (1, 1, 1, 9)], seed=2)
    with pytest.raises(ValueError, match="stuck never leaves the start"):
        online_over_optimisation({"ppo": [stuck, other]})
    blind = run("blind", [(None, 0, 0.5, 9)], seed=3)
    with pytest.raises(ValueError, match="a run of 'ppo' has no evaluation with a KL"):
        online_over_optimisation({"ppo": [blind, other]})


def test_without_gold_the_proxy_is_told_and_no_verdict_made_up(run):
    runs = [run(f"r{k}", [(0, 0, None, 9), (2, 1 + k, None, 9)], seed=k, gold=None) for k in range(2)]
    found = online_over_optimisation({"ppo": runs}, points=2)
    arm = found["arms"]["ppo"]
    assert (arm["verdict"], arm["peak"], arm["proxy_rise"]["mean"]) == ("gold not known", None, 1.5)
    assert "2 of 2 runs did not measure gold" in found["notes"][0] and "nobody can say" in arm["sentence"]
    assert b"not known" in pooled_over_kl_plot(found["arms"])


def test_a_gold_of_nan_is_not_known_and_counted(run):
    points = [(0, 0.0, 0.5, 9), (1, 1.0, math.nan, 9), (2, 2.0, 0.7, 9)]
    found = online_over_optimisation({"ppo": [run("r", points)]}, points=3)
    assert found["arms"]["ppo"]["points"][1]["gold"]["mean"] == pytest.approx(
        0.6
    )  # the line between its neighbours
    assert any("1 figures are NaN or infinite" in note for note in found["notes"])
    json.dumps(found, allow_nan=False)


def test_of_one_seed_the_interval_is_over_held_out_cases_and_says_so(run):
    found = online_over_optimisation({"ppo": [rising_and_falling(run, "r", 0.0, 1, se=0.03)]}, points=3)
    arm = found["arms"]["ppo"]
    half = 1.96 * (2 * 0.03**2) ** 0.5
    assert arm["fall"]["low"] == pytest.approx(-0.6 - half) and "of a single seed" in arm["fall"]["method"]
    assert arm["verdict"] == "over-optimised" and arm["fall_cross_fitted"]["mean"] is None
    assert "One seed only" in arm["sentence"] and "one seed only" in found["notes"][0]


def test_growth_is_a_geometric_mean_over_seeds():
    assert growth([(10, 20), (10, 5)]).mean == pytest.approx(1.0)
    assert growth([(0.0, 5.0)]).mean is None


def test_words_of_the_last_third_of_rounds_over_the_first(run):
    answers = [(k, f"c{k % 2}", words) for k, words in enumerate((4, 6, 100, 100, 9, 11), 1)]
    found = words_growth([run("r", [(0, 0, 0, 9), (1, 1, 1, 9)], answers=answers)])
    assert (found.mean, found.n) == (pytest.approx(2.0), 4)
    assert words_growth([run("s", [(0, 0, 0, 9), (1, 1, 1, 9)], answers=answers[:2])]).mean is None


def test_seeds_of_another_setting_and_copies_are_refused(run):
    one = run("one", [(0, 0, 0, 9), (1, 1, 1, 9)], seed=1)
    with pytest.raises(ValueError, match=r"shaping\.pessimism is 1\.0, not 0\.0"):
        check_one_arm("ppo", [one, run("two", [(0, 0, 0, 9), (1, 1, 1, 9)], seed=2, pessimism=1.0)])
    with pytest.raises(ValueError, match="is the same run as"):
        check_one_arm("ppo", [one, run("copy", [(0, 0, 0, 9), (1, 1, 1, 9)], seed=1)])
    check_one_arm("ppo", [one, run("three", [(0, 0, 0, 9), (1, 1, 1.1, 9)], seed=3)])


def test_what_is_no_run_or_damaged_is_refused_by_file_and_line(run, tmp_path):
    with pytest.raises(DataError, match="config.yaml is missing"):
        read_online_run(tmp_path)
    with pytest.raises(DataError, match="no evaluation on held-out cases"):
        run("empty", [])
    run("cut", [(0, 0, 0, 9)])
    with open(tmp_path / "cut" / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "eval_\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl:3: it is not JSON"):
        read_online_run(tmp_path / "cut")


def test_two_arms_of_the_same_seeds_are_subtracted_seed_by_seed_and_the_page_escapes_names(run, tmp_path):
    arms = {"<b>a</b>": [rising_and_falling(run, f"a{k}", 0.1 * k, k) for k in range(2)],
            "b": [rising_and_falling(run, f"b{k}", 0.1 * k - 0.05, k) for k in (1, 0)]}  # fmt: skip
    found = online_over_optimisation(arms, points=3)
    gold = found["differences"]["points"][1]["gold"]
    assert gold["mean"] == pytest.approx(0.05) and gold["low"] is None  # both seeds say the same
    page = render_over_kl({**found, "setup": {}}, tmp_path / "x" / "r.html").read_text()
    assert "<b>a</b>" not in page and "&lt;b&gt;a&lt;/b&gt;" in page and "Arms at equal KL" in page
    assert "over-optimised" in page and "<script" not in page


def test_a_kl_that_is_repeated_or_comes_back_breaks_no_line(run):
    points = [(0, 0.0, 0.5, 9), (0, 0.1, 0.6, 9), (2, 2.0, 0.8, 9), (2, 9.0, 0.1, 9), (1, 9.0, 0.1, 9)]
    arm = online_over_optimisation({"ppo": [run("r", points)]}, points=3)["arms"]["ppo"]
    assert [point["gold"]["mean"] for point in arm["points"]] == pytest.approx([0.5, 0.7, 0.8])
