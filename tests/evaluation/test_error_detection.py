import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vlmalign.evaluation.error_detection import error_auroc, std_gain


def noisy(n=400, informative=True, seed=0):
    """Margins that err more where their standard deviation is large; two pairs per group."""
    rng = np.random.default_rng(seed)
    stds = rng.exponential(1.5, n)
    margins = 1.5 + rng.normal(0, 0.3 + stds if informative else 1.8, n)
    return margins, stds, [f"g{i // 2}" for i in range(n)]


def test_the_auroc_is_that_of_scikit_learn_ties_included():
    rng = np.random.default_rng(0)
    wrong, uncertainty = (rng.random(200) < 0.3).astype(float), rng.random(200).round(1)
    found = error_auroc(uncertainty, wrong, [f"g{i // 5}" for i in range(200)])
    assert found.mean == pytest.approx(roc_auc_score(wrong, uncertainty)) and found.low < 0.5 < found.high
    assert error_auroc(-uncertainty, wrong, list(range(200))).mean == pytest.approx(1 - found.mean)


def test_an_uncertainty_against_itself_differs_by_nothing():
    margins, _, groups = noisy()
    wrong = (margins < 0).astype(float)
    found = error_auroc(-abs(margins), wrong, groups, other=-abs(margins))
    assert (found.mean, found.low, found.high) == (0, 0, 0)


def test_without_an_error_there_is_no_auroc_and_a_perfect_one_keeps_an_interval():
    assert error_auroc([0.1, 0.2], [0, 0], ["a", "b"]).mean is None
    perfect = error_auroc([0.9, 0.8, 0.1, 0.2, 0.3], [1, 1, 0, 0, 0], list("abcde"))
    assert perfect.mean == perfect.high == 1.0 and perfect.low == pytest.approx(0.025**0.5)  # two groups of errors


def test_a_standard_deviation_that_tells_errors_adds_to_the_margin_and_one_that_does_not_adds_nothing():
    told = std_gain(*noisy(500))
    assert told.difference.low > 0 and told.auroc_margin_and_std.mean > told.auroc_margin.mean
    assert told.difference.mean == pytest.approx(told.auroc_margin_and_std.mean - told.auroc_margin.mean)
    silent = std_gain(*noisy(500, informative=False))
    assert silent.difference.low < 0.001


def test_a_standard_deviation_that_is_the_same_everywhere_adds_exactly_nothing():
    margins, _, groups = noisy(120, seed=3)
    found = std_gain(margins, np.ones(120), groups)
    assert (found.difference.mean, found.difference.low, found.difference.high) == (0, 0, 0)


def test_what_is_learnt_of_one_group_is_tried_on_another():
    """Errors have the large standard deviations in one group, and the small ones in the other."""
    margins, stds = [-1, -1, 1, 1, -1, -1, 1, 1], [2, 2, 1, 1, 1, 1, 2, 2]
    found = std_gain(margins, stds, list("aaaabbbb"), folds=2)
    assert (found.auroc_margin.mean, found.auroc_margin_and_std.mean) == (0.5, 0.0)


def test_items_of_different_strata_are_not_compared():
    uncertainty, wrong = [0.1, 0.0, 9.0, 8.0], [1, 0, 1, 0]
    assert error_auroc(uncertainty, wrong, list("abcd")).mean == 0.75
    assert error_auroc(uncertainty, wrong, list("abcd"), strata=[0, 0, 1, 1]).mean == 1.0
    assert error_auroc(uncertainty, wrong, list("abcd"), strata=[0, 1, 1, 0]).mean == 0.5
    assert error_auroc(uncertainty, [1, 1, 0, 0], list("abcd"), strata=[0, 0, 1, 1]).mean is None


def test_ties_and_unknown_standard_deviations_are_left_out_and_counted():
    margins, stds, groups = noisy()
    margins[:2], stds[2:5] = 0.0, np.nan
    found = std_gain(margins, stds, groups)
    assert found.excluded == 5 and found.auroc_margin.n == 395


def test_data_that_tell_no_errors_apart_are_refused():
    with pytest.raises(ValueError, match="no pair is wrong outside fold"):
        std_gain([1.0, 2.0, 3.0], [0.1] * 3, list("abc"))
    with pytest.raises(ValueError, match="come from 1 groups"):
        std_gain([1.0, -2.0], [0.1] * 2, ["a", "a"])
    with pytest.raises(ValueError, match="wrong must be 0 or 1"):
        error_auroc([0.1], [0.5], ["a"])
