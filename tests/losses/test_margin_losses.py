import pytest
import torch

from vlmalign.losses import hinge_loss, ipo_loss

CHOSEN, REJECTED = torch.tensor([3.0, -1.0]), torch.tensor([-2.0, 1.0])


def test_ipo_by_hand():
    loss = ipo_loss(CHOSEN, REJECTED, beta=0.1)  # the margin is to be 5
    assert loss.losses.tolist() == pytest.approx([0.0, 49.0], abs=1e-5)
    assert loss.margins.tolist() == pytest.approx([0.5, -0.2])


def test_ipo_pulls_back_a_margin_that_is_too_wide():
    chosen = torch.tensor([9.0], requires_grad=True)
    ipo_loss(chosen, torch.zeros(1), beta=0.1).losses.sum().backward()
    assert chosen.grad.item() == pytest.approx(2 * (9 - 5))


def test_hinge_by_hand_and_without_gradient_beyond_its_margin():
    chosen = torch.tensor([3.0, 12.0], requires_grad=True)
    loss = hinge_loss(chosen, torch.tensor([-2.0, 1.0]), beta=0.1).losses
    assert loss.tolist() == pytest.approx([0.5, 0.0])
    loss.sum().backward()
    assert chosen.grad.tolist() == pytest.approx([-0.1, 0.0])


@pytest.mark.parametrize("loss", [ipo_loss, hinge_loss])
def test_settings_and_shapes_are_checked(loss):
    with pytest.raises(ValueError, match="beta is 0"):
        loss(CHOSEN, REJECTED, beta=0)
    with pytest.raises(ValueError, match="rejected has shape"):
        loss(CHOSEN, torch.zeros(3), beta=0.1)
