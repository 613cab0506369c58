import json

import numpy as np
import pytest

from vlmalign.records import DataError
from vlmalign.rewards.calibration import METHODS
from vlmalign.rewards.calibration_file import Calibration, cross_fit, fit_calibration
from vlmalign.rewards.calibration_items import ScoredItems


def some(n_groups=40, per_group=3, seed=0):
    rng = np.random.default_rng(seed)
    n = n_groups * per_group
    margins = rng.normal(1, 2, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-margins))).astype(float)
    groups = [f"g{i // per_group}" for i in range(n)]
    return ScoredItems.of("pair", margins, labels, groups, stds=rng.random(n), judge="r@1")


@pytest.mark.parametrize("method", METHODS)
def test_a_calibration_is_the_same_after_writing_and_reading(method, tmp_path):
    made = fit_calibration(some(), method=method, rule="risk", alpha=0.3, notes={"n": 1})
    read = Calibration.load(made.save(tmp_path / "deep" / "calibration.json"))
    assert read == made and read.digest == made.digest
    assert read.predict([0.3, -2.0], [0.1, 0.2]).p.tolist() == made.predict([0.3, -2.0], [0.1, 0.2]).p.tolist()


def test_venn_abers_sees_one_item_of_each_group_unless_told_otherwise():
    one, every = fit_calibration(some()), fit_calibration(some(), per_group="all")
    assert (one.n, one.n_groups) == (40, 40) and "n = 40 groups, one item of each" in one.guarantees[0]
    assert (every.n, every.n_groups) == (120, 40) and "no exact promise" in every.guarantees[0]
    assert "no promise for any finite n" in fit_calibration(some(), method="platt").guarantees[0]


def test_the_rule_is_fitted_to_groups_that_the_calibrator_did_not_see():
    made = fit_calibration(some(), method="temperature", rule="coverage", alpha=0.2)
    assert (made.n, made.n_groups, made.abstention.n) == (60, 20, 20)
    assert "at least 0.8" in made.guarantees[1] and "n = 20 groups" in made.guarantees[1]


def test_cross_fitting_never_shows_a_group_to_its_own_calibration():
    """Groups of which one answers at random and all others perfectly: each is told by the others alone."""
    items = ScoredItems.of(
        "answer", [0.0, 1.0] * 6, [1, 0] + [0, 1] * 5, [f"g{i // 2}" for i in range(12)]
    )  # the first group's labels are upside down
    found = cross_fit(items, folds=6, method="isotonic")
    assert found.p[:2].tolist() == [0.0, 1.0] and not np.isnan(found.p).any()
    assert 0 < found.p[2] < 0.5 and np.isnan(found.losses).all() and found.kept.all()


def test_one_pair_without_a_standard_deviation_makes_no_fold_use_those_of_the_others():
    """Else the fold that holds this pair would be asked for what is not known of it."""
    items = some()
    items.stds[0] = np.nan
    assert not np.isnan(cross_fit(items, method="platt").p).any()
    made = fit_calibration(items, method="platt", rule="risk", alpha=0.3)
    assert not made.calibrator.uses_std and made.abstention is not None
    assert fit_calibration(some(), method="platt").calibrator.uses_std


def test_scores_of_another_reward_are_refused():
    with pytest.raises(ValueError, match="fitted to 'r@1' and the scores are those of 's@2'"):
        fit_calibration(some()).check_judge("s@2")


def test_too_few_groups_and_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="unknown method 'isotnic'. Did you mean 'isotonic'"):
        fit_calibration(some(), method="isotnic")
    with pytest.raises(ValueError, match="3 groups: half of them"):
        fit_calibration(some(3), rule="risk", alpha=0.5)
    with pytest.raises(ValueError, match="with 20 groups no less than 0.0476"):
        fit_calibration(some(), rule="risk", alpha=0.01)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"judge": 3}, "judge"),
        ({"calibrator": {"method": "temperature", "slope": -1}}, "calibrator"),
        ({"x": 1}, "x"),
    ],
)
def test_a_file_that_is_no_calibration_is_refused_by_name(tmp_path, change, field):
    path = fit_calibration(some()).save(tmp_path / "c.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=f"c.json, field '{field}"):
        Calibration.load(path)
    with pytest.raises(DataError, match="no such file"):
        Calibration.load(tmp_path / "other.json")
