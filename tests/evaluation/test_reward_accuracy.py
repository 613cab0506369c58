from itertools import combinations

import numpy as np
import pytest

from vlmalign.evaluation.reward_accuracy import (
    best_of_n_curve,
    curve_to_dict,
    expected_best,
    pair_accuracy,
    role_swapped_accuracy,
    seen_minus_blanked,
)


def test_a_tie_counts_half_and_is_told():
    result = pair_accuracy([2, 1, 1, 0], [1, 1, 1, 1], list("abcd"))
    assert result.accuracy.mean == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
    assert result.ties.mean == 0.5
    assert result.to_dict()["ties"]["mean"] == 0.5


def test_an_unscored_answer_excludes_its_pair():
    result = pair_accuracy([2, None], [1, 0], ["a", "b"])
    assert (result.accuracy.mean, result.accuracy.n, result.accuracy.excluded) == (1.0, 1, 1)


def test_text_alone_gets_exactly_one_half_on_role_swapped_items():
    rng = np.random.default_rng(0)
    of_text = rng.random((50, 2))  # a blind reward gives the two texts of an item the same scores twice
    right, wrong = of_text.ravel(), of_text[:, ::-1].ravel()
    result = role_swapped_accuracy(
        list(right), list(wrong), np.repeat(np.arange(50), 2), np.repeat(np.arange(50), 2)
    )
    assert set(result.items) == {0.5}
    assert result.accuracy.mean == 0.5
    assert result.accuracy.n == 50


def test_an_item_with_one_unscored_direction_is_excluded_whole():
    result = role_swapped_accuracy([1, None, 1, 1], [0, 0, 0, 0], ["i", "i", "j", "j"], ["a", "a", "b", "b"])
    assert (result.accuracy.n, result.accuracy.excluded) == (1, 1)
    assert result.items == (None, 1.0)


def test_an_item_in_two_clusters_is_refused():
    with pytest.raises(ValueError, match="one cluster"):
        role_swapped_accuracy([1, 1], [0, 0], ["i", "i"], ["a", "b"])


def test_what_the_picture_is_worth_is_paired_by_item():
    items, groups = ["i", "i", "j", "j", "k", "k"], ["a", "a", "b", "b", "c", "c"]
    seen = role_swapped_accuracy([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1], items, groups)
    blanked = role_swapped_accuracy([1, 0] * 3, [0, 1] * 3, items, groups)
    worth = seen_minus_blanked(seen, blanked)
    assert worth.mean == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert worth.n == 3


def test_seen_and_blanked_on_different_items_are_refused():
    with pytest.raises(ValueError, match="different items"):
        seen_minus_blanked(pair_accuracy([1], [0], ["a"]), pair_accuracy([1, 1], [0, 0], ["a", "b"]))


def test_best_of_one_is_the_mean_and_best_of_all_is_the_pick():
    rng = np.random.default_rng(1)
    scores, gold = rng.random((20, 8)), rng.random((20, 8))
    one, all_of_them = best_of_n_curve(scores.tolist(), gold.tolist(), range(20), [1, 8])
    for picker in (one.reward, one.random, one.oracle):
        assert picker.mean == pytest.approx(gold.mean(), rel=1e-12)
    assert all_of_them.reward.mean == pytest.approx(gold[np.arange(20), scores.argmax(1)].mean())
    assert all_of_them.oracle.mean == pytest.approx(gold.max(1).mean())
    assert all_of_them.random.mean == pytest.approx(gold.mean())


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_the_expectation_equals_the_average_over_all_subsets(n):
    scores, gold = [0.3, 0.9, 0.1, 0.5, 0.7], [1.0, 0.0, 0.25, 0.5, 0.75]
    picks = [gold[max(subset, key=lambda i: scores[i])] for subset in combinations(range(5), n)]
    assert expected_best(scores, gold, n) == pytest.approx(np.mean(picks))


def test_equal_scores_share_the_pick():
    assert expected_best([1.0, 1.0, 0.0], [1.0, 0.0, 0.0], 3) == 0.5


def test_an_unscored_candidate_is_picked_only_when_there_is_no_other():
    assert expected_best([None, -5.0], [1.0, 0.0], 2) == 0.0
    assert expected_best([None, None], [1.0, 0.0], 2) == 0.5


def test_items_with_too_few_candidates_or_unknown_gold_are_excluded():
    [point] = best_of_n_curve([[1.0], [1.0, 0.0], [1.0, 0.0]], [[1.0], [1.0, None], [1.0, 0.0]], list("abc"), [2])
    assert (point.reward.mean, point.reward.n, point.reward.excluded) == (1.0, 1, 2)


def test_the_oracle_is_never_below_the_reward_nor_the_curve_falling_for_it():
    rng = np.random.default_rng(2)
    gold = rng.random((30, 6))
    scores = gold + rng.normal(0, 0.5, gold.shape)
    curve = best_of_n_curve(scores.tolist(), gold.tolist(), range(30), [1, 2, 4, 6])
    oracle = [p.oracle.mean for p in curve]
    assert all(p.oracle.mean >= p.reward.mean - 1e-12 for p in curve)
    assert oracle == sorted(oracle)
    assert list(curve_to_dict(curve)) == ["1", "2", "4", "6"]


def test_a_curve_at_zero_is_refused():
    with pytest.raises(ValueError, match="N >= 1"):
        best_of_n_curve([[1.0]], [[1.0]], ["a"], [0])
