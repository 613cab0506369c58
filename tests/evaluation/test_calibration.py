import numpy as np
import pytest

from vlmalign.evaluation.calibration import (
    CalibrationFigures,
    bin_numbers,
    calibration_difference,
    calibration_figures,
)


def drawn(n=2000, sharpen=1.0, seed=0):
    """Probabilities that are right at sharpen 1 and overconfident above; four items per group."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 2, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    return 1 / (1 + np.exp(-sharpen * logit)), labels, [f"g{i // 4}" for i in range(n)]


def test_calibration_error_and_brier_score_by_hand():
    p, labels = [0.05, 0.05, 0.95, 0.95, 1.0], [0, 1, 1, 1, 0]
    found = calibration_figures(p, labels, list("abcde"))
    assert found.ece.mean == pytest.approx((2 * abs(0.5 - 0.05) + 3 * abs(2 / 3 - 2.9 / 3)) / 5)
    assert found.brier.mean == pytest.approx((0.05**2 + 0.95**2 + 2 * 0.05**2 + 1) / 5)
    first, last = found.bins
    assert (first.low, first.high, first.accuracy.n) == (0.0, 0.1, 2)
    assert (last.low, last.confidence) == (0.9, pytest.approx(2.9 / 3)) and last.accuracy.mean == pytest.approx(
        2 / 3
    )


def test_bins_of_equal_mass_see_what_one_wide_bin_hides():
    p, labels = [0.91, 0.91, 0.99, 0.99], [1, 1, 0, 1]  # +0.09 and -0.49 cancel in part within [0.9, 1]
    found = calibration_figures(p, labels, list("abcd"))
    assert found.ece.mean == pytest.approx(0.95 - 0.75) and found.ece_mass.mean == pytest.approx((0.09 + 0.49) / 2)


def test_calibrated_probabilities_have_a_small_error_and_sharpened_ones_a_large_one():
    right, sharp = calibration_figures(*drawn()), calibration_figures(*drawn(sharpen=3.0))
    assert right.ece.mean < 0.03 < 0.1 < sharp.ece.mean and sharp.ece.low > 0.05
    assert right.brier.mean < sharp.brier.mean and right.ece.n_groups == right.brier.n_groups == 500
    assert right.ece.low <= right.ece.mean <= right.ece.high


def test_a_pair_counts_the_same_in_either_order_and_saying_1_everywhere_is_not_calibrated():
    p, labels, groups = drawn(200, sharpen=3.0)
    there = calibration_figures(p, labels, groups, pairs=True)
    back = calibration_figures(1 - p, 1 - labels, groups, pairs=True)
    assert there.ece.mean == pytest.approx(back.ece.mean) and there.brier.mean == pytest.approx(back.brier.mean)
    chosen_first = np.where(labels == 1, p, 1 - p)  # as preference pairs are stored
    stored = calibration_figures(chosen_first, np.ones(200), groups, pairs=True)
    assert stored.ece.mean == pytest.approx(there.ece.mean)
    assert calibration_figures(np.ones(200), np.ones(200), groups).ece.mean == 0  # what `pairs` is for


def test_a_pair_at_one_half_is_calibrated_and_costs_a_quarter():
    found = calibration_figures([0.5, 0.5], [1, 1], ["a", "b"], pairs=True)
    assert (found.ece.mean, found.brier.mean) == (0.0, 0.25)


def test_the_difference_is_paired():
    p, labels, groups = drawn()
    sharp, _, _ = drawn(sharpen=3.0)
    found = calibration_difference(p, sharp, labels, groups)
    before, after = (calibration_figures(x, labels, groups) for x in (sharp, p))
    assert found["brier"].mean == pytest.approx(after.brier.mean - before.brier.mean)
    assert found["ece"].mean == pytest.approx(after.ece.mean - before.ece.mean)
    assert found["brier"].high < 0 and found["ece"].high < 0
    assert found["brier"].high - found["brier"].low < before.brier.high - before.brier.low


@pytest.mark.parametrize(
    ("p", "labels", "groups", "message"),
    [
        ([0.5, np.nan], [0, 1], ["a", "b"], "p has the value nan"),
        ([0.5, 1.2], [0, 1], ["a", "b"], "p has the value 1.2"),
        ([0.5], [0.5], ["a"], "labels has the value 0.5"),
        ([0.5], [1, 0], ["a"], "1, 2, 1 entries"),
        ([], [], [], "0 items"),
    ],
)
def test_what_is_no_probability_is_refused(p, labels, groups, message):
    with pytest.raises(ValueError, match=message):
        calibration_figures(p, labels, groups)


def test_a_probability_on_the_edge_of_bins_is_in_the_upper_one_of_width_and_the_lower_one_of_mass():
    assert bin_numbers(np.array([0.0, 0.3, 0.7, 0.1 + 0.2, 1.0]), 10, "width").tolist() == [0, 3, 7, 3, 9]
    assert bin_numbers(np.array([0.1, 0.2, 0.3, 0.4]), 2, "mass").tolist() == [0, 0, 1, 1]


def test_figures_are_read_back_with_the_ends_of_their_bins_and_of_their_intervals_apart():
    found = calibration_figures([0.15, 0.18, 0.92, 0.95], [0, 1, 1, 1], list("abcd"))
    assert CalibrationFigures.from_dict(found.to_dict()) == found
    first = found.to_dict()["bins"][0]
    assert (first["bin_low"], first["bin_high"]) == (pytest.approx(0.1), pytest.approx(0.2))


def test_the_interval_of_a_calibration_error_reaches_down_to_it():
    p = np.repeat([0.1, 0.3, 0.5, 0.7, 0.9], 10)
    labels = np.tile(np.arange(10), 5) < 10 * p  # exactly as many as promised: every resample is further off
    found = calibration_figures(p, labels.astype(float), range(50)).ece
    assert found.mean == pytest.approx(0) and found.low == pytest.approx(0) and found.high > 0.05
