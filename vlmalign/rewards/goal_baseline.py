"""The goal-baseline reward of VLM-RM: how near a picture is to a text, along what tells it from another text."""

from __future__ import annotations

import torch
from torch import Tensor

#: below this distance goal and baseline are taken as equal: what is left is float32 rounding
SAME = 1e-5


def prompt_mean(embeddings: Tensor, *, normalize: bool = False) -> Tensor:
    """One direction for several prompts, (D,).

    Args:
        embeddings: unit embeddings of P >= 1 prompts, (P, D).
        normalize: bring the mean back to length 1; VLM-RM does not.

    Example:
        >>> prompt_mean(torch.eye(2))
        tensor([0.5000, 0.5000])
    """
    mean = embeddings.mean(0)
    return torch.nn.functional.normalize(mean, dim=0) if normalize else mean


def goal_baseline_reward(image: Tensor, goal: Tensor, baseline: Tensor | None, *, alpha: float) -> Tensor:
    """The reward of N pictures for N goals, (N,).

    r = 1 - 1/2 |(alpha P + (1 - alpha) I)(x - g)|^2 with d = g - b and P = d d^T / |d|^2 (Rocamonde et al. 2023,
    VLM-RM, arXiv:2310.12921, goal-baseline regularisation). With a_par the part of x - g along d and a_perp the
    rest, it is 1 - 1/2 [a_par^2 + (1 - alpha)^2 a_perp^2], which is how it is computed. At alpha 0 and with a goal
    of length 1 it is the cosine x . g; a mean of several unit prompts is shorter, which adds (1 - |g|^2) / 2. At
    alpha 1 only the direction from baseline to goal counts.

    Args:
        image: unit embeddings x, (N, D).
        goal: g, (N, D).
        baseline: b, (N, D); None at alpha 0, where it has no effect.
        alpha: strength of the projection, in [0, 1].

    Raises:
        ValueError: alpha out of range, or above 0 without a baseline or with one that equals the goal.

    Example:
        >>> x, g, b = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> goal_baseline_reward(x, g, None, alpha=0.0)  # the cosine
        tensor([0.6000])
        >>> goal_baseline_reward(x, g, b, alpha=1.0)  # x - g = (-0.4, 0.8), along (1, -1) / sqrt 2: 0.72
        tensor([0.6400])
    """
    check_alpha(alpha)
    away = image - goal
    if alpha == 0:
        return 1 - away.square().sum(-1) / 2
    if baseline is None:
        raise ValueError(f"alpha is {alpha} and there is no baseline to project on: give one, or set alpha to 0.")
    same = same_direction(goal, baseline).nonzero().flatten().tolist()
    if same:
        raise ValueError(
            f"goal and baseline of rows {same} are equal, so that there is no direction to project on: give "
            "another baseline, or set alpha to 0."
        )
    axis = goal - baseline
    along = (away * axis).sum(-1).square() / axis.square().sum(-1)
    across = away.square().sum(-1) - along
    return 1 - (along + (1 - alpha) ** 2 * across) / 2


def same_direction(goal: Tensor, baseline: Tensor) -> Tensor:
    """Which rows of goal and baseline, (N, D), are equal up to rounding, (N,) bool."""
    return torch.linalg.vector_norm(goal - baseline, dim=-1) <= SAME


def check_alpha(alpha: float) -> None:
    """Require a strength in [0, 1].

    Raises:
        ValueError: another one.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, expected 0 to 1: 0 is the plain cosine, 1 the projection alone.")
