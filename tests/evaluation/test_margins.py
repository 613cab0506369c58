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
