"""Variance of a statistic from what leaving clusters out does to it (Efron & Stein 1981, Ann. Stat. 9:586)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def jackknife_variance(statistic: Callable[[Array], Array], members: Array) -> float:
    """Delete-one variance; members (M, G) marks with 1 the clusters that are left out together."""
    left_out = statistic(1.0 - members)
    left_out = left_out[~np.isnan(left_out)]
    m = len(left_out)
    return float((m - 1) / m * np.sum((left_out - left_out.mean()) ** 2)) if m > 1 else 0.0


def members_of(cell_groups: NDArray[np.int64]) -> Array:
    """Which cells (C) each group (G) has, (G, C) of 0 and 1; a cell has one group, (C,), or two, (C, 2)."""
    of_cells = cell_groups.reshape(len(cell_groups), -1)
    return np.array([(of_cells == group).any(1) for group in np.unique(cell_groups)], dtype=float)
