"""How much of a benchmark's figure is the training seed, and does it rise as training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from vlmalign.evaluation.estimate import Estimate

#: a spread over seeds that is rounding alone
ALIKE = 1e-12


def over_seeds(values: Sequence[float | None]) -> Estimate:
    """Mean over training seeds with a 95 % t interval; None is excluded.

    Seeds that all score the same show no spread to make an interval of, and one of no width would be a claim.

    Example:
        >>> found = over_seeds([1.0, 2.0, 3.0, None])
        >>> found.mean, round(found.high, 3), found.excluded
        (2.0, 4.484, 1)
    """
    known = np.array([value for value in values if value is not None], dtype=float)
    excluded, n = len(values) - len(known), len(known)
    if n == 0:
        return Estimate.nothing(excluded)
    mean = float(known.mean())
    if n == 1:
        return Estimate(mean, None, None, 1, 1, excluded, "no interval: a single seed")
    if known.std() <= ALIKE:
        return Estimate(mean, None, None, n, n, excluded, f"no interval: all {n} seeds alike")
    half = float(stats.t.ppf(0.975, n - 1) * known.std(ddof=1) / n**0.5)
    return Estimate(mean, mean - half, mean + half, n, n, excluded, f"t, {n - 1} df, over {n} seeds")


@dataclass(frozen=True)
class SeedVariance:
    """One benchmark over training seeds.

    Attributes:
        mean: over seeds, with a t interval.
        std: standard deviation over seeds (S - 1 below).
        std_low: lower end of its 95 % interval, from chi-square of S - 1 df (normal scores); None where all seeds
            score the same.
        std_high: upper end.
        signal_to_noise: mean / std; None where all seeds score the same, as noise was not seen.
        above_chance: (mean - chance) / std; what of the signal is more than guessing.
        seeds: S.
        excluded: seeds without a score.
    """

    mean: Estimate
    std: float | None
    std_low: float | None
    std_high: float | None
    signal_to_noise: float | None
    above_chance: float | None
    seeds: int
    excluded: int

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {**vars(self), "mean": self.mean.to_dict()}


def seed_variance(scores: Sequence[float | None], *, chance: float = 0.0) -> SeedVariance:
    """Variance of a benchmark's score over training seeds and its signal-to-noise ratio.

    Madaan et al. 2024 (arXiv:2406.10229, sec. 3): models that differ in nothing but the seed of initialisation
    tell how large a difference of two models must be. Compare the std with the half width of the score's own
    interval over items: they are two sorts of chance. A score of ten seeds still has its std by no more than a
    factor of about 0.7 to 1.8.

    Args:
        scores: (S,) one of each seed; None: that seed has none.
        chance: score of guessing.

    Example:
        >>> found = seed_variance([0.50, 0.52, 0.54])
        >>> round(found.std, 3), round(found.signal_to_noise, 1), round(found.std_high, 3)
        (0.02, 26.0, 0.126)
    """
    known = np.array([score for score in scores if score is not None], dtype=np.float64)
    excluded, n = len(scores) - len(known), len(known)
    if not np.isfinite(known).all():
        raise ValueError("a score is not finite: pass None for a seed without a score")
    if not n:
        return SeedVariance(Estimate.nothing(excluded), None, None, None, None, None, 0, excluded)
    mean = over_seeds(scores)
    if n < 2:
        return SeedVariance(mean, None, None, None, None, None, n, excluded)
    std = float(known.std(ddof=1))
    if std <= ALIKE:
        return SeedVariance(mean, std, None, None, None, None, n, excluded)
    low, high = (std * float(((n - 1) / stats.chi2.ppf(q, n - 1)) ** 0.5) for q in (0.975, 0.025))
    centre = float(known.mean())
    return SeedVariance(mean, std, low, high, centre / std, (centre - chance) / std, n, excluded)


def monotonicity(scores: Sequence[Sequence[float | None]]) -> Estimate:
    """Kendall's tau-b between checkpoint and score, mean over seeds with a t interval over them.

    1: the score rises with every checkpoint; 0: it goes up and down (Madaan et al. 2024, sec. 3). Equal scores are
    ties. A seed of fewer than two scores, or of which all are the same, has no tau and is excluded.

    Args:
        scores: (S, T) of each seed at each checkpoint, in order; None: not scored.

    Example:
        >>> found = monotonicity([[0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4]])  # 1, and (5 - 1) / 6
        >>> round(found.mean, 3), found.n
        (0.833, 2)
    """
    taus: list[float | None] = []
    for row in scores:
        known = [(step, score) for step, score in enumerate(row) if score is not None]
        if len({score for _, score in known}) < 2:
            taus.append(None)
            continue
        steps, values = zip(*known, strict=True)
        taus.append(float(stats.kendalltau(steps, values).statistic))
    found = over_seeds(taus)
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))
