"""Means, and other statistics, of items of two groups each, of which other items belong to one or the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.jackknife import Array, jackknife_variance, members_of
from vlmalign.records.preference import Dyad


def dyadic_mean(
    values: NDArray[np.float64],
    groups: Sequence[Hashable],
    excluded: int = 0,
    *,
    proportion: bool = False,
    level: float = 0.95,
) -> Estimate:
    """Mean of items whose errors may be correlated wherever they share a group.

    The dyadic-robust variance of Aronow, Samii and Assenova 2015 (Political Analysis 23:564), for a mean: with
    residuals e, V = [sum over groups g of (sum of e of the items of g)^2 - sum over dyads of two groups of e^2] /
    n^2, not below that of independent items; t with G - 1 degrees of freedom. A group alone is a dyad of itself.

    Args:
        values: (n,) values.
        groups: (n,) a `Dyad`, or one group, of each.
        excluded: values that were excluded.
        proportion: values lie in [0, 1] and so does the interval.
        level: coverage aimed at.

    Example:
        >>> alone = dyadic_mean(np.array([1.0, 0.0, 1.0]), ["a", "b", "c"])
        >>> pairs = dyadic_mean(np.array([1.0, 1.0, 0.0]), [Dyad("a", "b"), Dyad("a", "c"), Dyad("d", "e")])
        >>> round(alone.mean, 3), alone.n_groups, pairs.n_groups
        (0.667, 3, 5)
    """
    members = [tuple(group) if isinstance(group, Dyad) else (group, group) for group in groups]
    mean, n = float(values.mean()), len(values)
    of_group: dict[Hashable, float] = defaultdict(float)
    twice = 0.0
    for error, (one, other) in zip((values - mean).tolist(), members, strict=True):
        of_group[one] += error
        if other != one:
            of_group[other] += error
            twice += error**2
    n_groups = len(of_group)
    if n_groups < 2:
        return Estimate(mean, None, None, n, n_groups, excluded, "no interval: a single group")
    least = float(((values - mean) ** 2).sum())
    variance = max(sum(total**2 for total in of_group.values()) - twice, least) / n**2 * n_groups / (n_groups - 1)
    half = float(stats.t.ppf((1 + level) / 2, n_groups - 1)) * variance**0.5
    low, high = mean - half, mean + half
    if proportion:
        low, high = max(0.0, low), min(1.0, high)
    return Estimate(mean, low, high, n, n_groups, excluded, f"dyadic, t with {n_groups - 1} df")


def dyadic_interval(
    statistic: Callable[[Array], Array], cell_groups: NDArray[np.int64], *, level: float = 0.95
) -> tuple[float, float, str] | None:
    """Interval of a statistic over items of two clusters each, of which other items belong to one or the other.

    The form of `dyadic_mean` for any statistic: the variance when each cluster is left out with all its items,
    less that when each pair of clusters is, which the first counts once for either cluster; not below that of
    independent pairs. t with G - 1 degrees of freedom.

    Args:
        statistic: function of the weights (R, C) of the cells, one for each pair of clusters.
        cell_groups: the two cluster numbers of each cell (C, 2); twice the same for a cluster alone.
        level: coverage aimed at.

    Returns:
        As `cluster_interval`; None for fewer than two cells or clusters.

    Example:
        >>> from vlmalign.evaluation.intervals import ratio_statistic
        >>> pairs = np.array([[0, 1], [0, 2], [3, 4]])
        >>> low, high, method = dyadic_interval(ratio_statistic(np.array([1.0, 1.0, 0.0]), np.ones(3)), pairs)
        >>> method
        'dyadic jackknife, t with 4 df'
    """
    members, cells = members_of(cell_groups), np.eye(len(cell_groups))
    if len(members) < 2 or len(cells) < 2:
        return None
    of_cells, twice = (
        jackknife_variance(statistic, rows) for rows in (cells, cells[cell_groups[:, 0] != cell_groups[:, 1]])
    )
    variance = max(jackknife_variance(statistic, members) - twice, of_cells)
    centre = float(statistic(np.ones((1, len(cells))))[0])
    half = float(stats.t.ppf((1 + level) / 2, len(members) - 1)) * variance**0.5
    return centre - half, centre + half, f"dyadic jackknife, t with {len(members) - 1} df"
