"""Shares: k of n counted objects, with an interval and the probability of each band."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from vlmalign.clinical.rules import Band

Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


@dataclass(frozen=True)
class Share:
    """A share that was counted: `count` of `total` (blasts of nucleated cells).

    Counts of a network may be expected counts, so they need not be whole.

    Example:
        >>> Share(30, 100).value
        0.3
    """

    count: float
    total: float

    @property
    def value(self) -> float:
        """The share itself."""
        return self.count / self.total

    def wilson(self, z: float = Z95) -> tuple[float, float]:
        """Score interval of the share; by default 95 %.

        With p = k/n its ends are (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
        (Wilson, JASA 1927; the form of Brown, Cai and DasGupta, Statistical Science 2001, section 3.1.1).

        Example:
            >>> [round(end, 4) for end in Share(20, 100).wilson()]
            [0.1334, 0.2888]
        """
        p, n = self.value, self.total
        middle = p + z * z / (2 * n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)

    def band_probabilities(self, bands: Iterable[Band]) -> dict[str, float]:
        """Probability of each band under Beta(k + 1/2, n - k + 1/2), the posterior of Jeffreys' prior.

        Example:
            >>> bands = (Band(value="below", below=0.2), Band(value="reached"))
            >>> {name: round(p, 3) for name, p in Share(25, 100).band_probabilities(bands).items()}
            {'below': 0.108, 'reached': 0.892}
        """
        from scipy.special import betainc

        masses: dict[str, float] = {}
        below = 0.0
        for band in bands:
            edge = 1.0 if band.below is None else min(max(band.below, 0.0), 1.0)
            upto = float(betainc(self.count + 0.5, self.total - self.count + 0.5, edge))
            masses[band.value] = masses.get(band.value, 0.0) + upto - below
            below = upto
        return masses
