import math

import pytest
import torch

from vlmalign.losses.reward import (
    bradley_terry_loss,
    centring_penalty,
    disagreement_weighted,
    rating_loss,
    scaled_bradley_terry_loss,
    tie_loss,
    verdict_disagreement,
)


def numbers(*values):
    return torch.tensor([float(value) for value in values])


def test_equal_rewards_cost_log_two():
    same = numbers(0.3, -5.0)
    assert bradley_terry_loss(same, same).losses.tolist() == pytest.approx([math.log(2)] * 2)


def test_the_loss_by_hand_with_a_margin():
    loss = bradley_terry_loss(numbers(2), numbers(1), numbers(3))
    assert loss.losses.item() == pytest.approx(math.log(1 + math.exp(2)))  # 2 - 1 - 3 = -2
    assert loss.margins.item() == 1.0


def test_shifting_all_rewards_changes_only_the_centring():
    a, b = numbers(1, 0), numbers(0, 2)
    torch.testing.assert_close(bradley_terry_loss(a + 5, b + 5).losses, bradley_terry_loss(a, b).losses)
    assert (centring_penalty(a + 5, b + 5) > centring_penalty(a, b)).all()


def test_swapping_chosen_and_rejected_flips_the_margin():
    a, b = torch.randn(3), torch.randn(3)
    assert torch.equal(bradley_terry_loss(a, b).margins, -bradley_terry_loss(b, a).margins)


def test_a_scaled_pair_is_learned_as_if_it_stood_there_so_often():
    right, wrong = numbers(0.5).requires_grad_(), numbers(1.5)
    scaled_bradley_terry_loss(right, wrong, numbers(3)).losses.sum().backward()
    once = right.grad.clone()
    right.grad = None
    bradley_terry_loss(right.expand(3), wrong.expand(3)).losses.sum().backward()
    torch.testing.assert_close(once, right.grad)


def test_a_margin_of_nothing_cannot_scale():
    with pytest.raises(ValueError, match=r"a margin is 0.0, expected more than 0"):
        scaled_bradley_terry_loss(numbers(1, 1), numbers(0, 0), numbers(2, 0))


def test_ties_pull_together_from_either_side():
    assert tie_loss(numbers(1, 3), numbers(3, 1)).tolist() == [4, 4]


def test_a_missing_rating_has_neither_loss_nor_gradient():
    rewards = numbers(1, 7).requires_grad_()
    loss = rating_loss(rewards, numbers(3, math.nan))
    loss.sum().backward()
    assert loss.tolist() == [4, 0] and rewards.grad.tolist() == [-4, 0]
    spread = numbers(0.5, 0.5).requires_grad_()
    loss = rating_loss(numbers(1, 7), numbers(1, math.nan), spread)
    loss.sum().backward()
    assert loss.tolist() == [0.25, 0] and spread.grad.tolist() == [0.5, 0]


def test_a_rating_is_likeliest_at_the_spread_that_was_seen():
    spreads = torch.linspace(-2, 4, 601)
    losses = rating_loss(torch.full_like(spreads, 3.0), torch.full_like(spreads, 1.0), spreads)
    assert spreads[losses.argmin()].item() == pytest.approx(math.log(4), abs=0.01)  # error 2, variance 4


def test_an_infinite_rating_is_refused():
    with pytest.raises(ValueError, match="a rating is infinite"):
        rating_loss(numbers(1), numbers(math.inf))


def test_a_loss_above_one_weighs_least_where_disagreement_is_its_logarithm():
    disagreement = torch.linspace(0, 3, 301)
    found = disagreement_weighted(torch.full_like(disagreement, 4.0), disagreement)
    assert disagreement[found.argmin()].item() == pytest.approx(math.log(4), abs=0.01)
    assert disagreement_weighted(numbers(0.5), numbers(0)).item() == 0.5


def test_verdicts_disagree_by_the_divergence_of_their_probabilities():
    p, q = 0.8, 0.3
    by_hand = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    margins = [math.log(x / (1 - x)) for x in (p, q)]
    assert verdict_disagreement(numbers(margins[0]), numbers(margins[1])).item() == pytest.approx(by_hand)
    assert verdict_disagreement(numbers(40), numbers(40)).item() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bradley_terry_loss(torch.zeros(4, 1), torch.zeros(4)), r"chosen has shape \(4, 1\)"),
        (lambda: bradley_terry_loss(torch.zeros(4), torch.zeros(4), torch.zeros(3)), r"margin has shape \(3,\)"),
        (lambda: disagreement_weighted(torch.zeros(1), -torch.ones(1)), "disagreement is -1.0"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
