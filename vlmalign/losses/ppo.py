"""The losses of proximal policy optimisation, per token."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vlmalign.losses.shapes import check_positive, check_tokens


class PolicyLoss(NamedTuple):
    """Per-token values of `policy_loss`; 0 where a token is not the policy's.

    Attributes:
        losses: (N, T), with gradient.
        ratios: policy over the policy that sampled, (N, T), detached.
        clipped: where the clipped branch was the lower one, so that there is no gradient, (N, T) bool.
    """

    losses: Tensor
    ratios: Tensor
    clipped: Tensor


def policy_loss(
    logps: Tensor,
    old_logps: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> PolicyLoss:
    """The clipped surrogate: -min(ratio A, clip(ratio, 1 - clip_low, 1 + clip_high) A).

    With ratio = exp(logps - old_logps) (Schulman et al. 2017, arXiv:1707.06347, equation 7; two bounds as in DAPO,
    Yu et al. 2025, arXiv:2503.14476).

    Args:
        logps: log-probability of each token under the policy, (N, T).
        old_logps: under the policy that sampled it, (N, T).
        advantages: (N, T).
        mask: tokens that count, (N, T) bool.
        clip_low: > 0, below 1.
        clip_high: > 0.

    Raises:
        ValueError: tensors of different shape, or a bound that is not above 0.

    Example:
        >>> one = torch.ones(1, 2)
        >>> policy_loss(torch.tensor([[0.0, 0.5]]), 0 * one, one, one.bool()).losses
        tensor([[-1.0000, -1.2000]])
    """
    check_tokens(logps=logps, old_logps=old_logps, advantages=advantages, mask=mask)
    check_positive(clip_low=clip_low, clip_high=clip_high)
    if clip_low >= 1:
        raise ValueError(f"clip_low is {clip_low}, expected less than 1: a ratio is never below 0.")
    change = torch.where(mask, logps - old_logps, 0.0)
    ratio = change.exp()
    free = -ratio * advantages
    bounded = -ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    losses = torch.where(mask, torch.maximum(free, bounded), 0.0)
    return PolicyLoss(losses, ratio.detach(), mask & (bounded > free).detach())


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, clip: float | None = None
) -> Tensor:
    """Half the squared error of the critic, pessimistic about changes larger than `clip`.

    max((V - R)^2, (V_old + clip(V - V_old, -clip, clip) - R)^2) / 2, as in the code of Schulman et al. 2017.

    Args:
        values: the critic's, (N, T).
        old_values: as they were when the advantages were computed, (N, T).
        returns: (N, T).
        mask: tokens that count, (N, T) bool.
        clip: largest change that is trusted; None: no bound.

    Returns:
        (N, T), 0 outside the mask.

    Raises:
        ValueError: tensors of different shape.

    Example:
        >>> zero = torch.zeros(1, 1)
        >>> value_loss(zero + 1.0, zero, zero + 2.0, zero == 0, clip=0.5)
        tensor([[1.1250]])
    """
    check_tokens(values=values, old_values=old_values, returns=returns, mask=mask)
    losses = (values - returns) ** 2
    if clip is not None:
        check_positive(clip=clip)
        near = old_values + (values - old_values).clamp(-clip, clip)
        losses = torch.maximum(losses, (near - returns) ** 2)
    return torch.where(mask, losses / 2, 0.0)


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns): 1 is a perfect critic, 0 one that says the mean; NaN if constant.

    Args:
        values: numbers of any shape.
        returns: the same shape.

    Example:
        >>> explained_variance(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0]))
        1.0
    """
    if returns.numel() < 2 or (spread := returns.double().var()) == 0:
        return float("nan")
    return float(1 - (returns.double() - values.double()).var() / spread)


def confidence_adjusted(scores: Tensor, baseline: float, confidence: Tensor, *, weight: float) -> Tensor:
    """PPO-C's reward: a claim to be sure pays where the answer is better than usual, and costs where it is worse.

    r + weight (r - baseline) (s - 1/2) (PPO-C of Leng et al. 2024, arXiv:2410.09724), with s the confidence that
    the answer states. An answer that states none keeps its score, which is s = 1/2.

    Args:
        scores: r, (N,).
        baseline: running mean of scores.
        confidence: s in [0, 1], NaN where none is stated, (N,).
        weight: 2 in the paper.

    Example:
        >>> scores, stated = torch.tensor([1.0, 1.0, -1.0]), torch.tensor([1.0, float("nan"), 1.0])
        >>> confidence_adjusted(scores, 0.0, stated, weight=2.0)
        tensor([ 2.,  1., -2.])
    """
    stated = torch.where(confidence.isnan(), 0.5, confidence)
    return scores + weight * (scores - baseline) * (stated - 0.5)


def clipped_steps(scores: Tensor, threshold: float) -> Tensor:
    """Step rewards that cannot be piled up: min(r, threshold) - threshold, never above 0.

    Many middling steps then gain nothing over few ("Clip" of Gao et al. 2024, arXiv:2410.15115).

    Args:
        scores: of the steps of one answer, (S,).
        threshold: what a good step gets.

    Example:
        >>> clipped_steps(torch.tensor([0.25, 0.75]), 0.5)
        tensor([-0.2500,  0.0000])
    """
    return scores.clamp(max=threshold) - threshold


def delta_steps(scores: Tensor) -> Tensor:
    """Step rewards as differences: r_k - r_{k+1}, the last one kept, so that they add up to the first.

    More steps then bring no more reward ("Delta" of Gao et al. 2024, arXiv:2410.15115).

    Args:
        scores: of the steps of one answer, (S,).

    Example:
        >>> delta_steps(torch.tensor([0.25, 0.75, 0.5]))
        tensor([-0.5000,  0.2500,  0.5000])
    """
    following = torch.cat([scores[1:], scores.new_zeros(min(1, len(scores)))])
    return scores - following
