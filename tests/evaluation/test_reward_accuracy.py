import numpy as np
import pytest

from vlmalign.evaluation.reward_accuracy import (
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


SWAPPED = [1, 0] * 12, [0, 1] * 12, [k // 2 for k in range(24)]


def test_one_half_by_construction_has_no_interval_and_says_why():
    accuracy = role_swapped_accuracy(*SWAPPED, SWAPPED[2], blanked=True).accuracy
    assert (accuracy.mean, accuracy.low, accuracy.high, accuracy.n) == (0.5, None, None, 12)
    assert "by construction" in accuracy.method


def test_one_half_on_every_item_with_the_picture_in_sight_keeps_its_bound():
    accuracy = role_swapped_accuracy(*SWAPPED, SWAPPED[2]).accuracy
    assert accuracy.low == pytest.approx(0.5 * 0.025 ** (1 / 12)) and accuracy.high > 0.5
    ties = pair_accuracy([1] * 12, [1] * 12, range(12)).accuracy
    assert (ties.mean, ties.low) == (0.5, accuracy.low)


def test_a_blanked_reward_that_is_not_at_one_half_has_its_interval():
    right, wrong, items = [list(values) for values in SWAPPED]
    right[1] = 2  # some trace of the picture is left
    accuracy = role_swapped_accuracy(right, wrong, items, items, blanked=True).accuracy
    assert accuracy.mean > 0.5 and accuracy.low is not None
