"""Intervals that respect clusters: pictures of one slide, and items of one training seed, are not independent.

Everything is built on one form: a statistic as a function of cluster weights. All ones give the point
estimate, multinomial counts a cluster bootstrap (Field & Welsh 2007, J. R. Stat. Soc. B 69:369), ones with
one cluster set to zero the delete-one-cluster jackknife (Efron & Stein 1981, Ann. Stat. 9:586).

The policy, in one place; `cluster_estimate` and `paired_difference` follow it, and the tests check its coverage:

* from 30 clusters on a percentile cluster bootstrap; below, t on cluster means (jackknife, G - 1 df);
* a proportion of 0 or n events, or of ties alone: Clopper-Pearson on clusters; of few events: no shorter than
  `rare_events` says;
* few clusters that differ between two arms: no shorter than if none did;
* several training seeds: t over seeds, two-way where groups recur;
* two clusters per item: of a mean `dyadic`, of other statistics `dyadic_interval`;
* readers and cases: `readers_and_cases`; subgroups: `subgroups`; tests of a paired difference: `paired_tests`;
* a single cluster, or nothing scored: no interval, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vlmalign.evaluation.dyadic import disjoint, dyadic_interval, dyadic_mean, independent_units
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.jackknife import (
    Array,
    Statistic,
    jackknife_variance,
    members_of,
    without_each,
    without_members,
)
from vlmalign.evaluation.rare_events import one_sided_bound, unvaried_estimate, widen_if_rare
from vlmalign.records.preference import Dyad

BOOTSTRAP_FROM = 30
RESAMPLES = 2000
SIGN_TEST_FROM = 6
#: an interval over seeds of no more width than this is rounding: the seeds are alike, and show no spread
SAME = 1e-12


def ratio_statistic(sums: Array, sizes: Array) -> Statistic:
    """The pooled mean, sum of the cluster sums (G,) over sum of the cluster sizes (G,)."""

    def statistic(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ sums) / (weights @ sizes))

    return statistic


def cluster_interval(
    statistic: Statistic, n_groups: int, *, seed: int = 0, level: float = 0.95
) -> tuple[float, float, str] | None:
    """Interval of a statistic over independent clusters.

    From 30 clusters on: percentile cluster bootstrap with 2,000 resamples. Below, where the percentile
    bootstrap is too narrow: jackknife standard error with a t quantile of G - 1 degrees of freedom; for a mean
    over clusters of equal size this is the t interval on cluster means. The estimand is the same in both.

    Args:
        statistic: function of cluster weights (R, G).
        n_groups: G.
        seed: of the bootstrap.
        level: coverage aimed at.

    Returns:
        Lower end, upper end and the method in words; None for fewer than two clusters.

    Example:
        >>> low, high, _ = cluster_interval(ratio_statistic(np.array([1.0, 2.0, 3.0]), np.ones(3)), 3)
        >>> round(low, 3), round(high, 3)  # 2 +- 4.303 * 1 / sqrt(3)
        (-0.484, 4.484)
    """
    if n_groups < 2:
        return None
    if n_groups >= BOOTSTRAP_FROM:
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=RESAMPLES).astype(float)
        low, high = np.nanquantile(statistic(weights), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high), f"cluster bootstrap, {n_groups} groups, {RESAMPLES} resamples"
    centre = float(statistic(np.ones((1, n_groups)))[0])
    variance = jackknife_variance(without_each(statistic, n_groups))
    half = stats.t.ppf((1 + level) / 2, n_groups - 1) * np.sqrt(variance)
    return float(centre - half), float(centre + half), f"t, {n_groups - 1} df, over {n_groups} groups"


def seed_interval(
    statistic: Statistic,
    cell_seeds: NDArray[np.int64],
    cell_groups: NDArray[np.int64],
    *,
    crossed: bool,
    level: float = 0.95,
) -> tuple[float, float, float, str]:
    """Interval over training seeds and groups, for the mean over S >= 2 seeds of the seed's statistic.

    Nested (each seed draws its own groups): the seeds' values are independent and their spread holds both
    levels, so mean +- t(S - 1) * sd / sqrt(S). This is safe for few and unequal seeds (Ibragimov & Mueller
    2010, J. Bus. Econ. Stat. 28:453), where a two-level bootstrap of about five seeds is too narrow (Cameron,
    Gelbach & Miller 2008, Rev. Econ. Stat. 90:414).

    Crossed (the same groups are tested under every seed): two-way variance V_seed + V_group - V_cell (Cameron,
    Gelbach & Miller 2011, J. Bus. Econ. Stat. 29:238), never below V_seed or V_group, with t of
    min(S, G) - 1 degrees of freedom.

    Args:
        statistic: function of the weights (R, C) of the cells (seed and group).
        cell_seeds: seed number of each cell (C,).
        cell_groups: group number of each cell (C,), or of dyads both, (C, 2).
        crossed: whether groups recur under several seeds.
        level: coverage aimed at.

    Returns:
        Mean, lower end, upper end, method in words.
    """
    in_seed = (cell_seeds[None, :] == np.unique(cell_seeds)[:, None]).astype(float)
    of_seeds = statistic(in_seed)
    n_seeds = len(of_seeds)
    variance, df = float(of_seeds.var(ddof=1) / n_seeds), n_seeds - 1
    method = f"t, {df} df, over {n_seeds} seeds"
    if crossed:

        def over_seeds(weights: Array) -> Array:
            return np.asarray(np.nanmean([statistic(weights * row[None, :]) for row in in_seed], axis=0))

        in_group = members_of(cell_groups)
        of_groups = jackknife_variance(without_members(over_seeds, in_group))
        of_cells = jackknife_variance(without_each(over_seeds, len(cell_seeds)))
        variance = max(variance, of_groups, variance + of_groups - of_cells)
        df = min(n_seeds, len(in_group)) - 1
        method = f"two-way over {n_seeds} seeds and {len(in_group)} groups, t with {df} df"
    mean = float(of_seeds.mean())
    half = float(stats.t.ppf((1 + level) / 2, df)) * variance**0.5 if df > 0 else float("nan")
    return mean, mean - half, mean + half, method


def cluster_estimate(
    values: Sequence[float | None],
    groups: Sequence[Hashable],
    *,
    excluded: int = 0,
    seeds: Sequence[Hashable] | None = None,
    crossed: bool = False,
    proportion: bool | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Mean of values that come in groups, with an interval over groups (and seeds).

    The estimand is the mean over items (each item weighs the same, a large group more); with several seeds,
    the mean over seeds of that. Items of two groups each (`Dyad`) share members; see `dyadic_mean`. A proportion
    with no event, or nothing but events, has no spread to build on: there Clopper & Pearson 1934 (Biometrika
    26:404) with one trial per group, which holds even if the items of a group always agree. Where only few groups
    have an event, or a non-event, see `rare_events`.

    Args:
        values: (n,) with None for a value in an excluded state; it is counted, never a zero.
        groups: (n,) cluster of each value; with nested `seeds` a name may recur under another seed.
        excluded: further values that were excluded before this call.
        seeds: (n,) training seed of each value; None or one seed: clustering by group alone.
        crossed: the same groups are tested under every seed.
        proportion: values lie in [0, 1] and so does the interval; None: whether all values are 0 or 1.
        seed: of the bootstrap.
        level: coverage aimed at.

    Raises:
        ValueError: lengths differ, a value is not finite, or a proportion lies outside [0, 1].

    Example:
        >>> estimate = cluster_estimate([1.0, 0.0, None, 1.0], ["a", "a", "b", "c"])
        >>> round(estimate.mean, 3), estimate.n, estimate.n_groups, estimate.excluded
        (0.667, 3, 2, 1)
    """
    kept, cells, cell_seeds, cell_groups = _cells(values, groups, seeds, crossed)
    excluded += len(values) - len(kept)
    if not len(kept):
        return Estimate.nothing(excluded)
    if proportion is None:
        proportion = bool(np.isin(kept, (0.0, 1.0)).all())
    elif proportion and not ((kept >= 0) & (kept <= 1)).all():
        raise ValueError(f"a proportion has the value {kept[(kept < 0) | (kept > 1)][0]}: pass proportion=False")
    n_groups = len(np.unique(cell_groups))
    if any(isinstance(group, Dyad) for group in groups) and len(np.unique(cell_seeds)) == 1:
        of_kept = [group for group, value in zip(groups, values, strict=True) if value is not None]
        return dyadic_mean(kept, of_kept, excluded, proportion=proportion, level=level)
    if proportion and (kept == kept[0]).all():
        return unvaried_estimate(float(kept[0]), len(kept), n_groups, excluded, level=level)
    statistic = ratio_statistic(np.bincount(cells, kept).astype(np.float64), np.bincount(cells).astype(np.float64))
    estimate = estimate_statistic(
        statistic, cell_seeds, cell_groups, n=len(kept), excluded=excluded, crossed=crossed, seed=seed, level=level
    )
    if not proportion:
        return estimate
    of_items = cell_groups[cells]
    events, others = (len(np.unique(of_items[kept != value])) for value in (0.0, 1.0))
    return widen_if_rare(_clip(estimate), events, others, level)


