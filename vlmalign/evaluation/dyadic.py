"""Means, and other statistics, of items of two groups each, of which other items belong to one or the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.jackknife import Statistic, jackknife_variance, members_of, without_each, without_members
from vlmalign.evaluation.rare_events import FEW_GROUPS, WIDENED, rare_interval, unvaried_estimate
from vlmalign.records.preference import Dyad


def independent_units(groups: Iterable[Hashable]) -> int:
    """What a bound for events that were not seen may count as independent trials: groups over groups per item.

    If a group has the event in all of its items with a chance of q, an item of m groups has it with 1 - (1 - q)^m,
    and G groups without any bound that by 1 - 0.025^(m / G): as G / m trials do. Groups alone are G trials.

    Example:
        >>> independent_units([Dyad("a", "b"), Dyad("a", "c"), Dyad("d", "e")]), independent_units(["a", "b", "b"])
        (2, 2)
    """
    members = [set(group) if isinstance(group, Dyad) else {group} for group in groups]
    return max(1, len(set().union(*members)) * len(members) // max(1, sum(map(len, members))))


def disjoint(groups: Iterable[Hashable]) -> int:
    """How many of the items share no group with one that was counted before: events that no single group explains.

    Example:
        >>> disjoint([Dyad("a", "b"), Dyad("a", "c"), Dyad("d", "e")]), disjoint(["a", "b", "b"])
        (2, 2)
    """
    taken: set[Hashable] = set()
    count = 0
    for group in groups:
        members = set(group) if isinstance(group, Dyad) else {group}
        if not members & taken:
            taken |= members
            count += 1
    return count


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

    A proportion of which fewer than ten disjoint items have an event, or a non-event, has too little to estimate a
    variance from: there at least as wide as `rare_interval` of `independent_units`, and without any, or with
    nothing else, Clopper and Pearson's interval.

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
    if proportion and (values == values[0]).all():
        units, n_groups = independent_units(groups), len({one for pair in members for one in pair})
        return unvaried_estimate(mean, n, n_groups, excluded, units=units, level=level)
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
    method = f"dyadic, t with {n_groups - 1} df"
    if proportion:
        seen = max(0.0, low), min(1.0, high)
        low, high = _widened(seen, values, groups, level)
        method += f", {WIDENED}" if (low, high) != seen else ""
    return Estimate(mean, low, high, n, n_groups, excluded, method)


def _widened(
    ends: tuple[float, float], values: NDArray[np.float64], groups: Sequence[Hashable], level: float
) -> tuple[float, float]:
    """The hull with the intervals of few events and of few non-events."""
    low, high = ends
    mean, units = float(values.mean()), independent_units(groups)
    for turned, share, common in ((False, mean, 0.0), (True, 1 - mean, 1.0)):
        few = disjoint(group for group, value in zip(groups, values.tolist(), strict=True) if value != common)
        rare = rare_interval(share, few, units, level) if few < FEW_GROUPS else None
        if rare is not None:
            below, above = (1 - rare[1], 1 - rare[0]) if turned else rare
            low, high = min(low, below), max(high, above)
    return low, high


def dyadic_interval(
    statistic: Statistic, cell_groups: NDArray[np.int64], *, level: float = 0.95
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
    members, n = members_of(cell_groups), len(cell_groups)
    if len(members) < 2 or n < 2:
        return None
    without_cell = without_each(statistic, n)
    of_cells, twice = map(jackknife_variance, (without_cell, without_cell[cell_groups[:, 0] != cell_groups[:, 1]]))
    variance = max(jackknife_variance(without_members(statistic, members)) - twice, of_cells)
    centre = float(statistic(np.ones((1, n)))[0])
    half = float(stats.t.ppf((1 + level) / 2, len(members) - 1)) * variance**0.5
    return centre - half, centre + half, f"dyadic jackknife, t with {len(members) - 1} df"
