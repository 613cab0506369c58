import math

import pytest
import torch

from vlmalign.losses import cpo_loss, dpo_loss, orpo_loss, simpo_loss

CHOSEN, REJECTED = torch.tensor([-2.0, -6.0]), torch.tensor([-4.0, -1.0])


def test_cpo_is_dpo_with_a_uniform_reference():
    torch.testing.assert_close(cpo_loss(CHOSEN, REJECTED, beta=0.3), dpo_loss(CHOSEN, REJECTED, beta=0.3))


def test_simpo_by_hand():
    loss = simpo_loss(CHOSEN, REJECTED, beta=2.0, gamma=1.5)
    assert loss.losses.tolist() == pytest.approx([math.log(1 + math.exp(-2.5)), math.log(1 + math.exp(11.5))])
    assert loss.margins.tolist() == [4.0, -10.0]


def test_orpo_by_hand():
    # odds 0.8 / 0.2 = 4 against 0.5 / 0.5 = 1: odds ratio 4, sigmoid(log 4) = 4 / 5
    loss = orpo_loss(torch.tensor([0.8]).log(), torch.tensor([0.5]).log(), weight=0.1)
    assert loss.losses.item() == pytest.approx(-math.log(0.8) - 0.1 * math.log(0.8))
    assert loss.margins.item() == pytest.approx(0.1 * math.log(4))


def test_orpo_of_a_certain_answer_stays_finite():
    certain = torch.tensor([0.0], requires_grad=True)
    loss = orpo_loss(certain, torch.tensor([-0.5]), weight=0.1).losses
    loss.sum().backward()
    assert loss.isfinite().all() and certain.grad.isfinite().all()


@pytest.mark.parametrize("call", [
    lambda: cpo_loss(CHOSEN, REJECTED, beta=0),
    lambda: simpo_loss(CHOSEN, REJECTED, beta=1.0, gamma=-1.0),
    lambda: orpo_loss(CHOSEN, REJECTED, weight=0),
    lambda: orpo_loss(CHOSEN, torch.zeros(1), weight=1.0),
])  # fmt: skip
def test_settings_and_shapes_are_checked(call):
    with pytest.raises(ValueError, match="expected"):
        call()
