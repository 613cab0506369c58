"""What is wrong among the kept, when the most uncertain items are left out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmalign.evaluation.error_detection import by_level, check_errors, in_chunks
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import Array, Statistic, estimate_statistic, number_cells
from vlmalign.evaluation.rare_events import one_sided_bound, widen_if_rare

COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class RiskCoverage(NamedTuple):
    """A risk-coverage curve.

    Attributes:
        area: mean risk over all coverages (AURC, Geifman et al. 2019, arXiv:1805.08206), less is better.
        points: per coverage in (0, 1] the risk among the kept, with its interval; n are the kept items.
    """

    area: Estimate
    points: tuple[tuple[float, Estimate], ...]

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        points = [{"coverage": coverage, **risk.to_dict()} for coverage, risk in self.points]
        return {"area": self.area.to_dict(), "points": points}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> RiskCoverage:
        """Read back what `to_dict` wrote."""
        points = tuple((float(point["coverage"]), Estimate.from_dict(point)) for point in found["points"])
        return cls(Estimate.from_dict(found["area"]), points)


def risk_coverage(
    uncertainty: ArrayLike,
    wrong: ArrayLike,
    groups: Sequence[Hashable],
    *,
    coverages: Sequence[float] = COVERAGES,
    seeds: Sequence[Hashable] | None = None,
) -> RiskCoverage:
    """Risk-coverage curve; of items of equal uncertainty a share is kept, with the mean risk of them all.

    Args:
        uncertainty: (N,) larger for what is less sure.
        wrong: (N,) loss in [0, 1], e.g. 1 for an error and 0.5 for a tie.
        groups: (N,) cluster of each item.
        coverages: shares kept at which the risk is told.
        seeds: (N,) training seed of each item.

    Raises:
        ValueError: lengths that differ, values that are not finite, a coverage outside (0, 1].

    Example:
        >>> found = risk_coverage([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], list("abcd"), coverages=[0.5, 1.0])
        >>> [risk.mean for _, risk in found.points], round(found.area.mean, 3)  # (0 + 0 + 1/3 + 2/4) / 4
        ([0.0, 0.5], 0.208)
    """
    values, errors = check_errors(uncertainty, wrong, groups, binary=False)
    if any(not 0 < c <= 1 for c in coverages):
        raise ValueError(f"coverages are {list(coverages)}: each must lie in (0, 1]")
    cells, cell_seeds, cell_groups = number_cells(groups, seeds, False)
    sizes, events = by_level(values, errors, cells)

    def estimate(statistic: Statistic) -> Estimate:
        whole = in_chunks(statistic, sizes.shape[1])
        found = estimate_statistic(whole, cell_seeds, cell_groups, n=len(errors), excluded=0)
        if found.low is None or found.high is None:
            return found
        return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))

    points = []
    for coverage in coverages:
        kept = values <= np.quantile(values, coverage, method="inverted_cdf")
        found = estimate(_risk_at(coverage, sizes, events))
        points.append((float(coverage), _of_kept(found, kept, errors, cells)))
    return RiskCoverage(estimate(_area(sizes, events)), tuple(points))


def _of_kept(found: Estimate, kept: NDArray[np.bool_], errors: Array, cells: NDArray[np.int64]) -> Estimate:
    """With the counts of the kept, and at least as wide as few errors among few groups allow."""
    if found.mean is None or found.low is None or found.high is None:
        return found
    groups = len(np.unique(cells[kept]))
    wrong, right = (len(np.unique(cells[kept & (errors != label)])) for label in (0, 1))
    found = replace(found, n=int(kept.sum()), n_groups=groups, excluded=int((~kept).sum()))
    if wrong and right:
        return widen_if_rare(found, wrong, right, 0.95)
    bound = one_sided_bound(groups)
    low, high = (0.0, bound) if not wrong else (1 - bound, 1.0)
    return replace(found, low=low, high=high, method=f"Clopper-Pearson, {groups} groups")


def _area(sizes: Array, events: Array) -> Statistic:
    """Mean over kept items, from the surest on, of the risk when the item and all surer ones are kept."""

    def area(weights: Array) -> Array:
        here = weights @ sizes
        kept, wrong = np.cumsum(here, 1), np.cumsum(weights @ events, 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            risk = np.where(kept > 0, wrong / kept, 0.0)
            return np.asarray((here * risk).sum(1) / kept[:, -1])

    return area


def _risk_at(coverage: float, sizes: Array, events: Array) -> Statistic:
    def risk(weights: Array) -> Array:
        kept, wrong = np.cumsum(weights @ sizes, 1), np.cumsum(weights @ events, 1)
        wanted = coverage * kept[:, -1]
        rows = np.arange(len(kept))
        at = np.minimum((kept < wanted[:, None] - 1e-9).sum(1), kept.shape[1] - 1)
        kept_before, wrong_before = (np.where(at > 0, a[rows, at - 1], 0.0) for a in (kept, wrong))
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (wanted - kept_before) / (kept[rows, at] - kept_before)
            return np.asarray((wrong_before + share * (wrong[rows, at] - wrong_before)) / wanted)

    return risk