def estimate_statistic(
    statistic: Statistic,
    cell_seeds: NDArray[np.int64],
    cell_groups: NDArray[np.int64],
    *,
    n: int,
    excluded: int,
    crossed: bool = False,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """A statistic of cell weights with its interval: over groups, also of two groups per cell (`number_cells`),
    or, from two seeds on, over seeds and groups.
    """
    n_groups = len(np.unique(cell_groups))
    if len(np.unique(cell_seeds)) > 1:
        mean, low, high, method = seed_interval(statistic, cell_seeds, cell_groups, crossed=crossed, level=level)
        if not np.isfinite(low):
            return Estimate(mean, None, None, n, n_groups, excluded, "no interval: a single group")
        if high - low <= SAME * max(1.0, abs(mean)):
            return Estimate(mean, None, None, n, n_groups, excluded, "no interval: all seeds alike")
        return Estimate(mean, low, high, n, n_groups, excluded, method)
    mean = float(statistic(np.ones((1, len(cell_groups))))[0])
    if cell_groups.ndim == 2:
        interval = dyadic_interval(statistic, cell_groups, level=level)
    else:
        interval = cluster_interval(statistic, n_groups, seed=seed, level=level)
    if interval is None:
        return Estimate(mean, None, None, n, n_groups, excluded, "no interval: a single group")
    return Estimate(mean, interval[0], interval[1], n, n_groups, excluded, interval[2])


def paired_difference(
    a: Sequence[float | None],
    b: Sequence[float | None],
    groups: Sequence[Hashable],
    seeds: Sequence[Hashable] | None = None,
    *,
    excluded: int = 0,
    crossed: bool = False,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Mean of a - b over items that both have, with an interval over groups (and seeds).

    An item of which either value is in an excluded state leaves both sides and is counted. Where all
    differences of scores in [0, 1] are equal, the interval is the worst case at the Clopper-Pearson bound for
    the share of groups that might have differed. Where a bootstrap would rest on fewer than six groups that
    differ, the interval is at least as wide as if none did: six is the least with which a sign test over groups
    can tell the two arms apart (2 * 0.5 ** 6 = 0.03), while the percentile bootstrap does so with four.
    Ends of the difference of scores in [0, 1] lie in [-1, 1].

    Args:
        a: (n,) scores of one arm.
        b: (n,) scores of the other, item by item.
        groups: (n,) cluster of each item.
        seeds: (n,) training seed of each item.
        excluded: further items that were excluded before this call.
        crossed: the same groups are tested under every seed.
        seed: of the bootstrap.
        level: coverage aimed at.

    Raises:
        ValueError: lengths differ or a value is not finite.

    Example:
        >>> paired_difference([1, 1, 1, 0], [0, 1, 0, None], ["a", "b", "c", "c"]).excluded
        1
    """
    if not len(a) == len(b):
        raise ValueError(f"a has {len(a)} values and b has {len(b)}: pair them item by item first")
    differences = [None if x is None or y is None else float(x) - float(y) for x, y in zip(a, b, strict=True)]
    estimate = cluster_estimate(
        differences,
        groups,
        excluded=excluded,
        seeds=seeds,
        crossed=crossed,
        proportion=False,
        seed=seed,
        level=level,
    )
    kept = [d for d in differences if d is not None]
    bounded = all(x is None or 0 <= x <= 1 for x in (*a, *b))
    units = estimate.n_groups
    if any(isinstance(group, Dyad) for group in groups):
        units = independent_units(g for g, d in zip(groups, differences, strict=True) if d is not None)
    if kept and bounded and max(kept) == min(kept):
        bound, same = one_sided_bound(units, level), kept[0]
        return Estimate(
            same,
            same - (same + 1) * bound,
            same + (1 - same) * bound,
            estimate.n,
            estimate.n_groups,
            estimate.excluded,
            f"Clopper-Pearson, {units} groups",
        )
    named = zip(_names_of_groups(groups, seeds, crossed), differences, strict=True)
    differ = disjoint(group for group, difference in named if difference)
    return _clip(widen_if_few_differ(estimate, differ, level, units), -1.0) if bounded else estimate


def widen_if_few_differ(
    estimate: Estimate, differ: int, level: float = 0.95, units: int | None = None
) -> Estimate:
    """Where few groups differ, at least as wide as if none did; for shares (see `paired_difference`).

    Args:
        estimate: of the difference.
        differ: groups that differ.
        level: coverage aimed at.
        units: independent groups, where they are not those of the estimate (`independent_units`).
    """
    if estimate.low is None or estimate.high is None:
        return estimate
    if differ and (differ >= SIGN_TEST_FROM or estimate.n_groups < BOOTSTRAP_FROM):
        return estimate
    bound = one_sided_bound(estimate.n_groups if units is None else units, level)
    method = f"{estimate.method}, widened as only {differ} groups differ"
    return replace(estimate, low=min(estimate.low, -bound), high=max(estimate.high, bound), method=method)


def _names_of_groups(
    groups: Sequence[Hashable], seeds: Sequence[Hashable] | None, crossed: bool
) -> Sequence[Hashable]:
    return list(groups) if crossed or seeds is None else list(zip(seeds, groups, strict=True))


def number_cells(
    groups: Sequence[Hashable], seeds: Sequence[Hashable] | None, crossed: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Number the (seed, group) cells: of each item (n,), and seed (C,) and group (C,) of each cell.

    Where a group is a `Dyad`, a cell has two groups, (C, 2), twice the same where it has one.

    Example:
        >>> number_cells([Dyad("a", "b"), "b", Dyad("a", "b")], None, False)[2].tolist()
        [[0, 1], [1, 1]]
    """
    of_seed: dict[Hashable, int] = {}
    of_group: dict[Hashable, int] = {}
    of_cell: dict[tuple[int, ...], int] = {}
    dyadic = any(isinstance(group, Dyad) for group in groups)
    items = []
    for group, seed in zip(groups, [None] * len(groups) if seeds is None else seeds, strict=True):
        s = of_seed.setdefault(seed, len(of_seed))
        names = group if isinstance(group, Dyad) else (group, group)[: 1 + dyadic]
        numbers = [of_group.setdefault(name if crossed else (s, name), len(of_group)) for name in names]
        items.append(of_cell.setdefault((s, *numbers), len(of_cell)))
    found = np.array(list(of_cell), dtype=np.int64).reshape(-1, 2 + dyadic)
    return np.array(items, dtype=np.int64), found[:, 0], found[:, 1:] if dyadic else found[:, 1]


def _cells(
    values: Sequence[float | None], groups: Sequence[Hashable], seeds: Sequence[Hashable] | None, crossed: bool
) -> tuple[Array, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Scored values (n,) with their cells."""
    for name, other in (("groups", groups), ("seeds", seeds)):
        if other is not None and len(other) != len(values):
            raise ValueError(f"values has {len(values)} entries and {name} {len(other)}: give one per value")
    keep = [i for i, value in enumerate(values) if value is not None]
    kept = np.array([values[i] for i in keep], dtype=float)
    if not np.isfinite(kept).all():
        raise ValueError("a value is not finite: pass None for a value that could not be scored")
    return kept, *number_cells(
        [groups[i] for i in keep], None if seeds is None else [seeds[i] for i in keep], crossed
    )


def _clip(estimate: Estimate, least: float = 0.0) -> Estimate:
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(least, estimate.low), high=min(1.0, estimate.high))
