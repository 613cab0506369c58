"""A policy on held-out cases: its reward, the gold reward, and how far it is from the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from vlmalign.rewards import Reward, RewardOutput, score_whole
from vlmalign.training.rollouts import Rollout


class Answered(NamedTuple):
    """One answer to a held-out case; None where there is no number."""

    group: str
    reward: float | None
    gold: float | None
    kl: float
    tokens: int
    cut: bool


def score_answers(reward: Reward, rollout: Rollout) -> RewardOutput:
    """Scores of a rollout's answers by any reward."""
    images = rollout.images if reward.needs_images else None
    return score_whole(reward, rollout.cases, rollout.candidates, images)


def answered(rollout: Rollout, kl: Tensor, reward: Reward, gold: Reward | None) -> list[Answered]:
    """What became of the answers of a rollout.

    Args:
        rollout: one answer per case.
        kl: of each answer, log policy - log reference, (N,).
        reward: what is maximised.
        gold: what is only measured.
    """
    scores = score_answers(reward, rollout)
    truth = score_answers(gold, rollout) if gold else None
    return [
        Answered(
            group=candidate.group_id or candidate.case_id,
            reward=scores.mean[i] if scores.valid[i] else None,
            gold=truth.mean[i] if truth and truth.valid[i] else None,
            kl=float(kl[i]),
            tokens=len(rollout.token_ids[i]),
            cut=not candidate.finished,
        )
        for i, candidate in enumerate(rollout.candidates)
    ]


@dataclass(frozen=True)
class HeldOut:
    """Answers to held-out cases of all processes.

    Attributes:
        answers: in no particular order.
    """

    answers: Sequence[Answered]

    @classmethod
    def gather(cls, accelerator: Accelerator, own: list[Answered]) -> HeldOut:
        """From each process's own."""
        return cls(own if accelerator.num_processes == 1 else gather_object(own))

    def summary(self) -> dict[str, float | None]:
        """Means, each with its standard error over groups of cases, and shares of valid and of cut answers."""
        found: dict[str, float | None] = {}
        for name in ("reward", "gold"):
            rows = [(a.group, getattr(a, name)) for a in self.answers if getattr(a, name) is not None]
            mean, error = clustered_mean(rows)
            if name == "reward" or rows:
                found |= {name: mean, f"{name}_se": error, f"{name}_valid": len(rows) / len(self.answers)}
        kl, kl_error = clustered_mean([(a.group, a.kl) for a in self.answers])
        found |= {"kl": kl, "kl_se": kl_error}
        found["tokens"] = float(np.mean([a.tokens for a in self.answers]))
        found["cut"] = float(np.mean([a.cut for a in self.answers]))
        return found


def clustered_mean(rows: Sequence[tuple[str, float]]) -> tuple[float | None, float | None]:
    """Mean of numbers, and its standard error where those of one group are not independent.

    The error is that of the ratio of sums over groups: sqrt(G / (G - 1) sum_g (sum of residuals of g)^2) / n.

    Args:
        rows: group and number.

    Returns:
        Mean and standard error; None where there are no numbers, or fewer than two groups.

    Example:
        >>> clustered_mean([("a", 1.0), ("a", 1.0), ("b", 0.0), ("b", 0.0)])
        (0.5, 0.5)
    """
    if not rows:
        return None, None
    values = np.array([value for _, value in rows])
    mean = float(values.mean())
    names, place = np.unique([group for group, _ in rows], return_inverse=True)
    if len(names) < 2:
        return mean, None
    sums = np.bincount(place, weights=values - mean)
    error = (len(names) / (len(names) - 1) * (sums**2).sum()) ** 0.5 / len(values)
    return mean, float(error)
