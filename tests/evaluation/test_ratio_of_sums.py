"""Lengths over lengths: the ratio of the sums, resampled by group."""

import pytest

from vlmalign.evaluation.ratio_of_sums import ratio_of_sums


def test_the_ratio_is_of_the_sums_not_the_mean_of_ratios():
    found = ratio_of_sums([90, 10], [30, 20], ["a", "b"])
    assert found.mean == pytest.approx(2.0)  # 100 / 50; the mean of 3 and 0.5 would be 1.75
    assert (found.n, found.n_groups) == (2, 2)


def test_a_constant_ratio_has_an_interval_without_width():
    found = ratio_of_sums([2, 4, 6, 8], [1, 2, 3, 4], list("aabc"))
    assert found.low == pytest.approx(2.0) and found.high == pytest.approx(2.0)


def test_more_groups_of_the_same_values_narrow_the_interval():
    few = ratio_of_sums([1, 3] * 4, [1, 1] * 4, list("abcdefgh"))
    together = ratio_of_sums([1, 3] * 4, [1, 1] * 4, list("aabbccdd"))
    assert few.high - few.low > 0 and together.high - together.low == pytest.approx(0)


def test_nothing_below_is_nothing_scored_not_zero_and_not_infinite():
    found = ratio_of_sums([3, 4], [0, 0], ["a", "b"], excluded=1)
    assert found.mean is None and found.excluded == 3
    assert ratio_of_sums([], [], []).mean is None


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="give one of each per item"):
        ratio_of_sums([1], [1, 2], ["a", "b"])
