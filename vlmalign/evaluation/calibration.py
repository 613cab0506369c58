"""Are probabilities what they say: calibration error, Brier score, reliability table, each by group."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import (
    Array,
    Statistic,
    cluster_estimate,
    estimate_statistic,
    number_cells,
    paired_difference,
)

Binning = Literal["width", "mass"]


@dataclass(frozen=True)
class ReliabilityBin:
    """The items whose probability lies in one bin.

    Attributes:
        low: least probability of the bin.
        high: largest one.
        confidence: mean probability of its items.
        accuracy: share of them whose label is 1, with an interval over groups.
    """

    low: float
    high: float
    confidence: float
    accuracy: Estimate

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        ends = {"bin_low": self.low, "bin_high": self.high}  # low and high are of the interval
        return {**ends, "confidence": self.confidence, **self.accuracy.to_dict()}


@dataclass(frozen=True)
class CalibrationFigures:
    """How well probabilities are calibrated.

    Attributes:
        ece: expected calibration error in bins of equal width, sum over bins of n_b / n * |accuracy - mean
            probability| (Guo et al. 2017, arXiv:1706.04599, sec. 2). Noise within bins makes it too large, more so
            the fewer the items: compare it at the same items only, and trust the Brier score.
        ece_mass: the same in bins of equally many items (Nixon et al. 2019, arXiv:1904.01685, without classes).
        brier: mean of (p - label)^2; of a pair the same in either order.
        bins: the reliability table, bins of equal width that hold items.
    """

    ece: Estimate
    ece_mass: Estimate
    brier: Estimate
    bins: tuple[ReliabilityBin, ...]

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        figures = {name: getattr(self, name).to_dict() for name in ("ece", "ece_mass", "brier")}
        return {**figures, "bins": [each.to_dict() for each in self.bins]}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> CalibrationFigures:
        """Read back what `to_dict` wrote."""
        bins = [
            ReliabilityBin(each["bin_low"], each["bin_high"], each["confidence"], Estimate.from_dict(each))
            for each in found["bins"]
        ]
        ece, ece_mass, brier = (Estimate.from_dict(found[name]) for name in ("ece", "ece_mass", "brier"))
        return cls(ece, ece_mass, brier, tuple(bins))


def confidences(p: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    """Probabilities of pairs as confidences in the likelier answer, and whether that is the better one.

    In which order a pair stands means nothing, and where the better answer always stands first all labels are 1:
    whatever says 1 everywhere would look calibrated. A pair at one half counts as half right.

    Args:
        p: (N,) probability that the first answer is better.
        labels: (N,) whether it is.

    Returns:
        (N,) confidence in [0.5, 1] and (N,) 1, 0 or 0.5.

    Example:
        >>> confidence, right = confidences([0.9, 0.2, 0.5], [1, 1, 1])
        >>> confidence.tolist(), right.tolist()
        ([0.9, 0.8, 0.5], [1.0, 0.0, 0.5])
    """
    values, truth = np.asarray(p, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    of_true = np.where(truth == 1, values, 1 - values)
    return np.maximum(values, 1 - values), (of_true > 0.5) + 0.5 * (of_true == 0.5)


def calibration_figures(
    p: ArrayLike,
    labels: ArrayLike,
    groups: Sequence[Hashable],
    *,
    pairs: bool = False,
    seeds: Sequence[Hashable] | None = None,
    n_bins: int = 10,
) -> CalibrationFigures:
    """Calibration error, Brier score and reliability table.

    Args:
        p: (N,) probability that the label is 1.
        labels: (N,) of 0 and 1.
        groups: (N,) cluster of each item.
        pairs: the items are pairs of answers: errors and bins are those of `confidences`.
        seeds: (N,) training seed of each item.
        n_bins: of both calibration errors.

    Raises:
        ValueError: lengths that differ, no items, a probability outside [0, 1], no bin.

    Example:
        >>> found = calibration_figures([0.8, 0.8, 0.3, 0.3], [1, 1, 1, 0], list("abcd"))
        >>> round(found.ece.mean, 3), round(found.brier.mean, 3)  # |1 - 0.8| / 2 + |0.5 - 0.3| / 2
        (0.2, 0.165)
    """
    values, truth = _checked(p, labels, groups, n_bins)
    brier = cluster_estimate(((values - truth) ** 2).tolist(), groups, seeds=seeds, proportion=True)
    if pairs:
        values, truth = confidences(values, truth)
    equal_width, equal_mass = (bin_numbers(values, n_bins, binning) for binning in ("width", "mass"))
    errors = [_ece(values, truth, numbers, groups, seeds) for numbers in (equal_width, equal_mass)]
    bins = []
    for number in np.unique(equal_width).tolist():
        here = np.flatnonzero(equal_width == number).tolist()
        own_seeds = None if seeds is None else [seeds[i] for i in here]
        accuracy = cluster_estimate(
            truth[here].tolist(), [groups[i] for i in here], seeds=own_seeds, proportion=True
        )
        low, high = number / n_bins, (number + 1) / n_bins
        bins.append(ReliabilityBin(low, high, float(values[here].mean()), accuracy))
    return CalibrationFigures(errors[0], errors[1], brier, tuple(bins))


def calibration_difference(
    after: ArrayLike,
    before: ArrayLike,
    labels: ArrayLike,
    groups: Sequence[Hashable],
    *,
    pairs: bool = False,
    n_bins: int = 10,
) -> dict[str, Estimate]:
    """Paired differences after - before of Brier score and calibration error on the same items.

    Args:
        after: (N,) probabilities.
        before: (N,) probabilities of the same items.
        labels: (N,) of 0 and 1.
        groups: (N,) cluster of each item.
        pairs: the items are pairs of answers; see `calibration_figures`.
        n_bins: of the calibration error.

    Returns:
        "brier" and "ece"; less is better.

    Example:
        >>> found = calibration_difference([0.5] * 4, [1.0] * 4, [1, 1, 0, 0], list("abcd"))
        >>> found["brier"].mean, found["ece"].mean
        (-0.25, -0.5)
    """
    cells, cell_seeds, cell_groups = number_cells(groups, None, False)
    losses, errors = [], []
    for p in (after, before):
        values, truth = _checked(p, labels, groups, n_bins)
        losses.append(((values - truth) ** 2).tolist())
        if pairs:
            values, truth = confidences(values, truth)
        errors.append(_ece_statistic(values, truth, bin_numbers(values, n_bins, "width"), cells))
    ece = estimate_statistic(
        lambda weights: errors[0](weights) - errors[1](weights), cell_seeds, cell_groups, n=len(cells), excluded=0
    )
    return {"brier": paired_difference(losses[0], losses[1], groups), "ece": ece}


def bin_numbers(p: Array, n_bins: int, binning: Binning) -> NDArray[np.int64]:
    """Bin of each probability (N,): [0, 0.1), [0.1, 0.2) ... with 1 in the last, or as many items in each.

    Equal probabilities are always in one bin. The bins stay as they are where an interval draws groups anew.

    Example:
        >>> bin_numbers(np.array([0.0, 0.1, 0.95, 1.0]), 10, "width").tolist()
        [0, 1, 9, 9]
        >>> bin_numbers(np.array([0.1, 0.2, 0.2, 0.9]), 2, "mass").tolist()
        [0, 0, 0, 1]
    """
    if binning == "width":
        return np.clip(np.floor(p * n_bins + 1e-9), 0, n_bins - 1).astype(np.int64)
    edges = np.quantile(p, np.arange(1, n_bins) / n_bins, method="inverted_cdf")
    return np.searchsorted(np.unique(edges), p, side="left")


def _ece(
    p: Array,
    labels: Array,
    numbers: NDArray[np.int64],
    groups: Sequence[Hashable],
    seeds: Sequence[Hashable] | None,
) -> Estimate:
    cells, cell_seeds, cell_groups = number_cells(groups, seeds, False)
    statistic = _ece_statistic(p, labels, numbers, cells)
    found = estimate_statistic(statistic, cell_seeds, cell_groups, n=len(p), excluded=0)
    if found.mean is None or found.low is None or found.high is None:
        return found
    # resampled bins are noisier, so their errors are larger: the interval reaches down to the estimate at least
    low, high = max(0.0, min(found.low, found.mean)), min(1.0, max(found.high, found.mean))
    return replace(found, low=low, high=high)


def _ece_statistic(p: Array, labels: Array, numbers: NDArray[np.int64], cells: NDArray[np.int64]) -> Statistic:
    """The calibration error as a function of cell weights: sum of |gap of a bin|, over the sum of weights."""
    n_cells = int(cells.max()) + 1
    gaps = np.zeros((n_cells, int(numbers.max()) + 1))
    np.add.at(gaps, (cells, numbers), labels - p)
    sizes = np.bincount(cells, minlength=n_cells).astype(np.float64)

    def statistic(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.abs(weights @ gaps).sum(1) / (weights @ sizes))

    return statistic


def _checked(p: ArrayLike, labels: ArrayLike, groups: Sequence[Hashable], n_bins: int) -> tuple[Array, Array]:
    values, truth = np.asarray(p, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if not len(values) == len(truth) == len(groups):
        raise ValueError(f"p, labels, groups have {len(values)}, {len(truth)}, {len(groups)} entries: one each")
    if not len(values) or n_bins < 1:
        raise ValueError(f"{len(values)} items and {n_bins} bins: give one of each at least")
    bad, wrong = values[~((values >= 0) & (values <= 1))], truth[~np.isin(truth, (0.0, 1.0))]
    if len(bad):
        raise ValueError(f"p has the value {bad[0]}: give probabilities from 0 to 1")
    if len(wrong):
        raise ValueError(f"labels has the value {wrong[0]}: give 0 or 1, and leave out what is not known")
    return values, truth
