"""Losses of scalar reward models."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import logsigmoid

from vlmalign.losses.shapes import check_per_example


class RewardLoss(NamedTuple):
    """Per-example values of a reward loss.

    Attributes:
        losses: (B,), with gradient.
        margins: reward of chosen minus rejected, (B,), detached.
    """

    losses: Tensor
    margins: Tensor


def bradley_terry_loss(
    chosen: Tensor, rejected: Tensor, margin: Tensor | None = None, *, centring: float = 0.0
) -> RewardLoss:
    """Negative log-probability that the chosen answer wins (Bradley and Terry 1952).

    -log sigmoid(chosen - rejected - margin) + centring (chosen + rejected)^2. The margin asks for a
    larger difference where the judge saw one (Touvron et al. 2023, equation 2); the last term keeps the sum near
    0, which the first leaves open (Eisenstein et al. 2023).

    Args:
        chosen: rewards of the chosen answers, (B,).
        rejected: rewards of the rejected answers, (B,).
        margin: wanted differences, (B,).
        centring: weight of the last term, >= 0.

    Raises:
        ValueError: a tensor with another shape than (B,), or a negative weight.

    Example:
        >>> import torch
        >>> bradley_terry_loss(torch.tensor([1.0]), torch.tensor([1.0])).losses  # log 2
        tensor([0.6931])
    """
    tensors = {"chosen": chosen, "rejected": rejected} | ({} if margin is None else {"margin": margin})
    check_per_example(**tensors)
    if centring < 0:
        raise ValueError(f"centring is {centring}, expected 0 or more: 0.01 is usual.")
    difference = chosen - rejected
    losses = -logsigmoid(difference if margin is None else difference - margin)
    return RewardLoss(losses + centring * (chosen + rejected) ** 2, difference.detach())
