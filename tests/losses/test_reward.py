import math

import pytest
import torch

from vlmalign.losses import bradley_terry_loss


def test_equal_rewards_cost_log_two():
    same = torch.tensor([3.0, -8.0])
    assert bradley_terry_loss(same, same).losses.tolist() == pytest.approx([math.log(2)] * 2)


def test_the_loss_by_hand_with_margin_and_centring():
    loss = bradley_terry_loss(torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([3.0]), centring=0.1)
    assert loss.losses.item() == pytest.approx(math.log(1 + math.exp(2.0)) + 0.1 * 9)
    assert loss.margins.tolist() == [1.0]


def test_shifting_all_rewards_changes_only_the_centred_loss():
    a, b = torch.tensor([1.0]), torch.tensor([-1.0])
    torch.testing.assert_close(bradley_terry_loss(a + 5, b + 5).losses, bradley_terry_loss(a, b).losses)
    assert bradley_terry_loss(a + 5, b + 5, centring=0.01).losses > bradley_terry_loss(a, b, centring=0.01).losses


def test_swapping_flips_the_margin():
    a, b = torch.tensor([1.5]), torch.tensor([-2.0])
    assert bradley_terry_loss(a, b).margins == -bradley_terry_loss(b, a).margins


def test_a_column_of_rewards_is_refused():
    with pytest.raises(ValueError, match=r"chosen has shape \(4, 1\), expected \(4,\)"):
        bradley_terry_loss(torch.zeros(4, 1), torch.zeros(4))


def test_a_margin_for_other_examples_is_refused():
    with pytest.raises(ValueError, match=r"margin has shape \(3,\)"):
        bradley_terry_loss(torch.zeros(4), torch.zeros(4), torch.zeros(3))


def test_a_negative_centring_is_refused():
    with pytest.raises(ValueError, match=r"centring is -1"):
        bradley_terry_loss(torch.zeros(1), torch.zeros(1), centring=-1.0)
