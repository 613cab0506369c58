"""Figures of several seeds."""

import json

import pytest

from vlmalign.evaluation.seed_runs import compare_seeds, read_seed_run
from vlmalign.records import DataError


def results(path, seed, accuracy, half=0.1, **more):
    score = {"mean": accuracy, "low": accuracy - half, "high": accuracy + half, "n": 9, "excluded": 0}
    path.write_text(json.dumps({"seed": seed, "arms": {"dpo": {"accuracy": score}}, **more}))
    return read_seed_run(path)


def run(folder, seed, losses, **config):
    folder.mkdir()
    (folder / "provenance.json").write_text(json.dumps({"seed": seed}))
    (folder / "config.yaml").write_text(json.dumps({"seed": seed, "out": str(folder), **config}))
    lines = [json.dumps({"step": k, "loss": loss, "epoch": k}) for k, loss in enumerate(losses)]
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    return read_seed_run(folder)


def test_three_seeds_have_the_variance_worked_by_hand(tmp_path):
    runs = [results(tmp_path / f"{k}.json", k, x) for k, x in enumerate((0.50, 0.52, 0.54))]
    found = compare_seeds(runs, chance={"accuracy": 0.5})["figures"]["arms.dpo.accuracy"]
    assert found["std"] == pytest.approx(0.02) and found["signal_to_noise"] == pytest.approx(26)
    assert found["above_chance"] == pytest.approx(1) and found["item_half_width"] == pytest.approx(0.1)


def test_a_figure_that_a_seed_lacks_is_excluded_and_told(tmp_path):
    runs = [results(tmp_path / f"{k}.json", k, 0.5 + k / 10) for k in range(2)]
    runs += [results(tmp_path / "2.json", 2, 0.9, more={"mean": 0.1, "low": 0, "high": 1, "n": 1, "excluded": 0})]
    found = compare_seeds(runs)
    assert found["figures"]["more"]["seeds"] == 1 and found["figures"]["more"]["excluded"] == 2
    assert found["figures"]["more"]["std"] is None and "1 figures are not in every run" in found["notes"][0]


def test_training_runs_give_their_last_value_and_whether_it_rises(tmp_path):
    runs = [run(tmp_path / str(k), k, losses) for k, losses in enumerate(([1, 2, 3, 4], [1, 3, 2, 4]))]
    found = compare_seeds(runs)["figures"]
    assert list(found) == ["loss"] and found["loss"]["mean"]["mean"] == 4 and found["loss"]["std"] == 0
    assert found["loss"]["monotonicity"]["mean"] == pytest.approx(5 / 6)


def test_runs_that_are_not_the_same_but_for_the_seed_are_refused(tmp_path):
    one, two, same = (
        run(tmp_path / n, seed, [1], lr=lr) for n, seed, lr in (("a", 1, 1), ("b", 2, 5), ("c", 1, 1))
    )
    with pytest.raises(ValueError, match=r"differ in more than the seed \(lr: 1 there, 5 here\)"):
        compare_seeds([one, two])
    with pytest.raises(ValueError, match="are both of seed 1"):
        compare_seeds([one, same])
    with pytest.raises(ValueError, match="two seeds at least"):
        compare_seeds([one])
    with pytest.raises(ValueError, match="no figure's name contains 'f1'"):
        compare_seeds([one, run(tmp_path / "d", 4, [1], lr=1)], only=["f1"])


def test_files_without_figures_and_damaged_ones_are_refused(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_bytes(b"{\0")
    for name, told in (("a.json", "no figure with an interval"), ("b.json", "cannot be read"), ("c", "neither")):
        with pytest.raises(DataError, match=told):
            read_seed_run(tmp_path / name)


def test_a_loss_that_is_no_number_is_excluded_and_a_line_that_is_no_object_is_named(tmp_path):
    runs = [run(tmp_path / str(k), k, losses) for k, losses in enumerate(([1, 2, 3], [1, 2, float("nan")]))]
    found = compare_seeds(runs)["figures"]["loss"]
    assert (found["seeds"], found["excluded"], found["mean"]["mean"]) == (1, 1, 3.0)
    (tmp_path / "0" / "metrics.jsonl").write_text('{"loss": 1}\n[2]\n')
    with pytest.raises(DataError, match=r"metrics.jsonl:2: it is \[2\], expected an object"):
        read_seed_run(tmp_path / "0")
