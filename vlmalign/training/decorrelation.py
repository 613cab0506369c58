"""Taking the length of answers out of what they are scored for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


class Decorrelation(NamedTuple):
    """How much verbosity is taken off an objective.

    Attributes:
        factor: lambda in r - lambda r_verb; negative for an objective that falls with verbosity.
        before: Spearman correlation of r and r_verb.
        after: of r - lambda r_verb and r_verb.
        reached: whether |after| is within the bound. If not, the factor is the one with the least |after|.
    """

    factor: float
    before: float
    after: float
    reached: bool


def decorrelate(
    objective: NDArray[np.float64], verbosity: NDArray[np.float64], *, bound: float, factors: Sequence[float]
) -> Decorrelation:
    """The smallest factor that makes an objective's rank correlation with verbosity at most `bound`.

    ArmoRM (Wang et al. 2024, arXiv:2406.12845, section 3.2) asks for Spearman(r - lambda r_verb, r_verb) <= bound;
    here the absolute value is meant, so an objective that falls with verbosity gets a negative lambda, and lambda
    is tried in units of std(r) / std(r_verb), so that one grid fits objectives of any spread. Where no factor is
    enough that is said, and nothing else is put in its place.

    Args:
        objective: r of a reference set of answers, (N,).
        verbosity: r_verb of the same, (N,).
        bound: largest absolute correlation.
        factors: absolute values of lambda to try, in those units, ascending; 0 is tried first in any case.

    Raises:
        ValueError: fewer than three answers, or scores that are all the same.

    Example:
        >>> verbosity = np.array([1.0, 2.0, 3.0, 4.0])
        >>> found = decorrelate(verbosity + [1.0, -1.0, 1.0, -1.0], verbosity, bound=0.1, factors=[0.2, 0.4, 0.6])
        >>> round(found.before, 2), round(found.after, 2), found.reached
        (0.6, 0.0, True)
    """
    if len(objective) < 3:
        raise ValueError(f"{len(objective)} answers to measure verbosity on, expected at least 3: give more.")
    before = _spearman(objective, verbosity)
    if before is None:
        raise ValueError("the scores of the reference answers are all the same: no correlation can be measured.")
    unit = float(objective.std() / verbosity.std())
    tried = [Decorrelation(0.0, before, before, abs(before) <= bound)]
    for size in factors:
        if tried[-1].reached:
            break
        factor = float(np.copysign(size * unit, before))
        after = _spearman(objective - factor * verbosity, verbosity)
        if after is not None:
            tried.append(Decorrelation(factor, before, after, abs(after) <= bound))
    return tried[-1] if tried[-1].reached else min(tried, key=lambda found: abs(found.after))


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Pearson correlation of ranks, ties at their mean; None where one side is constant."""
    if np.ptp(a) <= 1e-12 * max(1.0, float(np.abs(b).max())) or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
