"""Ratios of sums over clusters: precision, F1, hallucinated mentions, and their means over classes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import estimate_statistic, number_cells
from vlmalign.evaluation.rare_events import one_sided_bound, widen_if_rare

Array = NDArray[np.float64]


def share_of_sums(
    hits: ArrayLike, totals: ArrayLike, groups: Sequence[Hashable], *, excluded: int = 0, seed: int = 0
) -> Estimate:
    """Sum of hits over sum of totals, with an interval over groups.

    Items whose total is 0 (nothing predicted positive, say) do not bear on the figure: they are in neither n nor
    excluded. At exactly 0 or 1 the interval is Clopper and Pearson's with one trial per group.

    Args:
        hits: (n,) numerators, each between 0 and its total.
        totals: (n,) denominators.
        groups: (n,) cluster of each item.
        excluded: items that could not be scored.
        seed: of the bootstrap.

    Raises:
        ValueError: lengths differ, or a hit is below 0 or above its total.

    Example:
        >>> found = share_of_sums([1, 2, 0], [1, 3, 0], ["a", "b", "c"], excluded=1)
        >>> found.mean, found.n, found.excluded
        (0.75, 2, 1)
    """
    hit, total = np.asarray(hits, dtype=float).reshape(-1), np.asarray(totals, dtype=float).reshape(-1)
    if not len(hit) == len(total) == len(groups):
        raise ValueError(
            f"{len(hit)} hits, {len(total)} totals and {len(groups)} groups: give one of each per item"
        )
    if ((hit < 0) | (hit > total)).any():
        raise ValueError(
            f"item {int(np.argmax((hit < 0) | (hit > total)))}: its hits are not between 0 and its total"
        )
    keep = np.flatnonzero(total > 0).tolist()
    if not keep:
        return Estimate.nothing(excluded)
    cells, seeds, of_cells = number_cells([groups[i] for i in keep], None, False)
    sums, sizes = np.bincount(cells, hit[keep]), np.bincount(cells, total[keep])
    estimate = estimate_statistic(
        lambda weights: _ratio(weights @ sums, weights @ sizes), seeds, of_cells,
        n=len(keep), excluded=excluded, seed=seed,
    )  # fmt: skip
    bounded = _as_share(estimate)
    if bounded.mean in (0.0, 1.0):
        return bounded
    return widen_if_rare(bounded, int((sums > 0).sum()), int((sums < sizes).sum()), 0.95)


def mean_of_shares(
    hits: ArrayLike,
    totals: ArrayLike,
    groups: Sequence[Hashable],
    *,
    weights: ArrayLike | None = None,
    excluded: int = 0,
    seed: int = 0,
) -> Estimate:
    """Mean over K classes of the ratio of sums, as macro F1; classes without any total are left out.

    Args:
        hits: (n, K) numerators.
        totals: (n, K) denominators.
        groups: (n,) cluster of each item.
        weights: (K,) of the classes, None: all equal; they stay fixed in the bootstrap.
        excluded: items that could not be scored.
        seed: of the bootstrap.

    Example:
        >>> mean_of_shares([[1, 0], [1, 1]], [[1, 1], [1, 1]], ["a", "b"]).mean
        0.75
    """
    hit, total = np.asarray(hits, dtype=float), np.asarray(totals, dtype=float)
    if hit.shape != total.shape or hit.ndim != 2 or len(hit) != len(groups):
        raise ValueError(
            f"hits {hit.shape}, totals {total.shape}, {len(groups)} groups: expected (n, K), (n, K), n"
        )
    keep = np.flatnonzero(total.sum(axis=1) > 0).tolist()
    if not keep:
        return Estimate.nothing(excluded)
    cells, seeds, of_cells = number_cells([groups[i] for i in keep], None, False)
    sums, sizes = np.zeros((len(seeds), hit.shape[1])), np.zeros((len(seeds), hit.shape[1]))
    np.add.at(sums, cells, hit[keep])
    np.add.at(sizes, cells, total[keep])

    of_class = np.ones(hit.shape[1]) if weights is None else np.asarray(weights, dtype=float)

    def statistic(drawn: Array) -> Array:
        shares = _ratio(drawn @ sums, drawn @ sizes)
        known = ~np.isnan(shares)
        return _ratio(np.where(known, shares, 0) @ of_class, known @ of_class)

    estimate = estimate_statistic(statistic, seeds, of_cells, n=len(keep), excluded=excluded, seed=seed)
    return _as_share(estimate)


def _ratio(over: Array, under: Array) -> Array:
    return np.divide(over, under, out=np.full(np.shape(over), np.nan), where=under > 0)


def _as_share(estimate: Estimate) -> Estimate:
    """Ends within [0, 1]; at exactly 0 or 1 Clopper and Pearson's, as there is no spread to go by."""
    if estimate.mean in (0.0, 1.0):
        bound = one_sided_bound(estimate.n_groups)
        low, high = (0.0, bound) if estimate.mean == 0.0 else (1 - bound, 1.0)
        return replace(estimate, low=low, high=high, method=f"Clopper-Pearson, {estimate.n_groups} groups")
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(0.0, estimate.low), high=min(1.0, estimate.high))
