import numpy as np
import pytest

from experts.performance import dice_terms, metrics_of, ratio_interval
from experts.protocol import Examination, Measured
from experts.targets import Target


def test_dice_of_half_overlapping_masks_is_one_half():
    mine, truth = np.array([[1, 1, 0]], dtype=np.uint8), np.array([[0, 1, 1]], dtype=np.uint8)
    top, bottom = dice_terms(mine, truth, 1)
    assert top / bottom == 0.5


def test_the_interval_is_of_groups_not_of_images():
    values, ones = [1.0] * 50 + [0.0] * 50, [1.0] * 100
    by_group = ratio_interval(values, ones, ["a"] * 50 + ["b"] * 50)
    by_image = ratio_interval(values, ones, [str(i) for i in range(100)])
    assert by_group.value == by_image.value == 0.5
    assert (by_group.low, by_group.high) == (0.0, 1.0)
    assert 0.35 < by_image.low < by_image.high < 0.65


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
