"""How much of the goal-baseline projection of a CLIP reward helps, on labelled pairs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import paired_difference
from vlmalign.evaluation.reward_accuracy import PairAccuracy, Scores, pair_accuracy
from vlmalign.rewards import RewardOutput


class AlphaRow(NamedTuple):
    """One strength of the projection.

    Attributes:
        alpha: which.
        accuracy: on the pairs.
        against_best: accuracy less that of the best alpha, pair by pair; 0 at the best one. An interval that holds
            0 says that the pairs do not tell the two apart.
    """

    alpha: float
    accuracy: PairAccuracy
    against_best: Estimate


class AlphaChoice(NamedTuple):
    """All strengths that were tried, and the best of them.

    Attributes:
        best: the alpha of the highest accuracy, the smallest of several.
        table: every alpha, ascending.
    """

    best: float
    table: tuple[AlphaRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        rows = [
            {"alpha": row.alpha, **row.accuracy.to_dict(), "against_best": row.against_best.to_dict()}
            for row in self.table
        ]
        return {"best": self.best, "table": rows}


def choose_alpha(
    right: Mapping[float, RewardOutput], wrong: Mapping[float, RewardOutput], groups: Sequence[Hashable]
) -> AlphaChoice:
    """Choose the strength of the projection by pair accuracy.

    Choose on validation pairs and report the accuracy on others: the best of several on the same pairs flatters
    itself.

    Args:
        right: alpha -> scores of the better answers, (n,), from `ClipGoalReward.alpha_sweep`.
        wrong: those of the other answers.
        groups: (n,) cluster of each pair.

    Raises:
        ValueError: no alpha, other alphas or another number of answers on one side, or no pair that any alpha
            scored.

    Example:
        >>> def scores(*values):
        ...     return RewardOutput.of(values, reasons=[None] * len(values))
        >>> right, wrong = {0.0: scores(1, 0), 0.5: scores(1, 1)}, {0.0: scores(0, 1), 0.5: scores(0, 0)}
        >>> found = choose_alpha(right, wrong, ["a", "b"])
        >>> found.best, [row.accuracy.accuracy.mean for row in found.table]
        (0.5, [0.5, 1.0])
    """
    if not right or set(right) != set(wrong):
        raise ValueError(f"alphas are {sorted(right)} and {sorted(wrong)}: sweep the same ones, at least one")
    alphas = sorted(right)
    found = {alpha: pair_accuracy(_scores(right[alpha]), _scores(wrong[alpha]), groups) for alpha in alphas}
    means = {alpha: each.accuracy.mean for alpha, each in found.items()}
    scored = [alpha for alpha in alphas if means[alpha] is not None]
    if not scored:
        raise ValueError("no pair has two scored answers at any alpha: see the reasons of the outputs")
    best = max(scored, key=lambda alpha: (means[alpha], -alpha))
    rows = [
        AlphaRow(alpha, each, paired_difference(each.items, found[best].items, each.groups))
        for alpha, each in found.items()
    ]
    return AlphaChoice(best, tuple(rows))


def _scores(output: RewardOutput) -> Scores:
    return [mean if valid else None for mean, valid in zip(output.mean, output.valid, strict=True)]
