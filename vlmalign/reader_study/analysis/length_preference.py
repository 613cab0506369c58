"""Does the longer text win, and what is left of a preference where two texts are equally long?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import Array, estimate_statistic, number_cells
from vlmalign.evaluation.length_bias import difference_of_means
from vlmalign.evaluation.ratio_of_sums import ratio_of_sums
from vlmalign.evaluation.readers_and_cases import Estimand
from vlmalign.reader_study.analysis.mixed_models import MixedFit, fit_mixed
from vlmalign.reader_study.analysis.reported import Reported, report
from vlmalign.reader_study.analysis.verdicts import Verdict


@dataclass(frozen=True)
class LengthEffect:
    """Length and preference between two arms, or over all pairs of arms (`arm` and `against` None).

    Attributes:
        times_as_long: words of `arm` by words of `against`.
        equal: answers on texts of equal length, which `longer_wins` leaves out.
        longer_wins: how often the longer text is preferred, a tie one half; tested against one half.
        where_longer: win rate of `arm` where its text is the longer one.
        where_shorter: the same where it is the shorter one.
        longer_less_shorter: their difference: 0 if length has nothing to do with it.
        adjusted: win rate expected at equal length, from a line over the relative difference in length.
        slope: change of the win rate per 0.1 of that difference.
        mixed: the same line with random readers and cases.
        reason: why nothing could be adjusted.
    """

    arm: str | None
    against: str | None
    times_as_long: Estimate | None
    equal: int
    longer_wins: Reported
    where_longer: Estimate | None
    where_shorter: Estimate | None
    longer_less_shorter: Estimate | None
    adjusted: Estimate | None
    slope: Estimate | None
    mixed: MixedFit | None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {
            name: value.to_dict() if isinstance(value, (Estimate, Reported, MixedFit)) else value
            for name, value in vars(self).items()
        }


def longer_by(words: tuple[int, int]) -> float:
    """(a - b) / (a + b), from -1 to 1; 0 for equal lengths.

    Example:
        >>> longer_by((30, 10)), longer_by((0, 0))
        (0.5, 0.0)
    """
    return (words[0] - words[1]) / sum(words) if sum(words) else 0.0


def length_over_all(
    verdicts: Sequence[Verdict], *, estimand: Estimand | None = None, seed: int = 0
) -> LengthEffect:
    """Whether the longer text wins, whosever it is; where one arm always is longer this is its win rate."""
    first = [v for v in verdicts if not v.repeat]
    equal, longer = _longer_wins(first, estimand, seed)
    return LengthEffect(None, None, None, equal, longer, None, None, None, None, None, None)


def length_effect(
    verdicts: Sequence[Verdict], pair: tuple[str, str], *, estimand: Estimand | None = None, seed: int = 0
) -> LengthEffect:
    """The length effect between two arms.

    The line is fitted to wins (1, 0.5, 0) by least squares over d = (words of arm - words of against) / their sum;
    its value at d = 0 is the adjusted win rate, its interval over cases (these readers). It extrapolates where one
    arm is always longer, which `times_as_long` and the counts tell.

    Args:
        verdicts: of all pairs; repeats do not count.
        pair: (arm, against).
        estimand: see `report`.
        seed: of the bootstrap.
    """
    mine = [v for v in verdicts if (v.arm, v.against) == pair and not v.repeat]
    wins, cases = [v.win for v in mine], [v.case for v in mine]
    gaps = [longer_by(v.words) for v in mine]
    equal, longer = _longer_wins(mine, estimand, seed)
    up, down = ([win if sign * gap > 0 else None for win, gap in zip(wins, gaps, strict=True)] for sign in (1, -1))
    times = ratio_of_sums([float(v.words[0]) for v in mine], [float(v.words[1]) for v in mine], cases)
    adjusted, slope, reason = _line(wins, gaps, cases, seed)
    mixed = (
        fit_mixed(
            wins,
            {
                "win rate at equal length": [1.0] * len(mine),
                "per 0.1 of relative length": [10 * gap for gap in gaps],
            },
            {"reader": [v.reader for v in mine], "case": cases},
        )
        if reason is None
        else None
    )
    return LengthEffect(
        *pair,
        times_as_long=times,
        equal=equal,
        longer_wins=longer,
        where_longer=report(up, [v.reader for v in mine], cases, estimand="these readers", seed=seed).estimate,
        where_shorter=report(down, [v.reader for v in mine], cases, estimand="these readers", seed=seed).estimate,
        longer_less_shorter=difference_of_means(up, down, cases),
        adjusted=adjusted,
        slope=slope,
        mixed=mixed,
        reason=reason,
    )


def _longer_wins(verdicts: Sequence[Verdict], estimand: Estimand | None, seed: int) -> tuple[int, Reported]:
    values = []
    for v in verdicts:
        gap = longer_by(v.words)
        values.append(None if v.win is None or not gap else v.win if gap > 0 else 1 - v.win)
    equal = sum(v.win is not None and not longer_by(v.words) for v in verdicts)
    who, what = [v.reader for v in verdicts], [v.case for v in verdicts]
    return equal, report(values, who, what, null=0.5, estimand=estimand, seed=seed)


def _line(
    wins: Sequence[float | None], gaps: Sequence[float], cases: Sequence[str], seed: int
) -> tuple[Estimate | None, Estimate | None, str | None]:
    known = [i for i, win in enumerate(wins) if win is not None]
    excluded = len(wins) - len(known)
    x = np.array([gaps[i] for i in known])
    y = np.array([wins[i] for i in known], dtype=np.float64)
    if len(known) < 3 or len(np.unique(x)) < 2 or (y == y[0]).all():
        why = "fewer than three answers"
        if len(known) >= 3:
            same = (y == y[0]).all()
            why = "every answer is the same" if same else "the difference in length is always the same"
        return None, None, f"{why}: length cannot be told apart from the arm"
    cells, cell_seeds, cell_groups = number_cells([cases[i] for i in known], None, False)
    sums = np.zeros((len(cell_groups), 5))
    np.add.at(sums, cells, np.column_stack([np.ones_like(x), x, y, x * x, x * y]))

    def line(weights: Array) -> tuple[Array, Array]:
        n, sx, sy, sxx, sxy = (weights @ sums).T
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = n * sxx - sx**2
            slope = np.where(spread > 1e-12 * np.maximum(n * sxx, 1e-12), (n * sxy - sx * sy) / spread, np.nan)
            return np.asarray((sy - slope * sx) / n), np.asarray(slope)

    without_one = line(1.0 - np.eye(len(cell_groups)))
    if np.isnan(without_one).any():
        return (
            None,
            None,
            "the difference in length varies in one case only: length cannot be told apart from the arm",
        )

    def estimate(statistic: Any) -> Estimate:
        return estimate_statistic(statistic, cell_seeds, cell_groups, n=len(known), excluded=excluded, seed=seed)

    return estimate(lambda w: line(w)[0]), estimate(lambda w: line(w)[1] / 10), None
