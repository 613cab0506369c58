"""How far a policy has moved from its reference: estimates per token, and a coefficient that follows a target."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vlmalign.losses.shapes import check_positive, check_tokens

Estimator = Literal["k1", "k2", "k3"]


def kl_estimate(logps: Tensor, reference: Tensor, estimator: Estimator = "k1") -> Tensor:
    """Estimates of KL(policy || reference) from tokens that the policy sampled.

    With l = log policy - log reference of the sampled token: k1 = l (unbiased, may be negative), k2 = l^2 / 2
    (biased, never negative, and its gradient is that of the KL), k3 = exp(-l) - 1 + l (unbiased, never negative;
    the one in GRPO, Shao et al. 2024, arXiv:2402.03300, equation 4). Schulman 2020, "Approximating KL divergence".

    Args:
        logps: log-probability of each token under the policy, (N, T).
        reference: the same under the reference, (N, T).
        estimator: which.

    Returns:
        (N, T), in nats per token.

    Raises:
        ValueError: tensors of different shape, or an unknown estimator.

    Example:
        >>> logps, reference = torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log()
        >>> [round(kl_estimate(logps, reference, name).item(), 4) for name in ("k1", "k2", "k3")]
        [0.6931, 0.2402, 0.1931]
    """
    check_tokens(logps=logps, reference=reference)
    ratio = logps - reference
    if estimator == "k1":
        return ratio
    if estimator == "k2":
        return ratio**2 / 2
    if estimator == "k3":
        return torch.expm1(-ratio) + ratio
    raise ValueError(f"estimator is {estimator!r}, expected k1, k2 or k3: correct it.")


def adapted_coefficient(coefficient: float, kl: float, *, target: float, answers: int, horizon: float) -> float:
    """The next KL coefficient, so that the KL moves towards a target.

    beta <- beta (1 + clip(KL / target - 1, -0.2, 0.2) answers / horizon) (Ziegler et al. 2019, arXiv:1909.08593,
    section 2.2). More answers than the horizon count as the horizon: a longer step could make beta negative, which
    would push the policy away from its reference.

    Args:
        coefficient: beta as it was.
        kl: measured, nats per answer.
        target: wanted, nats per answer.
        answers: how many answers `kl` is the mean of.
        horizon: in answers; the coefficient changes by at most a fifth in so many of them, and in one step.

    Raises:
        ValueError: a setting that is not above 0.

    Example:
        >>> round(adapted_coefficient(0.1, 12.0, target=6.0, answers=100, horizon=1000), 4)
        0.102
    """
    check_positive(target=target, horizon=horizon)
    error = min(max(kl / target - 1.0, -0.2), 0.2)
    return coefficient * (1.0 + error * min(answers / horizon, 1.0))
