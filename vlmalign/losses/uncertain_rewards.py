"""Pair losses of reward heads that say how unsure they are, and the moments of what they say."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from vlmalign.losses.reward import RewardLoss
from vlmalign.losses.shapes import check_per_example


class RewardMoments(NamedTuple):
    """Mean and variance of a reward, alike in shape; the variance is None where a head says nothing of it."""

    mean: Tensor
    variance: Tensor | None


def gaussian_pair_loss(chosen: RewardMoments, rejected: RewardMoments, margin: Tensor | None = None) -> RewardLoss:
    """Negative log-probability that the chosen answer wins, when both rewards are normal.

    -log sigmoid(k (m_w - m_l - margin)), k = 1 / sqrt(1 + pi (v_w + v_l) / 8): MacKay's probit-style approximation
    (1992, Neural Computation 4:720, equation 10) to the mean of the logistic under a normal. The logistic noise,
    which the variances are added to, fixes the scale: without it, mean and standard deviation could grow together
    at no cost.

    Args:
        chosen: moments of the chosen answers' rewards, (B,) each.
        rejected: those of the rejected ones.
        margin: wanted differences, (B,).

    Raises:
        ValueError: a tensor with another shape than (B,), or no variance.

    Example:
        >>> sure = RewardMoments(torch.tensor([1.0]), torch.tensor([0.0]))
        >>> other = RewardMoments(torch.tensor([0.0]), torch.tensor([8 / math.pi * 3]))
        >>> gaussian_pair_loss(sure, other).losses  # -log sigmoid(1 / 2)
        tensor([0.4741])
    """
    if chosen.variance is None or rejected.variance is None:
        raise ValueError("a variance is None: a Gaussian pair loss needs a head with outputs 'gaussian'.")
    check_per_example(
        chosen=chosen.mean, variance=chosen.variance, rejected=rejected.mean, its_variance=rejected.variance
    )
    difference = chosen.mean - rejected.mean
    wanted = difference if margin is None else difference - margin
    scale = (1 + math.pi / 8 * (chosen.variance + rejected.variance)).rsqrt()
    return RewardLoss(-logsigmoid(scale * wanted), difference.detach())


def gaussian_moments(outputs: Tensor) -> RewardMoments:
    """Mean and variance from a head's outputs (..., 2): the mean, and the log of the variance, kept in [-10, 10].

    Example:
        >>> gaussian_moments(torch.tensor([1.5, 0.0]))
        RewardMoments(mean=tensor(1.5000), variance=tensor(1.))
    """
    return RewardMoments(outputs[..., 0], outputs[..., 1].clamp(-10.0, 10.0).exp())


def evidential_pair_loss(chosen: Tensor, rejected: Tensor, *, kl_weight: float = 0.1) -> RewardLoss:
    """Evidence for and against each answer as a Beta distribution of the chosen one's winning.

    With e+ and e- = softplus of a head's two outputs, alpha = 1 + e+_w + e-_l and beta = 1 + e-_w + e+_l; the loss
    is the expected cross-entropy psi(alpha + beta) - psi(alpha), plus kl_weight times the divergence of Beta(1,
    beta), the evidence for the wrong outcome alone, from the uniform: log beta - (beta - 1) / beta (Sensoy et al.
    2018, arXiv:1806.01768, equations 4 and 5, for two classes whose evidence the two answers share).

    Args:
        chosen: outputs of the chosen answers, (B, 2).
        rejected: those of the rejected ones, (B, 2).
        kl_weight: of the divergence, >= 0.

    Raises:
        ValueError: shapes that differ from (B, 2), or a negative weight.

    Example:
        >>> nothing = torch.full((1, 2), -1e9)  # no evidence: alpha = beta = 1
        >>> evidential_pair_loss(nothing, nothing).losses
        tensor([1.0000])
    """
    for name, value in (("chosen", chosen), ("rejected", rejected)):
        if value.ndim != 2 or value.shape[1] != 2:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, expected (B, 2): evidence for and against.")
    if kl_weight < 0:
        raise ValueError(f"kl_weight is {kl_weight}, expected 0 or more: 0.1 is usual.")
    win, lose = softplus(chosen), softplus(rejected)
    alpha = 1 + win[:, 0] + lose[:, 1]
    beta = 1 + win[:, 1] + lose[:, 0]
    divergence = beta.log() - (beta - 1) / beta
    losses = torch.digamma(alpha + beta) - torch.digamma(alpha) + kl_weight * divergence
    difference = evidence_moments(chosen).mean - evidence_moments(rejected).mean
    return RewardLoss(losses, difference.detach())


def evidence_moments(outputs: Tensor) -> RewardMoments:
    """Moments of the log-odds under Beta(1 + e+, 1 + e-): psi(a) - psi(b) and psi'(a) + psi'(b).

    This is an answer against one of which nothing is known. Without evidence the variance is pi^2 / 3, that of the
    logistic; it falls as evidence of either kind grows.

    Args:
        outputs: a head's outputs, (..., 2).

    Example:
        >>> evidence_moments(torch.tensor([-1e9, -1e9])).variance  # pi^2 / 3
        tensor(3.2899)
    """
    a, b = (1 + softplus(outputs)).unbind(-1)
    variance = torch.polygamma(1, a) + torch.polygamma(1, b)
    return RewardMoments(torch.digamma(a) - torch.digamma(b), variance)


def reward_moments(outputs: Tensor, kind: Literal["score", "gaussian", "evidence"]) -> RewardMoments:
    """Means and variances of rewards from a head's outputs (..., O); a plain score has no variance.

    Example:
        >>> reward_moments(torch.tensor([[2.0]]), "score")
        RewardMoments(mean=tensor([2.]), variance=None)
    """
    if kind == "score":
        return RewardMoments(outputs[..., 0], None)
    return gaussian_moments(outputs) if kind == "gaussian" else evidence_moments(outputs)
