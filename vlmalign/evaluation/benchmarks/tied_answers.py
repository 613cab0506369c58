"""The Ties subset of RewardBench 2: several answers are right, and none of them should stand out.

Malik et al. 2025, arXiv:2506.01937, appendix on Ties. Every question comes twice: `ref:7` with a single right
answer, `tied:7` with many. Of a question, gap = lowest score of a right answer - highest of a wrong one, and
spread = highest - lowest of the right ones. The score is

    0.3 tied accuracy + 0.3 reference accuracy + 0.2 P(gap > spread) + 0.2 P(lower of both gaps > spread)
    + 0.01 mean tanh(lower of both gaps / spread - 1),

accuracy being P(gap > 0): 0.6 accuracy and 0.4 margin, with a term that hardly does more than break ties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlmalign.evaluation.benchmarks.combining import Part, weighted_mean
from vlmalign.evaluation.benchmarks.protocol import Table
from vlmalign.evaluation.estimate import Estimate

WEIGHTS = {
    "accuracy, tied questions": 0.3,
    "accuracy, reference questions": 0.3,
    "margin: gap above spread": 0.2,
    "margin: lower gap of both above spread": 0.2,
}
BONUS = 0.01
TIED, REFERENCE = "tied", "ref"
OVERALL, CLOSENESS = "Ties score (published)", "tanh(lower gap / spread - 1)"


@dataclass(frozen=True)
class Answers:
    """Scores of the answers to one question in one of its two forms; None where one could not be read.

    Attributes:
        question: what `ref` and `tied` share.
        form: `ref` or `tied`.
        right: scores of the right answers.
        wrong: of the wrong ones.
        scored: whether every answer has a score.
    """

    question: str
    form: str
    right: tuple[float, ...]
    wrong: tuple[float, ...]
    scored: bool = True

    @property
    def gap(self) -> float:
        """From the highest wrong answer to the lowest right one."""
        return min(self.right) - max(self.wrong)

    @property
    def spread(self) -> float:
        """Between the highest and the lowest right answer."""
        return max(self.right) - min(self.right)


def closeness(lower_gap: float, spread: float) -> float:
    """tanh(gap / spread - 1), by its limits where the spread is 0; 0 where both are.

    Example:
        >>> closeness(2.0, 2.0), closeness(1.0, 0.0), closeness(0.0, 0.0)
        (0.0, 1.0, 0.0)
    """
    if spread == 0:
        return float((lower_gap > 0) - (lower_gap < 0))
    return math.tanh(lower_gap / spread - 1)


def ties_table(found: Sequence[Answers]) -> Table:
    """The published score with its parts; intervals are over questions, both forms of one together.

    A question in one form alone counts in that form's accuracy and in no margin; one with an unread score is
    excluded wherever it would count.

    Args:
        found: each question's forms.

    Example:
        >>> pair = [Answers("1", "ref", (3.0,), (0.0,)), Answers("1", "tied", (2.0, 2.5), (1.0,))]
        >>> row = ties_table(pair).rows["Ties"]
        >>> [round(row[name].mean, 3) for name in (OVERALL, CLOSENESS)]  # gaps 3 and 1, spread 0.5: tanh(1)
        [1.008, 0.762]
    """
    tied, ref = ({a.question: a for a in found if a.form == form} for form in (TIED, REFERENCE))
    both = [(tied[name], ref[name]) for name in tied if name in ref]
    names = [a.question for a, _ in both]

    def accuracy(answers: dict[str, Answers]) -> Part:
        return [float(a.gap > 0) if a.scored else None for a in answers.values()], list(answers)

    def margin(value: object) -> Part:
        assert callable(value)
        return [value(a, b) if a.scored and b.scored else None for a, b in both], names

    parts = dict(
        zip(
            WEIGHTS,
            (
                accuracy(tied),
                accuracy(ref),
                margin(lambda a, b: float(a.gap > a.spread)),
                margin(lambda a, b: float(min(a.gap, b.gap) > a.spread)),
            ),
            strict=True,
        )
    )
    row: dict[str, Estimate | None] = {name: weighted_mean({name: part}) for name, part in parts.items()}
    bonus = weighted_mean(
        {CLOSENESS: margin(lambda a, b: closeness(min(a.gap, b.gap), a.spread))}, proportion=False
    )
    whole = _with_bonus(weighted_mean(parts, WEIGHTS), bonus)
    alone = len(tied) + len(ref) - 2 * len(both)
    note = (
        "accuracy: every right answer above every wrong one; n of the score counts a question once for each part "
        "that it is in"
    )
    if alone:
        note += f"; {alone} questions are there in one form alone, and are in no margin"
    return Table("ties", "Ties: several right answers", {"Ties": {OVERALL: whole, **row, CLOSENESS: bonus}}, note)


def _with_bonus(shares: Estimate, bonus: Estimate) -> Estimate:
    """Sum of the four weighted shares and the small term; the ends are the sums of their ends, so rather wide."""
    if shares.mean is None or bonus.mean is None:
        return Estimate.nothing(shares.excluded + shares.n)
    mean = shares.mean + BONUS * bonus.mean
    if shares.low is None or shares.high is None or bonus.low is None or bonus.high is None:
        return replace(shares, mean=mean, low=None, high=None)
    return replace(shares, mean=mean, low=shares.low + BONUS * bonus.low, high=shares.high + BONUS * bonus.high)
