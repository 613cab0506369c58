import numpy as np
import pytest

from experts.classifier_metrics import auroc, classifier_metrics
from experts.thresholds import choose_threshold

P = [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]
Y = [0, 0, 1, 0, 1, 0, 1, 1]
GROUPS = list("abcdefgh")


def chosen(rule):
    return choose_threshold(P, Y, GROUPS, rule=rule)


def test_each_rule_by_hand():
    # t=0.25: sens 4/4, spec 2/4, J 0.5, F1 8/10; t=0.5: 3/4, 3/4, J 0.5, F1 6/8; t=0.75: 2/4, 4/4, J 0.5
    assert chosen("f1").threshold == pytest.approx(0.25)
    assert chosen("youden").threshold == pytest.approx(0.75)  # the highest of the tied
    point = chosen("sensitivity>=0.75")
    assert (point.threshold, point.sensitivity, point.specificity) == (pytest.approx(0.5), 0.75, 0.75)
    assert chosen("sensitivity>=1.0").sensitivity == 1.0


def test_the_operating_point_says_on_how_many_images_it_stands():
    point = chosen("youden")
    assert (point.images, point.positives, point.groups) == (8, 4, 8)
    assert point.threshold_low <= point.threshold <= point.threshold_high
    assert 0 <= point.sensitivity_low <= point.sensitivity <= point.sensitivity_high <= 1


def test_copies_of_an_image_in_its_group_add_no_certainty():
    once, often = chosen("youden"), choose_threshold(P * 20, Y * 20, GROUPS * 20)
    assert (often.threshold, often.sensitivity_low) == (once.threshold, once.sensitivity_low)
    assert (often.threshold_low, often.threshold_high) == (once.threshold_low, once.threshold_high)


def test_one_class_is_refused_not_guessed():
    with pytest.raises(ValueError, match="all 2 images are absent"):
        choose_threshold([0.1, 0.2], [0, 0], ["a", "b"])
    with pytest.raises(ValueError, match="not logits"):
        choose_threshold([0.1, 2.0], [0, 1], ["a", "b"])


@pytest.mark.parametrize("rule", ["best", "sensitivity>=0", "sensitivity>=1.5", "sensitivity"])
def test_an_unknown_rule_is_named(rule):
    with pytest.raises(ValueError, match="the rule is"):
        choose_threshold(P, Y, GROUPS, rule=rule)


def test_auroc_counts_pairs_and_turns_over_with_the_score():
    p, y, ones = np.array(P), np.array(Y, dtype=float), np.ones(8)
    pairs = [
        (a > b) + (a == b) / 2 for a, s in zip(P, Y, strict=True) if s for b, t in zip(P, Y, strict=True) if not t
    ]
    assert auroc(p, y, ones) == pytest.approx(np.mean(pairs)) == 13 / 16
    assert auroc(1 - p, y, ones) == pytest.approx(3 / 16)


def test_metrics_of_a_threshold_by_hand_with_their_groups():
    metrics = {m.name: m for m in classifier_metrics(P, Y, GROUPS, concept="x", threshold=0.5, baseline=[0.5] * 8)}
    assert metrics["sensitivity"].value == 0.75 and metrics["sensitivity"].images == 4
    assert metrics["specificity"].value == 0.75
    assert metrics["pixel_baseline_auroc"].value == 0.5
    assert metrics["brier"].value == pytest.approx(np.mean((np.array(P) - Y) ** 2), abs=1e-6)
    assert metrics["auroc"].low < 13 / 16 < metrics["auroc"].high
    assert "sensitivity" not in {m.name for m in classifier_metrics(P, Y, GROUPS, concept="x")}


def test_one_group_has_no_interval():
    assert {(m.low, m.high) for m in classifier_metrics(P, Y, ["g"] * 8, concept="x")} == {(None, None)}
