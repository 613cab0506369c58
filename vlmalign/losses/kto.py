"""Kahneman-Tversky optimisation: answers that are good or bad by themselves, no pairs needed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vlmalign.losses.shapes import check_per_example, check_positive


class KtoLoss(NamedTuple):
    """Per-answer values of `kto_loss`.

    Attributes:
        losses: (B,), with gradient.
        rewards: implicit reward beta h of each answer, (B,), detached.
        baseline: beta z, detached, ().
    """

    losses: Tensor
    rewards: Tensor
    baseline: Tensor


def kto_loss(
    ratios: Tensor,
    desirable: Tensor,
    mismatched: Tensor,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> KtoLoss:
    """Kahneman-Tversky loss of single answers.

    w (1 - sigmoid(beta (h - z))) of a desirable answer and w (1 - sigmoid(beta (z - h))) of an undesirable one;
    z is max(0, the mean h of answers to other prompts), an estimate of the divergence from the reference,
    without gradient (Ethayarajh et al. 2024, arXiv:2402.01306, section 4.1).

    Args:
        ratios: log-ratios h of the answers, summed over tokens, (B,).
        desirable: which are good, (B,) bool.
        mismatched: log-ratios of answers under prompts that they do not belong to, (M,), M >= 1.
        beta: > 0; 0.1 in the paper.
        desirable_weight: w of desirable answers, > 0. The paper keeps weight times number of both kinds
            within 1 to 4/3 of each other.
        undesirable_weight: w of undesirable ones, > 0.

    Raises:
        ValueError: a tensor of another shape, no mismatched answer, or a setting out of range.

    Example:
        >>> zero = torch.tensor([0.0])
        >>> kto_loss(zero, torch.tensor([True]), zero, beta=0.1).losses
        tensor([0.5000])
    """
    check_per_example(ratios=ratios, desirable=desirable)
    check_per_example(mismatched=mismatched)
    check_positive(beta=beta, desirable_weight=desirable_weight, undesirable_weight=undesirable_weight)
    if not len(mismatched):
        raise ValueError("mismatched is empty, expected one log-ratio at least: the baseline comes from them.")
    z = mismatched.detach().mean().clamp(min=0)
    signed = torch.where(desirable, ratios - z, z - ratios)
    weight = torch.where(desirable, desirable_weight, undesirable_weight)
    losses = weight * (1 - torch.sigmoid(beta * signed))
    return KtoLoss(losses, (beta * ratios).detach(), beta * z)
