import numpy as np
import pytest

from vlmalign.evaluation import jackknife
from vlmalign.evaluation.jackknife import jackknife_variance, members_of, without_each, without_members

VALUES = np.array([1.0, 2.0, 4.0, 9.0, 3.0])


def mean(weights):
    return weights @ VALUES / weights.sum(1)


def test_the_variance_of_a_mean_is_that_of_its_standard_error():
    assert jackknife_variance(without_each(mean, 5)) == pytest.approx(VALUES.var(ddof=1) / 5)


@pytest.mark.parametrize("block", [1, 5, 11, 100])
def test_clusters_left_out_in_blocks_are_those_left_out_at_once(monkeypatch, block):
    monkeypatch.setattr(jackknife, "BLOCK", block)
    assert without_each(mean, 5) == pytest.approx(without_members(mean, np.eye(5)))


def test_a_cell_of_two_groups_is_left_out_with_either():
    assert members_of(np.array([[0, 1], [1, 2], [2, 2]])).tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert jackknife_variance(np.array([1.0, np.nan, 3.0])) == 1.0  # (2 - 1) / 2 * (1 + 1)
    assert jackknife_variance(np.array([1.0, np.nan])) == 0.0
