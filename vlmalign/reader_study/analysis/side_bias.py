"""Is the left text preferred because it stands on the left?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.evaluation.readers_and_cases import Estimand
from vlmalign.reader_study.analysis.reported import Reported, report
from vlmalign.reader_study.analysis.verdicts import Verdict


@dataclass(frozen=True)
class SideBias:
    """How often the left text is preferred, a tie one half; tested against one half.

    Sides are balanced within each reader and pair of arms, so that an arm gains nothing by a liking for one side.
    """

    left_wins: Reported
    by_reader: dict[str, Estimate]
    arm_on_left: dict[str, tuple[int, int]]

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {
            "left_wins": self.left_wins.to_dict(),
            "by_reader": {name: one.to_dict() for name, one in self.by_reader.items()},
            "arm_on_left": {name: {"left": a, "shown": b} for name, (a, b) in self.arm_on_left.items()},
        }


def side_bias(verdicts: Sequence[Verdict], *, estimand: Estimand | None = None, seed: int = 0) -> SideBias:
    """Side bias over all comparisons, repeats aside."""
    first = [v for v in verdicts if not v.repeat]
    values = [None if v.win is None else v.win if v.left else 1 - v.win for v in first]
    who, what = [v.reader for v in first], [v.case for v in first]
    by_reader = {}
    for reader in sorted(set(who)):
        own = [i for i, name in enumerate(who) if name == reader]
        by_reader[reader] = cluster_estimate(
            [values[i] for i in own], [what[i] for i in own], proportion=True, seed=seed
        )
    on_left: dict[str, tuple[int, int]] = {}
    for v in first:
        for arm, here in ((v.arm, v.left), (v.against, not v.left)):
            left, shown = on_left.get(arm, (0, 0))
            on_left[arm] = left + here, shown + 1
    return SideBias(report(values, who, what, null=0.5, estimand=estimand, seed=seed), by_reader, on_left)
