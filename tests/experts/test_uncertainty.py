import pytest
import torch

from experts.protocol import Measured
from experts.uncertainty import MEMBERS, residual_floor, summarise_counts, summarise_covers, turn


def test_the_eight_members_are_all_different_and_one_leaves_the_image_alone():
    image = torch.arange(9).reshape(3, 3)
    seen = {tuple(turn(image, member).flatten().tolist()) for member in MEMBERS}
    assert len(seen) == len(MEMBERS) == 8
    assert torch.equal(turn(image, (0, False)), image)


def test_counts_on_which_all_members_agree_have_no_spread():
    assert summarise_counts([2] * 8) == Measured(2.0, 0.0, 1.0)


def test_probability_of_presence_is_the_share_of_members_that_count_any():
    measured = summarise_counts([0, 0, 0, 0, 0, 1, 1, 2])
    assert measured.probability == 0.375
    assert measured.value == 0.5


def test_the_floor_adds_to_the_variance():
    assert summarise_counts([1, 3], floor=0.75).std == 1.25
    assert summarise_covers([0.2, 0.2], floor=0.02).std == 0.02


def test_the_floor_is_what_the_members_do_not_explain():
    assert residual_floor([3.0, -4.0], [2.0, 2.0]) == pytest.approx((12.5 - 4) ** 0.5, abs=1e-6)
    assert residual_floor([0.1, -0.1], [2.0, 2.0]) == 0
