"""A score with its uncertainty: no figure of this package exists without an interval and its counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A mean, its interval, and what stands behind it.

    `mean` is None when nothing was scored: a stand-in number would be read as a result. `low` and `high`
    are None when no interval can be had (nothing scored, or everything in a single group).

    Attributes:
        mean: the estimate, or None when n is 0.
        low: lower end of the interval.
        high: upper end of the interval.
        n: values that were scored.
        n_groups: independent clusters (patients, slides ...) that they come from.
        excluded: values in an excluded state (unparsed, invalid, unknown truth); never counted as zeros.
        method: how the interval was made, in words.

    Example:
        >>> Estimate(0.5, 0.4, 0.6, n=80, n_groups=20, excluded=3, method="t").to_dict()["excluded"]
        3
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    n_groups: int
    excluded: int
    method: str

    def __post_init__(self) -> None:
        if min(self.n, self.n_groups, self.excluded) < 0:
            raise ValueError(
                f"n={self.n}, n_groups={self.n_groups}, excluded={self.excluded}: none may be negative"
            )
        if (self.mean is None) != (self.n == 0):
            raise ValueError(
                f"mean is {self.mean} with n={self.n}: the mean is None exactly when nothing was scored"
            )
        if (self.low is None) != (self.high is None) or (self.mean is None and self.low is not None):
            raise ValueError(f"interval ({self.low}, {self.high}) around {self.mean}: give both ends or neither")
        numbers = [x for x in (self.mean, self.low, self.high) if x is not None]
        if not all(math.isfinite(x) for x in numbers):
            raise ValueError(
                f"mean, low, high are {self.mean}, {self.low}, {self.high}: all must be finite or None"
            )
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"interval ({self.low}, {self.high}) is upside down")

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "excluded": self.excluded,
            "n_groups": self.n_groups,
            "method": self.method,
        }

    @classmethod
    def from_dict(cls, score: Mapping[str, Any]) -> Estimate:
        """Read back what `to_dict` wrote; counts that a foreign file lacks are 0.

        Raises:
            ValueError: the numbers contradict each other.
        """
        return cls(
            mean=score["mean"],
            low=score["low"],
            high=score["high"],
            n=score.get("n", 0 if score["mean"] is None else 1),
            n_groups=score.get("n_groups", 0),
            excluded=score.get("excluded", 0),
            method=score.get("method", "not stated"),
        )

    @classmethod
    def nothing(cls, excluded: int = 0) -> Estimate:
        """The estimate of no scored value."""
        return cls(None, None, None, n=0, n_groups=0, excluded=excluded, method="nothing scored")
