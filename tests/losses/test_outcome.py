import math

import pytest
import torch

from vlmalign.losses import outcome_loss

# h of a right and a wrong answer: both as they should be, and both raised
CHOSEN, REJECTED = torch.tensor([2.0, 2.0]), torch.tensor([-4.0, 4.0])


def softplus(x):
    return math.log1p(math.exp(x))


def test_outcome_loss_by_hand():
    loss = outcome_loss(CHOSEN, REJECTED, beta=0.5)
    assert loss.losses.tolist() == pytest.approx([softplus(-1) + softplus(-2), softplus(-1) + softplus(2)])
    assert loss.chosen_rewards.tolist() == [1.0, 1.0] and loss.rejected_rewards.tolist() == [-2.0, 2.0]
    assert loss.margins.tolist() == [3.0, -1.0]


def test_at_the_reference_neither_answer_is_more_right_than_wrong():
    loss = outcome_loss(torch.zeros(1), torch.zeros(1), beta=0.05)
    assert loss.losses.item() == pytest.approx(2 * math.log(2))


def test_unlike_in_a_loss_of_margins_what_both_answers_gain_counts():
    low, high = (outcome_loss(CHOSEN + shift, REJECTED + shift, beta=0.5) for shift in (0.0, 10.0))
    assert torch.equal(low.margins, high.margins)
    assert (high.losses > low.losses + 1).all()


def test_each_answer_is_pulled_by_its_own_error_alone():
    chosen, rejected = CHOSEN.clone().requires_grad_(), REJECTED.clone().requires_grad_()
    outcome_loss(chosen, rejected, beta=0.5).losses.sum().backward()
    sigmoid = [1 / (1 + math.exp(-x)) for x in (1.0, -2.0, 2.0)]
    assert chosen.grad.tolist() == pytest.approx([0.5 * (sigmoid[0] - 1)] * 2)
    assert rejected.grad.tolist() == pytest.approx([0.5 * sigmoid[1], 0.5 * sigmoid[2]])


def test_a_huge_log_ratio_stays_finite():
    big = torch.tensor([1e4], requires_grad=True)
    loss = outcome_loss(-big, big, beta=1.0).losses
    assert loss.item() == pytest.approx(2e4)
    assert torch.autograd.grad(loss.sum(), big)[0].item() == pytest.approx(2.0)


def test_settings_and_shapes_are_checked():
    with pytest.raises(ValueError, match="beta is 0, expected more than 0"):
        outcome_loss(CHOSEN, REJECTED, beta=0)
    with pytest.raises(ValueError, match=r"rejected has shape \(2, 7\), expected \(2,\): sum over tokens"):
        outcome_loss(CHOSEN, torch.zeros(2, 7), beta=0.1)
