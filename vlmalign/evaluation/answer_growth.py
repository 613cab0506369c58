"""How much longer answers get while a policy is trained."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import Array, estimate_statistic, number_cells
from vlmalign.evaluation.online_runs import OnlineRun
from vlmalign.evaluation.seed_variance import over_seeds


def growth(pairs: Sequence[tuple[float | None, float | None]]) -> Estimate:
    """How many times as much: the geometric mean over seeds of after / before, a t interval on the logarithm.

    Args:
        pairs: before and after of each run; None, or not above 0: excluded.

    Example:
        >>> found = growth([(10.0, 20.0), (10.0, 20.0), (None, 5.0)])
        >>> round(found.mean, 3), found.n, found.excluded
        (2.0, 2, 1)
    """
    logs = [
        float(np.log(after / before)) if before is not None and after is not None and min(before, after) > 0
        else None
        for before, after in pairs
    ]  # fmt: skip
    found = over_seeds(logs)
    ends = [None if x is None else float(np.exp(x)) for x in (found.mean, found.low, found.high)]
    return replace(found, mean=ends[0], low=ends[1], high=ends[2])


def words_growth(runs: Sequence[OnlineRun]) -> Estimate:
    """Words of the answers that runs wrote down, last third of their rounds over first third.

    They are of training cases, and other ones in each third: clusters are cases, with several runs also seeds.
    """
    rows: list[tuple[int, Hashable, int, int]] = []
    left_out = 0
    for number, run in enumerate(runs):
        rounds = sorted({answer.round for answer in run.answers})
        third = len(rounds) // 3
        if not third:
            left_out += len(run.answers)
            continue
        early, late = set(rounds[:third]), set(rounds[-third:])
        rows += [(number, a.case, int(a.round in late), a.words) for a in run.answers if a.round in early | late]
    if not any(words for _, _, half, words in rows if not half):
        return Estimate.nothing(left_out + len(rows))
    cells, seeds, groups = number_cells([row[1] for row in rows], [row[0] for row in rows], False)
    sums, sizes = np.zeros((2, len(seeds))), np.zeros((2, len(seeds)))
    for (_, _, half, words), cell in zip(rows, cells, strict=True):
        sums[half, cell] += words
        sizes[half, cell] += 1

    def ratio(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [(weights @ total) / (weights @ size) for total, size in zip(sums, sizes, strict=True)]
            return np.asarray(means[1] / means[0])

    return estimate_statistic(ratio, seeds, groups, n=len(rows), excluded=left_out)
