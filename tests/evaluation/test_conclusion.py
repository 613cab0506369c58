import pytest

from vlmalign.evaluation.conclusion import conclude, explain, smallest_detectable
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.reward_metrics import compare_rewards


def difference(mean, low, high):
    return Estimate(mean, low, high, n=100, n_groups=20, excluded=0, method="t")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.001, 0.3, "benefit"),
        (0.001, 0.01, "benefit"),
        (-0.3, -0.001, "harm"),
        (-0.02, 0.02, "none above 2 points"),
        (0.0, 0.01, "none above 2 points"),
        (-0.021, 0.01, "undecided"),
        (-0.3, 0.3, "undecided"),
    ],
)
def test_the_conclusion_follows_the_interval(low, high, said):
    assert conclude(difference((low + high) / 2, low, high), margin=0.02) == said


def test_without_an_interval_nothing_is_decided():
    assert conclude(difference(0.4, None, None), margin=0.02) == "undecided"
    assert conclude(Estimate.nothing(), margin=0.02) == "undecided"
    assert smallest_detectable(difference(0.4, None, None)) is None


@pytest.mark.parametrize("margin", [0, float("nan"), float("inf")])
def test_a_margin_that_is_no_positive_number_is_refused(margin):
    with pytest.raises(ValueError, match="margin"):
        conclude(difference(0, -0.1, 0.1), margin=margin)


def test_the_smallest_detectable_effect_is_2_8_standard_errors_at_80_per_cent_power():
    # half-width 0.196 -> se 0.1
    assert smallest_detectable(difference(0.0, -0.196, 0.196)) == pytest.approx(0.2802, abs=1e-4)
    assert smallest_detectable(difference(0.0, -0.196, 0.196), power=0.9) == pytest.approx(0.3242, abs=1e-4)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.3, "Whole-report accuracy is 20.0 points higher"),
        (-0.3, -0.1, "Whole-report accuracy is 20.0 points lower"),
        (-0.01, 0.01, "no more than 2 points"),
        (-0.1, 0.3, "no conclusion"),
    ],
)
def test_the_sentence_says_what_the_conclusion_says(low, high, words):
    sentence = explain(difference((low + high) / 2, low, high), 0.02)
    assert words in sentence
    assert f"{100 * low:+.1f} to {100 * high:+.1f}" in sentence


def test_an_undecided_sentence_tells_what_would_have_shown_and_how_surely():
    # half-width 0.196: 28 points
    sentence = explain(difference(0.0, -0.196, 0.196), 0.02)
    assert sentence.endswith("An effect of 28 points would have shown with 80% power.")


@pytest.mark.parametrize("margin", [float("nan"), float("inf"), 0, -0.02])
def test_a_margin_that_is_no_positive_number_is_refused_also_where_nothing_was_compared(margin):
    for tell in (conclude, explain):
        with pytest.raises(ValueError, match="margin is"):
            tell(Estimate.nothing(), margin)
    with pytest.raises(ValueError, match="margin is"):
        compare_rewards({}, margin=margin)
