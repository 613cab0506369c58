import numpy as np
import pytest

from experts.performance import dice_terms, metrics_of, ratio_interval
from experts.protocol import Examination, Measured, Metric
from experts.targets import Target


def test_dice_of_half_overlapping_masks_is_one_half():
    mine, truth = np.array([[1, 1, 0]], dtype=np.uint8), np.array([[0, 1, 1]], dtype=np.uint8)
    top, bottom = dice_terms(mine, truth, 1)
    assert top / bottom == 0.5


def test_the_interval_is_of_groups_not_of_images():
    values, ones = [1.0] * 50 + [0.0] * 50, [1.0] * 100
    by_group = ratio_interval(values, ones, ["a"] * 50 + ["b"] * 50, share=True)
    by_image = ratio_interval(values, ones, [str(i) for i in range(100)], share=True)
    assert by_group.value == by_image.value == 0.5
    assert (by_group.low, by_group.high) == (0.0, 1.0)
    assert 0.35 < by_image.low < by_image.high < 0.65


def test_few_groups_of_equal_size_give_the_t_interval_on_their_means():
    # group means 5.5, 6, 5, 5.5: mean 5.5, sd sqrt(1/6) = 0.40825, se 0.204124, t(3) = 3.182446
    found = ratio_interval([6, 5, 6, 6, 5, 5, 5, 6], [1] * 8, list("aabbccdd"))
    assert (found.value, found.low, found.high) == pytest.approx((5.5, 5.5 - 0.649613, 5.5 + 0.649613), abs=1e-5)


def test_few_groups_are_covered_at_the_stated_rate():
    hits = 0
    for i in range(400):
        values = np.random.default_rng(i).normal(3, 1, 6)
        found = ratio_interval(values, np.ones(6), list("abcdef"))
        hits += found.low <= 3 <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_one_group_has_no_interval():
    assert ratio_interval([1, 0, 0, 0], [1] * 4, ["a"] * 4)[1:] == (None, None)
    assert ratio_interval([1, 0, 0], [1, 1, 0], ["a", "a", "says nothing"])[1:] == (None, None)


def test_a_share_of_one_in_ten_groups_may_be_as_low_as_sixty_nine_per_cent():
    found = ratio_interval([1.0] * 10, [1.0] * 10, [str(i) for i in range(10)], share=True)
    assert (found.low, found.high) == (pytest.approx(0.691503, abs=1e-6), 1.0)


def test_nothing_to_average_is_an_error_not_a_zero():
    with pytest.raises(ValueError, match="nothing to average"):
        ratio_interval([0.0], [0.0], ["a"])


def field(labels, n, group="g"):
    labels = np.array(labels, dtype=np.uint8)
    return Target(np.zeros((*labels.shape, 3), np.uint8), labels, (n,), group)


def seen(labels, count, probability):
    labels = np.array(labels, dtype=np.uint8)
    cover = float((labels == 1).mean())
    return Examination({"dot_count": Measured(count, 0.0, probability), "dot_cover": Measured(cover, 0.0)}, labels)


def test_metrics_of_two_images_by_hand():
    fields = [field([[1, 1, 0, 0]], 1, "a"), field([[0, 0, 0, 0]], 0, "b")]
    found = [seen([[1, 0, 0, 0]], 1.0, 1.0), seen([[0, 0, 0, 1]], 0.5, 0.5)]
    metrics = {m.name: m for m in metrics_of(found, ["dot"], fields)}
    assert metrics["dice"].value == 0.5  # 2*1 / (1 + 2 + 1 + 0)
    assert metrics["count_mae"].value == 0.25
    assert metrics["cover_mae"].value == 0.25
    assert metrics["presence_uncertain"].value == 0.5
    assert (metrics["presence_accuracy"].value, metrics["presence_accuracy"].images) == (1.0, 1)
    assert metrics["presence_accuracy"].groups == 1


def test_dice_of_a_structure_that_nobody_sees_is_left_out():
    metrics = metrics_of([seen([[0, 0]], 0.0, 0.0)], ["dot"], [field([[0, 0]], 0)])
    assert "dice" not in {m.name for m in metrics}


def test_a_card_keeps_a_missing_interval_and_cards_of_old_still_load():
    fields = {"name": "dice", "structure": "dot", "value": 0.26, "images": 4, "groups": 1}
    without = Metric(**fields, low=None, high=None)
    assert Metric.model_validate_json(without.model_dump_json()) == without
    assert Metric.model_validate({**fields, "low": 0.26, "high": 0.26}).low == 0.26
