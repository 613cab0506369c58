"""How many times as long, or as much: a sum over another sum of the same items, with an interval over groups."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import estimate_statistic, number_cells, ratio_statistic


def ratio_of_sums(
    above: Sequence[float], below: Sequence[float], groups: Sequence[Hashable], *, excluded: int = 0
) -> Estimate:
    """sum(above) / sum(below) over n items, resampled together by group.

    The ratio of mean lengths, as CheXalign tells it (140.2 / 55.8 words); the mean of ratios would give a short
    reference more weight.

    Args:
        above: (n,) e.g. words of each report.
        below: (n,) e.g. words of its reference, not negative.
        groups: (n,) cluster of each item.
        excluded: items that were left out before.

    Raises:
        ValueError: lengths differ.

    Example:
        >>> ratio_of_sums([30, 10], [10, 10], ["a", "b"]).mean
        2.0
    """
    if not len(above) == len(below) == len(groups):
        raise ValueError(
            f"{len(above)} values over {len(below)} of {len(groups)} groups: give one of each per item"
        )
    if not sum(below):
        return Estimate.nothing(excluded + len(above))
    cells, cell_seeds, cell_groups = number_cells(groups, None, False)
    sums, sizes = (np.bincount(cells, values).astype(np.float64) for values in (above, below))
    statistic = ratio_statistic(sums, sizes)
    return estimate_statistic(statistic, cell_seeds, cell_groups, n=len(above), excluded=excluded)
