"""Does a reward go by style: accuracy by the style of either side, the same answers word for word.

After the style matrix of RM-Bench (Liu et al. 2024, arXiv:2410.16184), with two styles that differ in marks alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate, paired_difference
from vlmalign.evaluation.judged_pairs import JudgedPairs
from vlmalign.rewards.answer_styles import concise
from vlmalign.rewards.variants import restyled

STYLES = ("concise", "markdown")
Values = list[float | None]


class StyleFigures(NamedTuple):
    """What style is worth to a reward.

    Attributes:
        matrix: style of the chosen answer -> style of the rejected one -> accuracy.
        easy: accuracy where only the chosen answer is a list (off-diagonal).
        normal: where both have one style (mean of the diagonal).
        hard: where only the rejected answer is a list.
        gap: easy minus hard, paired: zero for a reward that does not mind style, above for one that likes lists.
        adds_to_chosen: what the list adds to the score of the chosen answer, in the reward's units.
        adds_to_rejected: the same of the rejected answer.
        same: pairs whose sides differ in style alone; they say nothing here and are left out.
    """

    matrix: dict[str, dict[str, Estimate]]
    easy: Estimate
    normal: Estimate
    hard: Estimate
    gap: Estimate
    adds_to_chosen: Estimate
    adds_to_rejected: Estimate
    same: int

    def to_dict(self) -> dict[str, Any]:
        """In the form in which JSON holds them."""
        matrix = {a: {b: cell.to_dict() for b, cell in row.items()} for a, row in self.matrix.items()}
        found = {name: v.to_dict() if isinstance(v, Estimate) else v for name, v in self._asdict().items()}
        return {**found, "matrix": matrix}


def style_figures(plain: JudgedPairs, listed: JudgedPairs) -> StyleFigures:
    """Accuracy by the style of either side.

    Args:
        plain: the pairs scored as plain sentences.
        listed: the same pairs scored as lists with bold heads.

    Raises:
        ValueError: the two name different pairs.
    """
    if [p.pair.id for p in plain.pairs] != [p.pair.id for p in listed.pairs]:
        raise ValueError("concise and markdown name different pairs: score the same pairs both times")
    groups = plain.groups
    same = [_same_in_style(pair.pair) for pair in plain.pairs]
    scores = {
        (style, side): [None if s else getattr(pair, side) for pair, s in zip(judged.pairs, same, strict=True)]
        for style, judged in zip(STYLES, (plain, listed), strict=True)
        for side in ("chosen", "rejected")
    }
    cells = {(a, b): _wins(scores[a, "chosen"], scores[b, "rejected"]) for a in STYLES for b in STYLES}
    easy, hard = cells["markdown", "concise"], cells["concise", "markdown"]
    normal: Values = [
        None if x is None or y is None else (x + y) / 2
        for x, y in zip(cells["concise", "concise"], cells["markdown", "markdown"], strict=True)
    ]

    def share(values: Values) -> Estimate:
        return cluster_estimate(values, groups, proportion=True)

    return StyleFigures(
        {a: {b: share(cells[a, b]) for b in STYLES} for a in STYLES},
        share(easy),
        share(normal),
        share(hard),
        paired_difference(easy, hard, groups),
        paired_difference(scores["markdown", "chosen"], scores["concise", "chosen"], groups),
        paired_difference(scores["markdown", "rejected"], scores["concise", "rejected"], groups),
        sum(same),
    )


def _same_in_style(pair: Any) -> bool:
    plain = restyled(pair, concise)
    return plain.chosen == plain.rejected


def _wins(chosen: Sequence[float | None], rejected: Sequence[float | None]) -> Values:
    return [
        None if x is None or y is None else float(x > y) + 0.5 * float(x == y)
        for x, y in zip(chosen, rejected, strict=True)
    ]
