import pytest

from vlmalign.evaluation.judged_pairs import JudgedPair, JudgedPairs
from vlmalign.evaluation.reward_calibration import CALIBRATION_TITLES, margin_calibration
from vlmalign.records import ImageRef


@pytest.fixture
def judged(pair_folders):
    """Pairs of given margins, each of a group of its own; None: unscored."""

    def make(margins, std=None):
        image = ImageRef(path="images/x.png", sha256="0" * 64)
        pairs = [
            JudgedPair(pair_folders.pair(f"p{i}", image), m, None if m is None else 0.0, std, std, margin_std=std)
            for i, m in enumerate(margins)
        ]
        return JudgedPairs(pairs, "r@1", "r", "0")

    return make


def test_brier_is_that_of_the_sigmoid_of_the_margin_and_a_tie_is_one_half(judged):
    found = margin_calibration(judged([0.0, 1e9, -1e9, None]))
    assert found["brier"]["mean"] == pytest.approx((0.5**2 + 0.0 + 1.0) / 3)
    assert found["counts"] == {"unscored": 1, "ties": 1}
    assert found["error_auroc"]["mean"] == 0.5  # both margins are as wide


def test_small_margins_that_are_the_wrong_ones_are_found(judged):
    found = margin_calibration(judged([3.0, 2.0, 4.0, -0.1]))
    assert found["error_auroc"]["mean"] == 1.0
    assert set(CALIBRATION_TITLES) <= set(found)
    assert found["std_gain_missing"] == "4 pairs have no standard deviation"


def test_where_nothing_is_scored_or_all_is_tied_no_figure_is_made_up(judged):
    assert margin_calibration(judged([None])) == {}
    assert "error_auroc" not in margin_calibration(judged([0.0, 0.0]))


def test_the_std_s_gain_is_told_or_why_there_is_none(judged):
    assert "no pair is wrong" in margin_calibration(judged([1.0, 2.0, 3.0], std=0.5))["std_gain_missing"]
    margins = [(-1.0) ** (i % 3) * (1 + i % 5) for i in range(40)]
    assert set(margin_calibration(judged(margins, std=0.5))["std_gain"]) >= {"auroc_margin", "difference"}
