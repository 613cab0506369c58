import math

import pytest
import torch

from vlmalign.losses.ppo import (
    clipped_steps,
    confidence_adjusted,
    delta_steps,
    explained_variance,
    policy_loss,
    value_loss,
)

ONE = torch.ones(1, 4)
RATIOS = torch.tensor([[0.5, 0.9, 1.1, 2.0]])


def loss(advantages, **bounds):
    logps = RATIOS.log().requires_grad_()
    found = policy_loss(logps, 0 * ONE, advantages, ONE.bool(), **bounds)
    (gradient,) = torch.autograd.grad(found.losses.sum(), logps)
    return found, gradient[0].tolist()


def test_a_good_token_gains_up_to_the_upper_bound_and_a_bad_one_loses_down_to_the_lower():
    good, gradient = loss(ONE)
    assert good.losses[0].tolist() == pytest.approx([-0.5, -0.9, -1.1, -1.2])
    assert gradient == pytest.approx([-0.5, -0.9, -1.1, 0.0])
    assert good.clipped[0].tolist() == [False, False, False, True]
    bad, gradient = loss(-ONE)
    assert bad.losses[0].tolist() == pytest.approx([0.8, 0.9, 1.1, 2.0])
    assert gradient == pytest.approx([0.0, 0.9, 1.1, 2.0])


def test_the_two_bounds_are_their_own():
    assert loss(ONE, clip_low=0.1, clip_high=0.5)[0].losses[0, 3].item() == pytest.approx(-1.5)
    assert loss(-ONE, clip_low=0.4, clip_high=0.5)[0].losses[0, 0].item() == pytest.approx(0.6)


def test_before_the_first_step_the_gradient_is_that_of_policy_gradients():
    logps = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    advantages = torch.tensor([[0.5, -3.0]])
    policy_loss(logps, logps.detach(), advantages, torch.ones(1, 2).bool()).losses.sum().backward()
    torch.testing.assert_close(logps.grad, -advantages)


def test_masked_tokens_have_no_loss_and_no_gradient_even_if_their_ratio_overflows():
    logps = torch.tensor([[0.0, 1e4]], requires_grad=True)
    found = policy_loss(logps, torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([[True, False]]))
    found.losses.sum().backward()
    assert found.losses.tolist() == [[-1.0, 0.0]] and logps.grad.tolist() == [[-1.0, 0.0]]


def test_the_value_loss_is_pessimistic_about_large_changes():
    old, values, returns = torch.zeros(1, 3), torch.tensor([[0.1, 1.0, 1.0]]), torch.tensor([[1.0, 1.0, -1.0]])
    mask = torch.ones(1, 3).bool()
    assert value_loss(values, old, returns, mask)[0].tolist() == pytest.approx([0.405, 0.0, 2.0])
    assert value_loss(values, old, returns, mask, clip=0.2)[0].tolist() == pytest.approx([0.405, 0.32, 2.0])
    assert not value_loss(values, old, returns, ~mask).any()


def test_explained_variance_of_a_perfect_a_constant_and_a_reversed_critic():
    returns = torch.tensor([1.0, 2.0, 3.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.full((3,), 9.0), returns) == 0.0
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert math.isnan(explained_variance(returns, torch.ones(3)))


def test_confidence_pays_where_the_answer_is_good_and_costs_where_it_is_not():
    scores = torch.tensor([3.0, 3.0, -1.0, -1.0, 3.0])
    stated = torch.tensor([1.0, 0.0, 1.0, 0.0, float("nan")])
    assert confidence_adjusted(scores, 1.0, stated, weight=2.0).tolist() == [5.0, 1.0, -3.0, 1.0, 3.0]


def test_step_rewards_do_not_pile_up():
    steps = torch.tensor([0.9, 0.2, 0.7])
    assert clipped_steps(steps, 0.7).tolist() == pytest.approx([0.0, -0.5, 0.0])
    assert delta_steps(steps).tolist() == pytest.approx([0.7, -0.5, 0.7])
    assert float(delta_steps(steps).sum()) == pytest.approx(0.9)
    assert delta_steps(torch.tensor([])).tolist() == []


def test_a_lower_bound_of_one_is_refused():
    with pytest.raises(ValueError, match="clip_low is 1.0, expected less than 1"):
        loss(ONE, clip_low=1.0)
