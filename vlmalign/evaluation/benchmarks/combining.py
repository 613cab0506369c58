"""Weighted means of parts (macro averages, sections, overall scores) with one interval over all clusters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from vlmalign.evaluation.dyadic import independent_units
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import BOOTSTRAP_FROM, RESAMPLES, Array, cluster_interval
from vlmalign.evaluation.rare_events import unvaried_estimate, widen_if_rare
from vlmalign.records.preference import Dyad

#: values of one part (None = excluded state) and their clusters
Part = tuple[Sequence[float | None], Sequence[Hashable]]


def weighted_mean(
    parts: Mapping[str, Part], weights: Mapping[str, float] | None = None, *, proportion: bool = True
) -> Estimate:
    """Weighted mean over parts of each part's mean; a macro average where all weights are equal.

    The interval resamples clusters over all parts together, so that clusters which reach into several parts are
    respected; weights stay fixed. If a part has no scored value, nothing can be said of the whole. Items of two
    groups each (`Dyad`) get no interval here: their dependence is not that of clusters.

    Args:
        parts: name -> values (None = in an excluded state) and clusters.
        weights: name -> weight, not negative; None: all equal.
        proportion: values lie in [0, 1] and so does the interval.

    Raises:
        ValueError: no part, or the weights are not those of the parts or add up to nothing.

    Example:
        >>> whole = weighted_mean({"a": ([1, 1], "st"), "b": ([0, 1, None], "uvw")}, {"a": 3, "b": 1})
        >>> whole.mean, whole.n, whole.excluded  # (3 * 1 + 1 * 0.5) / 4
        (0.875, 4, 1)
    """
    share = _shares(parts, weights)
    sums, sizes, names, excluded = _cluster_sums(parts)
    if any(size.sum() == 0 for part, size in sizes.items() if share[part]):
        return Estimate.nothing(excluded + int(sum(size.sum() for size in sizes.values())))
    used = [part for part in parts if share[part]]

    cells = np.stack([of[p] for p in used for of in (sums, sizes)], axis=1)  # (G, 2 parts): sums and sizes
    of_used = np.array([share[p] for p in used])
    n = int(cells[:, 1::2].sum())
    groups = len(names)
    mean = float(_statistic(np.ones((1, groups)), cells, of_used)[0])
    alike = {value for part in used for value in parts[part][0] if value is not None}
    if proportion and len(alike) == 1:  # not told by the mean, which weights round
        units = independent_units(names)
        return unvaried_estimate(float(alike.pop()), n, groups, excluded, units=None if units == groups else units)
    if any(isinstance(name, Dyad) for name in names):
        return Estimate(mean, None, None, n, groups, excluded, "no interval: items of two groups each")
    interval = _interval(cells, of_used)
    if interval is None:
        return Estimate(mean, None, None, n, groups, excluded, "no interval: a single group")
    low, high, method = interval
    if not proportion:
        return Estimate(mean, low, high, n, groups, excluded, method)
    estimate = Estimate(mean, max(0.0, low), min(1.0, high), n, groups, excluded, method)
    total, size = (np.sum([of[p] for p in used], axis=0) for of in (sums, sizes))
    return widen_if_rare(estimate, int((total > 0).sum()), int((total < size).sum()), 0.95)


def _statistic(drawn: Array, cells: Array, share: Array) -> Array:
    """Weights (R, C) of clusters or of kinds of clusters -> the weighted mean in each resample (R,)."""
    totals = drawn @ cells
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((totals[:, ::2] / totals[:, 1::2]) @ share)


def _interval(cells: Array, share: Array, level: float = 0.95) -> tuple[float, float, str] | None:
    """As `cluster_interval`; from 30 clusters on, clusters of equal sums and sizes are drawn as one kind.

    How often the kinds are drawn is again multinomial, with their shares of the clusters: the same bootstrap,
    which for thousands of single right or wrong items is a thousand times faster.
    """
    groups = len(cells)
    if groups < BOOTSTRAP_FROM:
        return cluster_interval(lambda weights: _statistic(weights, cells, share), groups, level=level)
    kinds, counts = np.unique(cells, axis=0, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(groups, counts / groups, size=RESAMPLES).astype(float)
    low, high = np.nanquantile(_statistic(drawn, kinds, share), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), f"cluster bootstrap, {groups} groups, {RESAMPLES} resamples"


def _shares(parts: Mapping[str, Part], weights: Mapping[str, float] | None) -> dict[str, float]:
    given = dict.fromkeys(parts, 1.0) if weights is None else dict(weights)
    if not parts or set(given) != set(parts):
        raise ValueError(
            f"parts are {sorted(parts)} and weights of {sorted(given)}: give one weight for each part"
        )
    if min(given.values()) < 0 or sum(given.values()) <= 0:
        raise ValueError(f"weights are {given}: none may be negative, and one must be positive")
    return {name: weight / sum(given.values()) for name, weight in given.items()}


def _cluster_sums(
    parts: Mapping[str, Part],
) -> tuple[dict[str, Array], dict[str, Array], dict[Hashable, int], int]:
    names: dict[Hashable, int] = {}
    found: dict[str, list[tuple[int, float]]] = {}
    excluded = 0
    for part, (values, groups) in parts.items():
        found[part] = []
        for value, group in zip(values, groups, strict=True):
            if value is None:
                excluded += 1
            else:
                found[part].append((names.setdefault(group, len(names)), float(value)))
    sums, sizes = ({part: np.zeros(len(names)) for part in parts} for _ in range(2))
    for part, cells in found.items():
        for at, value in cells:
            sums[part][at] += value
            sizes[part][at] += 1
    return sums, sizes, names, excluded
