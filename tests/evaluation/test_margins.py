import numpy as np
import pytest

from vlmalign.evaluation.intervals import paired_difference
from vlmalign.evaluation.margins import judge_against_margin


@pytest.fixture
def worse_by_a_point():
    """300 single items: the first model right on 150, the second on 153 other or the same ones."""
    a = np.array([1.0] * 150 + [0.0] * 150)
    b = a.copy()
    b[:6], b[150:159] = 0.0, 1.0
    return a.tolist(), b.tolist(), list(range(300))


def test_equivalence_goes_by_the_ninety_per_cent_interval(worse_by_a_point):
    found = judge_against_margin(*worse_by_a_point, "equivalence", margin=0.05)
    at_90 = paired_difference(*worse_by_a_point, level=0.9)
    assert found.shown and found.level == 0.9
    assert (found.difference.low, found.difference.high) == (at_90.low, at_90.high)
    assert found.sentence.startswith("the first is equivalent to the second within 5 points: -1.0 points, 90%")


def test_not_inferior_is_not_superior(worse_by_a_point):
    assert judge_against_margin(*worse_by_a_point, "non-inferiority", margin=0.05).shown
    found = judge_against_margin(*worse_by_a_point, "superiority", margin=0.05, names=("dpo", "sft"))
    assert found.shown is False
    assert found.sentence.startswith("it is not shown that dpo is better than sft: -1.0 points")


def test_a_wide_interval_shows_neither_equivalence_nor_a_difference():
    a, b = [1, 0, 1, 0, 1, 1], [0, 1, 1, 0, 1, 0]
    found = judge_against_margin(a, b, range(6), "equivalence", margin=0.05)
    assert found.shown is False and "differ by more" not in found.sentence


def test_the_contrary_is_told_where_it_is_shown():
    worse, better, groups = [0.0] * 60, [1.0] * 60, range(60)
    says = {"superiority": "the first is worse", "non-inferiority": "worse by more than the margin",
            "equivalence": "they differ by more than the margin"}  # fmt: skip
    for question, words in says.items():
        assert words in judge_against_margin(worse, better, groups, question, margin=0.05).sentence


def test_where_less_is_better_the_difference_is_turned_round():
    omissions, more = [0.1, 0.2] * 20, [0.3, 0.4] * 20
    found = judge_against_margin(omissions, more, range(40), "superiority", margin=0.02, less_is_better=True)
    assert found.shown and found.difference.mean == pytest.approx(0.2)


def test_one_cluster_can_show_nothing():
    found = judge_against_margin([1, 0.5, 1], [0, 0, 1], ["a"] * 3, "superiority", margin=0.02)
    assert found.shown is None and "cannot be said" in found.sentence


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"margin": 0}, "margin is 0"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"margin": 0.1, "alpha": 0.6}, "alpha"),
    ],
)
def test_a_margin_or_alpha_that_makes_no_sense_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        judge_against_margin([1], [1], ["a"], "superiority", **change)


def test_the_equivalence_test_keeps_its_level_at_the_margin():
    def shown(k):
        d = np.random.default_rng(k).normal(0.1, 0.4, 60)  # the true difference is the margin
        return judge_against_margin(d.tolist(), [0.0] * 60, range(60), "equivalence", margin=0.1).shown

    assert np.mean([shown(k) for k in range(200)]) <= 0.085


@pytest.fixture
def worse_by_four_points():
    """The interval reaches from about -6 to -2 points: worse, and not by more than a margin of 5."""
    return [1.0] * 288 + [0.0] * 12, [1.0] * 300, list(range(300))


@pytest.mark.parametrize("question", ["non-inferiority", "equivalence"])
def test_a_difference_within_the_margin_is_never_called_more_than_the_margin(worse_by_four_points, question):
    for a, b in (worse_by_four_points[:2], worse_by_four_points[1::-1]):
        found = judge_against_margin(a, b, range(300), question, margin=0.05)
        assert "more than the margin" not in found.sentence
    worse = judge_against_margin(*worse_by_four_points, question, margin=0.05)
    assert worse.shown is False and worse.difference.low < -0.05 < worse.difference.high < 0


def test_a_lower_mean_alone_is_not_called_worse(worse_by_a_point):
    assert "worse" not in judge_against_margin(*worse_by_a_point, "superiority", margin=0.05).sentence


def test_a_difference_above_the_margin_is_told_in_either_direction():
    found = judge_against_margin([1.0] * 60, [0.0] * 60, range(60), "equivalence", margin=0.05)
    assert found.shown is False and found.sentence.endswith("they differ by more than the margin.")


@pytest.mark.parametrize("question", ["superiority", "non-inferiority"])
def test_superiority_and_non_inferiority_go_by_the_two_sided_interval(worse_by_a_point, question):
    found = judge_against_margin(*worse_by_a_point, question, margin=0.05, excluded=3)
    assert found.level == 0.95 and found.difference == paired_difference(*worse_by_a_point, excluded=3)
    assert "95% interval" in found.sentence and "3 excluded" in found.sentence


def test_a_score_that_is_no_share_is_told_in_its_own_units():
    ratings, lower = [3.0, 4.0, 5.0] * 20, [2.5, 3.5, 4.0] * 20
    found = judge_against_margin(ratings, lower, range(60), "superiority", margin=0.5, share=False)
    assert "better than the second: +0.667, 95% interval" in found.sentence and "points" not in found.sentence


def test_an_interval_that_begins_at_nothing_shows_no_superiority():
    a, b = [1] * 10 + [0] * 20, [0] * 10 + [1] * 3 + [0] * 17
    found = judge_against_margin(a, b, range(30), "superiority", margin=0.05)
    assert found.difference.low == 0 and found.shown is False
