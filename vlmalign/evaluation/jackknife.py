"""Variance of a statistic from what leaving clusters out does to it (Efron & Stein 1981, Ann. Stat. 9:586)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: weights (R, G) of G clusters in R resamples -> the statistic in each (R,)
Statistic = Callable[[Array], Array]
BLOCK = 4_000_000  # weights at once


def jackknife_variance(left_out: Array) -> float:
    """Delete-one variance from the statistic without each; nan, where nothing is left, does not count."""
    left_out = left_out[~np.isnan(left_out)]
    m = len(left_out)
    return float((m - 1) / m * np.sum((left_out - left_out.mean()) ** 2)) if m > 1 else 0.0


def without_members(statistic: Statistic, members: Array) -> Array:
    """The statistic M times; members (M, G) marks with 1 the clusters that are left out together."""
    return statistic(1.0 - members)


def without_each(statistic: Statistic, n: int) -> Array:
    """The statistic n times, each without one of n clusters; n * n weights never stand in memory together.

    Example:
        >>> without_each(lambda weights: weights @ np.array([1.0, 2.0, 3.0]), 3).tolist()
        [5.0, 4.0, 3.0]
    """
    step = max(1, BLOCK // n)
    blocks = (np.arange(start, min(start + step, n)) for start in range(0, n, step))
    return np.concatenate([statistic((np.arange(n) != rows[:, None]).astype(float)) for rows in blocks])


def members_of(cell_groups: NDArray[np.int64]) -> Array:
    """Which cells (C) each group (G) has, (G, C) of 0 and 1; a cell has one group, (C,), or two, (C, 2)."""
    of_cells = cell_groups.reshape(len(cell_groups), -1)
    return np.array([(of_cells == group).any(1) for group in np.unique(cell_groups)], dtype=float)
