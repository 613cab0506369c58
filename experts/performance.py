"""How good an expert is, on groups it has not seen, with intervals that respect the groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import stats

from experts.protocol import CERTAIN, Examination, Expert, Metric
from experts.targets import Target, TargetSet
from vlmalign.records.hashing import derive_seed

Floats = NDArray[np.float64]

BOOTSTRAP_FROM = 30  # with fewer groups the percentile bootstrap is too narrow


class Interval(NamedTuple):
    """A ratio with its 95 % interval, which a single group cannot give."""

    value: float
    low: float | None
    high: float | None


def ratio_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    groups: Sequence[str],
    *,
    share: bool = False,
    signed: bool = False,
    seed: int = 0,
    n: int = 1000,
) -> Interval:
    """Ratio of sums with its 95 % interval over groups, the independent units.

    From 30 groups on a percentile bootstrap over groups. Below, the delete-one-group jackknife's standard error
    with a t quantile of G - 1 degrees of freedom; for groups of equal size this is the t interval on group
    means. One group has no interval. A group whose denominator is 0 says nothing and is no group.

    Args:
        numerators: one an image, not negative; the interval's low end is not negative either. See `signed`.
        denominators: one an image; ones give a mean.
        groups: the group of each image.
        share: the ratio is at most 1, and so is the interval; at exactly 0 or 1, where there is no spread to
            build on, it is Clopper & Pearson's (1934, Biometrika 26:404) with one trial a group.
        signed: numerators, and so the interval, may be negative.
        seed: of the bootstrap.
        n: how many draws.

    Raises:
        ValueError: the denominators sum to 0, so there is no ratio.

    Example:
        >>> ratio_interval([1, 1, 0, 0], [1, 1, 1, 1], ["a", "a", "a", "a"])
        Interval(value=0.5, low=None, high=None)
        >>> ratio_interval([1, 2, 3], [1, 1, 1], ["a", "b", "c"])  # 2 +- 4.303 * 1 / sqrt(3), not below 0
        Interval(value=2.0, low=0.0, high=4.484138)
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.stack([np.bincount(index, np.asarray(part, dtype=float)) for part in (numerators, denominators)], 1)
    sums = sums[sums[:, 1] > 0]
    total = sums.sum(0)
    if not len(sums):
        raise ValueError("the denominators sum to 0: there is nothing to average")
    value, n_groups = float(total[0] / total[1]), len(sums)
    if n_groups == 1:
        return Interval(round(value, 6), None, None)
    if share and value in (0.0, 1.0):
        bound = 1 - 0.025 ** (1 / n_groups)
        low, high = (0.0, bound) if value == 0 else (1 - bound, 1.0)
    elif n_groups >= BOOTSTRAP_FROM:
        draws = sums[np.random.default_rng(seed).integers(n_groups, size=(n, n_groups))].sum(1)
        low, high = np.percentile(draws[:, 0] / draws[:, 1], [2.5, 97.5])
    else:
        left_out = (total[0] - sums[:, 0]) / (total[1] - sums[:, 1])
        variance = (n_groups - 1) / n_groups * np.sum((left_out - left_out.mean()) ** 2)
        half = float(stats.t.ppf(0.975, n_groups - 1)) * float(variance) ** 0.5
        low = value - half if signed else max(0.0, value - half)
        high = min(value + half, 1.0 if share else float("inf"))
    return Interval(round(value, 6), round(float(low), 6), round(float(high), 6))


def dice_terms(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], label: int) -> tuple[int, int]:
    """Numerator 2 |P and T| and denominator |P| + |T| of Dice, so that images can be pooled.

    Example:
        >>> dice_terms(np.array([[1, 1]], dtype=np.uint8), np.array([[1, 0]], dtype=np.uint8), 1)
        (2, 3)
    """
    mine, theirs = predicted == label, truth == label
    return 2 * int((mine & theirs).sum()), int(mine.sum() + theirs.sum())


def examine_fields(expert: Expert, fields: Sequence[Target], batch_size: int = 64) -> list[Examination]:
    """An expert's examinations of fields at their working resolution."""
    found: list[Examination] = []
    for start in range(0, len(fields), batch_size):
        found += expert.examine([Image.fromarray(field.image) for field in fields[start : start + batch_size]])
    return found


def assess(expert: Expert, data: TargetSet, fields: Sequence[Target]) -> tuple[Metric, ...]:
    """Dice, count and cover errors, and presence accuracy of each structure.

    Dice is pooled over images. Presence is P(count >= 1) > 0.5 against the truth, on images whose
    probability lies outside (0.2, 0.8); the share inside is `presence_uncertain`. A number that these
    fields cannot give (Dice of a structure that none shows) is left out of the card.

    Args:
        expert: whose `examine` is tried.
        data: where the fields come from.
        fields: the held-out ones.
    """
    return metrics_of(examine_fields(expert, fields), data.structures, fields)


def metrics_of(
    examinations: Sequence[Examination], structures: Sequence[str], fields: Sequence[Target]
) -> tuple[Metric, ...]:
    """The numbers of `assess`, from examinations that are there already."""
    groups = [field.group for field in fields]
    metrics: list[Metric] = []
    for k, structure in enumerate(structures, start=1):
        dice = [
            dice_terms(seen.labels, field.labels, k)
            for seen, field in zip(examinations, fields, strict=True)
            if seen.labels is not None
        ]
        counts = np.array([field.counts[k - 1] for field in fields], dtype=float)
        covers = np.array([(field.labels == k).mean() for field in fields])
        values = _column(examinations, f"{structure}_count", "value")
        probability = _column(examinations, f"{structure}_count", "probability")
        sure = (probability <= CERTAIN[0]) | (probability >= CERTAIN[1])
        ones = np.ones(len(fields))
        columns: dict[str, tuple[Floats, Floats]] = {
            "dice": (np.array([a for a, _ in dice], dtype=float), np.array([b for _, b in dice], dtype=float)),
            "count_mae": (np.abs(values - counts), ones),
            "cover_mae": (np.abs(_column(examinations, f"{structure}_cover", "value") - covers), ones),
            "presence_accuracy": (sure * ((probability > 0.5) == (counts > 0)), sure.astype(float)),
            "presence_uncertain": ((~sure).astype(float), ones),
        }
        for name, (top, bottom) in columns.items():
            if bottom.sum() > 0:
                used = bottom > 0
                share = name != "count_mae"
                found = ratio_interval(top, bottom, groups, share=share, seed=derive_seed(name, structure))
                n_groups = len({group for group, kept in zip(groups, used, strict=True) if kept})
                metrics.append(
                    Metric(
                        name=name, structure=structure, images=int(used.sum()), groups=n_groups, **found._asdict()
                    )
                )
    return tuple(metrics)


def _column(examinations: Sequence[Examination], concept: str, name: str) -> Floats:
    return np.array([getattr(seen.measurements[concept], name) for seen in examinations], dtype=float)
