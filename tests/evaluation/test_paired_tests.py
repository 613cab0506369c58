from itertools import product

import numpy as np
import pytest
from scipy import stats

from vlmalign.evaluation.paired_tests import clustered_mcnemar, flip_signs, holm, paired_p


def test_single_items_give_the_exact_binomial_test_of_mcnemar():
    a, b = [1] * 12 + [0] * 3 + [1] * 20, [0] * 12 + [1] * 3 + [1] * 20
    found = clustered_mcnemar(a, b, range(35))
    assert (found.first_only, found.second_only, found.both, found.neither) == (12, 3, 20, 0)
    assert found.p == pytest.approx(stats.binomtest(3, 15).pvalue)
    # (34 / 35) * (12 - 3)^2 / 15
    assert found.statistic == pytest.approx(34 / 35 * 81 / 15)


def test_clusters_by_hand():
    # d = 3, 2, -1: X^2 = 2/3 * 4^2 / 14; signs: |+-3 +-2 +-1| >= 4 in 4 of 8
    a, b = [1, 1, 1, 1, 1, 0], [0] * 5 + [1]
    found = clustered_mcnemar(a, b, list("aaabbc"))
    assert found.statistic == pytest.approx(2 / 3 * 16 / 14)
    assert (found.p, found.differ, found.n_groups) == (0.5, 3, 3)
    assert "exact" in found.method


def test_many_clusters_are_tested_by_obuchowski():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    found = clustered_mcnemar(a.tolist(), b.tolist(), np.repeat(np.arange(100), 3))
    d = (a - b).reshape(100, 3).sum(1)
    assert found.statistic == pytest.approx(99 / 100 * d.sum() ** 2 / (d**2).sum())
    assert found.p == found.p_clustered == pytest.approx(stats.chi2.sf(found.statistic, 1))
    assert found.p_exact == pytest.approx(found.p, abs=0.06)


def test_copies_of_an_item_are_no_evidence():
    once = clustered_mcnemar([1, 1, 1, 0], [0, 0, 0, 1], range(4))
    copied = clustered_mcnemar(np.repeat([1, 1, 1, 0], 9), np.repeat([0, 0, 0, 1], 9), np.repeat(range(4), 9))
    assert copied.p == once.p and copied.statistic == pytest.approx(once.statistic)


def test_models_that_never_differ_have_p_one_and_no_statistic():
    found = clustered_mcnemar([1, 0, 1], [1, 0, 1], list("abc"))
    assert (found.p, found.statistic, found.method) == (1.0, None, "no cluster differs")


def test_items_without_a_value_are_excluded_and_nothing_left_is_no_p():
    assert clustered_mcnemar([1, None, 0], [0, 1, None], list("abc"), excluded=2).excluded == 4
    found = clustered_mcnemar([None], [1], ["a"])
    assert (found.p, found.method) == (None, "nothing compared")
    assert paired_p([None], [1], ["a"]) is None


def test_a_share_is_no_right_or_wrong():
    with pytest.raises(ValueError, match="flip_signs"):
        clustered_mcnemar([0.5], [1], ["a"])


@pytest.mark.parametrize("sums", [[2.0, -1.0, 4.0, 1.0, 0.0], [0.5, 0.25, -0.125, 1.0]])
def test_sign_flips_are_counted_out_in_full(sums):
    total = abs(sum(sums))
    every = [
        abs(sum(s * x for s, x in zip(signs, sums, strict=True))) for signs in product((1, -1), repeat=len(sums))
    ]
    assert flip_signs(np.array(sums)) == pytest.approx(np.mean([x >= total - 1e-12 for x in every]))


def test_drawn_signs_agree_with_those_counted_out():
    sums = np.random.default_rng(2).normal(0.3, 1, 14)
    more = np.concatenate([sums, np.full(3, 1e-7)])  # seventeen: drawn
    assert flip_signs(more) == pytest.approx(flip_signs(sums), abs=0.02)
    assert flip_signs(more) > 0


def test_the_test_keeps_its_level_with_clustered_items():
    def rejected(k):
        rng = np.random.default_rng(k)
        tilt = rng.normal(0, 0.25, (40, 1))  # a cluster suits one model or the other: no difference on average
        a, b = (rng.random((40, 5)) < 0.5 + tilt), (rng.random((40, 5)) < 0.5 - tilt)
        arguments = a.ravel().astype(float), b.ravel().astype(float)
        return [clustered_mcnemar(*arguments, np.repeat(range(40), 5)).p < 0.05,
                clustered_mcnemar(*arguments, range(200)).p < 0.05]  # fmt: skip

    clustered, ignored = np.mean([rejected(k) for k in range(300)], axis=0)
    assert clustered <= 0.08 < ignored


def test_holm_by_hand():
    # sorted 0.01 0.02 0.03 0.2 of four: 0.04, 0.06, 0.06, 0.2
    assert holm([0.2, 0.01, 0.03, 0.02]) == pytest.approx([0.2, 0.04, 0.06, 0.06])
    assert holm([None, 0.04]) == [None, 0.04]
    assert holm([]) == []
    with pytest.raises(ValueError, match="1.5"):
        holm([1.5])


def test_large_whole_numbers_are_not_counted_out_but_give_the_same_p():
    small = np.array([3.0, 2.0, -1.0, 4.0])
    assert flip_signs(small * 1e9) == flip_signs(small) == flip_signs(small * 1e300)


def test_thirty_clusters_that_differ_are_the_first_that_the_chi_square_decides():
    a, b = [1] * 30 + [0] * 9, [0] * 30 + [0] * 9
    assert clustered_mcnemar(a[1:], b[1:], range(38)).method == "exact, signs of 29 clusters flipped"
    assert clustered_mcnemar(a, b, range(39)).method == "McNemar over 39 clusters (Obuchowski), 1 df"


def test_a_p_that_is_drawn_is_never_nothing():
    assert flip_signs(np.full(40, 0.1)) == 1 / 10_000  # none of 9,999 draws is all of one sign


def test_shares_of_one_cluster_are_flipped_together():
    once = paired_p([0.5, 0.75, 1.0, 0.2], [0.25, 0.5, 0.5, 0.4], list("abcd"))
    copied = paired_p(*(np.repeat(x, 3) for x in ([0.5, 0.75, 1.0, 0.2], [0.25, 0.5, 0.5, 0.4], list("abcd"))))
    assert once == copied == 0.25  # .25 .25 .5 -.2: 0.8 and 1.2 of either sign


@pytest.mark.parametrize("tenths", [[1, 2, 3, -3], [7, -1, -2, -3]])
def test_a_total_is_reached_by_signs_that_rounding_leaves_a_little_below(tenths):
    assert flip_signs(np.array(tenths) / 10) == flip_signs(np.array(tenths, dtype=float))
