"""Losses of reward models: pairs, pairs with margins or ties, ratings."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from vlmalign.losses.shapes import check_per_example, check_positive


class RewardLoss(NamedTuple):
    """Per-example values of a reward loss.

    Attributes:
        losses: (B,), with gradient.
        margins: reward of chosen minus rejected, (B,), detached.
    """

    losses: Tensor
    margins: Tensor


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, margin: Tensor | None = None) -> RewardLoss:
    """Negative log-probability that the chosen answer wins (Bradley and Terry 1952).

    -log sigmoid(chosen - rejected - margin). The margin asks for a larger difference where the judge saw one
    (Touvron et al. 2023, arXiv:2307.09288, equation 2).

    Args:
        chosen: rewards of the chosen answers, (B,).
        rejected: rewards of the rejected answers, (B,).
        margin: wanted differences, (B,).

    Raises:
        ValueError: a tensor with another shape than (B,).

    Example:
        >>> bradley_terry_loss(torch.tensor([1.0]), torch.tensor([1.0])).losses  # log 2
        tensor([0.6931])
    """
    tensors = {"chosen": chosen, "rejected": rejected} | ({} if margin is None else {"margin": margin})
    check_per_example(**tensors)
    difference = chosen - rejected
    return RewardLoss(-logsigmoid(difference if margin is None else difference - margin), difference.detach())


def scaled_bradley_terry_loss(chosen: Tensor, rejected: Tensor, margin: Tensor) -> RewardLoss:
    """Bradley-Terry, each pair as often as its margin says.

    -margin log sigmoid(chosen - rejected) (HelpSteer2-Preference, Wang et al. 2024, arXiv:2410.01257, section
    3.1): the margin scales the gradient and not the difference that is wanted. There it is 1, 2 or 3.

    Args:
        chosen: rewards of the chosen answers, (B,).
        rejected: rewards of the rejected answers, (B,).
        margin: the judge's margins, above 0, (B,).

    Raises:
        ValueError: a tensor with another shape than (B,), or a margin that is not above 0.

    Example:
        >>> scaled_bradley_terry_loss(torch.tensor([1.0]), torch.tensor([1.0]), torch.tensor([3.0])).losses
        tensor([2.0794])
    """
    check_per_example(chosen=chosen, rejected=rejected, margin=margin)
    if not bool((margin > 0).all()):
        raise ValueError(
            f"a margin is {margin.min().item()}, expected more than 0: a pair that scales by it would not be "
            "learned or be learned the wrong way round; leave such pairs out."
        )
    difference = chosen - rejected
    return RewardLoss(-margin * logsigmoid(difference), difference.detach())


def tie_loss(first: Tensor, second: Tensor) -> Tensor:
    """What two answers that are equally good should not differ by: (first - second)^2, (B,).

    The tie term of MM-RLHF's reward model (Zhang et al. 2025, arXiv:2502.10391; its released trainer).

    Example:
        >>> tie_loss(torch.tensor([3.0]), torch.tensor([1.0]))
        tensor([4.])
    """
    check_per_example(first=first, second=second)
    return (first - second) ** 2


def centring_penalty(chosen: Tensor, rejected: Tensor) -> Tensor:
    """(chosen + rejected)^2, (B,): keeps the sum near 0, which Bradley-Terry leaves open.

    Eisenstein et al. 2023, arXiv:2312.09244, section 2.

    Example:
        >>> centring_penalty(torch.tensor([3.0]), torch.tensor([-1.0]))
        tensor([4.])
    """
    check_per_example(chosen=chosen, rejected=rejected)
    return (chosen + rejected) ** 2


def rating_loss(rewards: Tensor, ratings: Tensor, log_variance: Tensor | None = None) -> Tensor:
    """Squared error of rewards against ratings, or their Gaussian negative log-likelihood.

    (r - rating)^2 (SteerLM regression: HelpSteer2, Wang et al. 2024, arXiv:2406.08673), or with a log-variance s
    1/2 [s + (r - rating)^2 exp(-s)] (Kendall and Gal 2017, arXiv:1703.04977, equation 8). A rating that is NaN is
    missing: its loss is 0, and it has no gradient.

    Args:
        rewards: (N,).
        ratings: (N,), NaN where there is none.
        log_variance: (N,).

    Raises:
        ValueError: a tensor with another shape than (N,), or an infinite rating.

    Example:
        >>> rating_loss(torch.tensor([1.0, 5.0]), torch.tensor([3.0, float("nan")]))
        tensor([4., 0.])
    """
    check_per_example(rewards=rewards, ratings=ratings)
    if bool(ratings.isinf().any()):
        raise ValueError("a rating is infinite, expected a number, or NaN where it is missing: correct the data.")
    known = ~ratings.isnan()
    error = torch.where(known, rewards - ratings.nan_to_num(0.0), 0.0) ** 2
    if log_variance is None:
        return error
    check_per_example(rewards=rewards, log_variance=log_variance)
    return torch.where(known, 0.5 * (log_variance + error * torch.exp(-log_variance)), 0.0)


def disagreement_weighted(losses: Tensor, disagreement: Tensor) -> Tensor:
    """Losses that count less where a nuisance changes the verdict: loss exp(-U) + U.

    Ctrl-U's weighting (Zhang et al. 2024, arXiv:2410.11236), there of a diffusion model's reward. U keeps its
    gradient, and + U stops the model from raising it: for a loss above 1 the sum is least at U = log(loss).

    Args:
        losses: (B,).
        disagreement: U >= 0, (B,).

    Raises:
        ValueError: a tensor with another shape than (B,), or U below 0.

    Example:
        >>> disagreement_weighted(torch.tensor([1.0]), torch.tensor([0.0]))
        tensor([1.])
    """
    check_per_example(losses=losses, disagreement=disagreement)
    check_positive(or_zero=True, disagreement=disagreement.detach().min().item())
    return losses * torch.exp(-disagreement) + disagreement


def verdict_disagreement(margin: Tensor, perturbed: Tensor) -> Tensor:
    """How far two margins of one pair disagree on who wins: KL(sigmoid(margin) || sigmoid(perturbed)), (B,).

    Example:
        >>> verdict_disagreement(torch.tensor([2.0]), torch.tensor([2.0]))
        tensor([0.])
    """
    check_per_example(margin=margin, perturbed=perturbed)
    wins = torch.sigmoid(margin)
    found = wins * (logsigmoid(margin) - logsigmoid(perturbed)) + (1 - wins) * (
        logsigmoid(-margin) - logsigmoid(-perturbed)
    )
    return found.clamp_min(0.0)  # below 0 by rounding only
