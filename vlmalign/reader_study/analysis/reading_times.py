"""How long readings took, by the reader's own clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmalign.evaluation.readers_and_cases import Estimand
from vlmalign.reader_study.analysis.reported import Reported, report
from vlmalign.reader_study.collecting import Collected


@dataclass(frozen=True)
class Times:
    """Seconds of answered readings.

    Attributes:
        n: readings with a time.
        unknown: answered readings without one (tables and REDCap note none).
        quartiles: lower quartile, median, upper quartile; None where n is 0.
        total: seconds in all.
    """

    n: int
    unknown: int
    quartiles: tuple[float, float, float] | None
    total: float


@dataclass(frozen=True)
class ReadingTimes:
    """Times of all readings for rating, repeats among them, and of each reader."""

    all: Times
    mean: Reported
    by_reader: dict[str, Times]

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {
            "all": vars(self.all),
            "mean": self.mean.to_dict(),
            "by_reader": {name: vars(one) for name, one in self.by_reader.items()},
        }


def reading_times(found: Collected, *, estimand: Estimand | None = None, seed: int = 0) -> ReadingTimes:
    """Seconds for each answered reading."""
    rows = [row for row in found.rows if row.kind == "rate" and row.answered]
    seconds = [row.answer.seconds if row.answer else None for row in rows]
    who, what = [row.reader for row in rows], [row.group_id for row in rows]
    mean = report(seconds, who, what, bounds=None, estimand=estimand, seed=seed)
    by_reader = {
        reader: _times([s for s, name in zip(seconds, who, strict=True) if name == reader])
        for reader in sorted(set(who))
    }
    return ReadingTimes(_times(seconds), mean, by_reader)


def _times(seconds: Sequence[float | None]) -> Times:
    known = [s for s in seconds if s is not None]
    if not known:
        return Times(0, len(seconds), None, 0.0)
    low, middle, high = (float(q) for q in np.quantile(known, [0.25, 0.5, 0.75]))
    return Times(len(known), len(seconds) - len(known), (low, middle, high), float(sum(known)))
