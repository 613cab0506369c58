import math

import pytest
import torch

from vlmalign.losses.reward import bradley_terry_loss
from vlmalign.losses.uncertain_rewards import (
    RewardMoments,
    evidence_moments,
    evidential_pair_loss,
    gaussian_moments,
    gaussian_pair_loss,
    reward_moments,
)


def moments(mean, variance):
    return RewardMoments(torch.tensor([mean]), torch.tensor([variance]))


def test_without_variance_a_gaussian_pair_is_a_bradley_terry_pair():
    a, b = torch.randn(4), torch.randn(4)
    nothing = torch.zeros(4)
    torch.testing.assert_close(
        gaussian_pair_loss(RewardMoments(a, nothing), RewardMoments(b, nothing)).losses,
        bradley_terry_loss(a, b).losses,
    )


def test_doubt_costs_where_the_order_is_right_and_saves_where_it_is_wrong():
    for right, better in ((1.0, 0.0), (-1.0, 4.0)):
        other = 4.0 - better
        low, high = (gaussian_pair_loss(moments(right, v), moments(0.0, v)).losses.item() for v in (better, other))
        assert low < high


def test_mean_and_deviation_cannot_grow_together_for_free():
    small, large = (gaussian_pair_loss(moments(c, c**2), moments(0.0, c**2)).losses.item() for c in (1.0, 100.0))
    assert large < small  # the limit without logistic noise: then both would be equal
    limit = -math.log(1 / (1 + math.exp(-1 / math.sqrt(math.pi / 4))))
    assert large == pytest.approx(limit, abs=1e-3)


def test_the_probit_style_likelihood_is_near_the_integral():
    mean, variance = 1.2, 2.5
    draws = mean + math.sqrt(variance) * torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    exact = torch.sigmoid(draws).mean().item()
    approximate = math.exp(-gaussian_pair_loss(moments(mean, variance), moments(0.0, 0.0)).losses.item())
    assert approximate == pytest.approx(exact, abs=0.02)


def test_a_variance_stays_within_bounds():
    assert gaussian_moments(torch.tensor([0.0, 1e4])).variance.item() == pytest.approx(math.exp(10))


def test_evidence_for_the_right_answer_lowers_the_loss_and_the_variance():
    none, much = torch.full((1, 2), -1e9), torch.tensor([[9.0, -1e9]])
    assert evidential_pair_loss(much, none).losses < evidential_pair_loss(none, none).losses
    assert evidential_pair_loss(none, much).losses > evidential_pair_loss(none, none).losses
    assert evidence_moments(much).variance < evidence_moments(none).variance


def test_evidence_for_both_sides_is_certainty_of_a_draw():
    both = evidence_moments(torch.tensor([50.0, 50.0]))
    assert both.mean.item() == pytest.approx(0, abs=1e-6) and both.variance.item() < 0.05


def test_without_evidence_the_variance_is_that_of_the_logistic():
    assert evidence_moments(torch.tensor([-1e9, -1e9])).variance.item() == pytest.approx(math.pi**2 / 3, abs=1e-4)


def test_the_evidential_loss_by_hand():
    x = math.log(math.e - 1)  # softplus(x) = 1
    loss = evidential_pair_loss(torch.tensor([[x, -1e9]]), torch.tensor([[x, -1e9]]), kl_weight=0.5)
    # alpha = beta = 2: psi(4) - psi(2) = 1/2 + 1/3; log 2 - 1/2
    assert loss.losses.item() == pytest.approx(5 / 6 + 0.5 * (math.log(2) - 0.5))


def test_a_plain_score_says_nothing_of_its_doubt():
    assert reward_moments(torch.zeros(2, 3, 1), "score").variance is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_pair_loss(RewardMoments(torch.zeros(1), None), moments(0.0, 1.0)), "a variance is None"),
        (lambda: evidential_pair_loss(torch.zeros(2), torch.zeros(2)), r"expected \(B, 2\)"),
        (lambda: evidential_pair_loss(torch.zeros(1, 2), torch.zeros(1, 2), kl_weight=-1), "kl_weight is -1"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
