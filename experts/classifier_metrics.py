"""How good a classifier is on cases that it has not seen, with intervals over groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from experts.performance import Interval, ratio_interval
from experts.protocol import Metric
from experts.thresholds import check_labelled
from vlmalign.records.hashing import derive_seed

Floats = NDArray[np.float64]
Statistic = Callable[[Floats, Floats, Floats], float]
DRAWS = 1000
BINS = 10


def auroc(p: Floats, y: Floats, weight: Floats) -> float:
    """P(score of a positive > score of a negative) + half of P(they are equal), on weighted images.

    Example:
        >>> p, y = np.array([0.1, 0.4, 0.4, 0.8]), np.array([0.0, 0.0, 1.0, 1.0])
        >>> auroc(p, y, np.ones(4))  # of four pairs three are right, one is tied
        0.875
    """
    values, index = np.unique(p, return_inverse=True)
    positive = np.bincount(index, weight * y, len(values))
    negative = np.bincount(index, weight * (1 - y), len(values))
    below = negative.cumsum() - negative
    return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))


def calibration_error(p: Floats, y: Floats, weight: Floats) -> float:
    """Expected calibration error (Naeini et al. 2015, AAAI) of the probability of presence, ten bins of equal
    width.

    Sum over bins of their share of images times |share present - mean probability|. Few images raise it: it is
    biased upward, in bootstrap draws more so.

    Example:
        >>> p, y = np.array([0.25, 0.25, 0.75, 0.75]), np.array([0.0, 1.0, 1.0, 1.0])
        >>> calibration_error(p, y, np.ones(4))
        0.25
    """
    index = np.minimum((p * BINS).astype(int), BINS - 1)
    gaps = np.bincount(index, weight * (y - p), BINS)
    return float(np.abs(gaps).sum() / weight.sum())


def bootstrap(
    statistic: Statistic, p: Floats, y: Floats, groups: Sequence[str], *, both: bool, seed: int
) -> Interval:
    """A statistic with its 95 % percentile interval over groups drawn with replacement.

    Args:
        statistic: of probabilities, truth and weights, each (N,).
        p: probabilities.
        y: truth, 0 or 1.
        groups: the group of each image.
        both: the statistic needs both classes: draws without one are left out, and more than half of them make
            the interval None.
        seed: of the draws.
    """
    value = statistic(p, y, np.ones(len(p)))
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return Interval(round(value, 6), None, None)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(DRAWS):
        weight = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[index].astype(float)
        if not both or (weight[y == 1].sum() > 0 and weight[y == 0].sum() > 0):
            found.append(statistic(p, y, weight))
    if len(found) < DRAWS / 2:
        return Interval(round(value, 6), None, None)
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(round(value, 6), round(float(low), 6), round(float(high), 6))


def classifier_metrics(
    probabilities: ArrayLike,
    truth: ArrayLike,
    groups: Sequence[str],
    *,
    concept: str,
    threshold: float | None = None,
    baseline: ArrayLike | None = None,
) -> tuple[Metric, ...]:
    """AUROC, Brier score and calibration error of one concept, and sensitivity and specificity at a threshold.

    Args:
        probabilities: (N,) in 0..1.
        truth: (N,) bool.
        groups: the group of each image.
        concept: what the numbers are about.
        threshold: present from here on; without one sensitivity and specificity are left out.
        baseline: (N,) scores of something trivial on the same images, e.g. of `pixel_baseline`; its AUROC is put
            beside the expert's, and the difference on the same draws of groups.

    Raises:
        ValueError: lengths differ, a probability is not in 0..1, or one of the two classes does not occur.
    """
    p, present = np.asarray(probabilities, dtype=float), np.asarray(truth, dtype=bool)
    check_labelled(p, present, groups)
    y = present.astype(float)

    def seed(name: str) -> int:
        return derive_seed(name, concept)

    found = {"auroc": bootstrap(auroc, p, y, groups, both=True, seed=seed("auroc"))}
    if baseline is not None:
        scores = np.asarray(baseline, dtype=float)
        found["pixel_baseline_auroc"] = bootstrap(auroc, scores, y, groups, both=True, seed=seed("auroc"))

        def gain(mine: Floats, y: Floats, weight: Floats) -> float:
            return auroc(mine, y, weight) - auroc(scores, y, weight)

        found["auroc_above_pixels"] = bootstrap(gain, p, y, groups, both=True, seed=seed("auroc"))
    if threshold is not None:
        for name, of, right in (
            ("sensitivity", present, present & (p >= threshold)),
            ("specificity", ~present, ~present & (p < threshold)),
        ):
            found[name] = ratio_interval(right, of, groups, share=True, seed=seed(name))
    found["brier"] = ratio_interval((p - y) ** 2, np.ones(len(p)), groups, share=True, seed=seed("brier"))
    found["ece"] = bootstrap(calibration_error, p, y, groups, both=False, seed=seed("ece"))
    used = {"sensitivity": present, "specificity": ~present}
    metrics = []
    for name, interval in found.items():
        kept = used.get(name, np.ones(len(p), dtype=bool))
        n_groups = len({group for group, here in zip(groups, kept, strict=True) if here})
        metrics.append(
            Metric(name=name, structure=concept, images=int(kept.sum()), groups=n_groups, **interval._asdict())
        )
    return tuple(metrics)
