"""Labelled pairs with what a judge or a reward said of them: the item that all preference benchmarks share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vlmalign.evaluation.benchmarks.combining import Part, weighted_mean
from vlmalign.evaluation.benchmarks.protocol import SCORED, TIED, Item, Table
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.records.preference import Dyad

Outcome = Literal["right", "wrong", "tie"]


@dataclass(frozen=True)
class PairItem(Item):
    """A pair of which one answer is known to be better.

    Attributes:
        outcome: whether the better answer was preferred; None in every state but `scored` and `tied`.
        better_stored_first: the better answer comes first in the benchmark's file; None: not known.
        better_shown_first: share of the samples in which it was shown first; None: not known, or not shown
            together.
        lengths: characters of the better and the worse answer; None: not known.
    """

    outcome: Outcome | None = None
    better_stored_first: bool | None = None
    better_shown_first: float | None = None
    lengths: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if (self.outcome is None) == (self.state in (SCORED, TIED)):
            raise ValueError(f"item {self.id!r} is in state {self.state!r} with outcome {self.outcome!r}")


def outcome_of(better: float, worse: float, threshold: float = 0.0) -> Outcome:
    """Which of two scores is larger; a difference of at most `threshold` is a tie.

    Example:
        >>> outcome_of(2.0, 1.0), outcome_of(1.0, 1.5, threshold=0.5), outcome_of(0.0, 1.0)
        ('right', 'tie', 'wrong')
    """
    if abs(better - worse) <= threshold:
        return "tie"
    return "right" if better > worse else "wrong"


def strict_value(item: PairItem) -> float | None:
    """1 for right, 0 for wrong and for a tie."""
    return None if item.outcome is None else float(item.outcome == "right")


def half_value(item: PairItem) -> float | None:
    """1 for right, 0 for wrong, one half for a tie."""
    return None if item.outcome is None else {"right": 1.0, "tie": 0.5, "wrong": 0.0}[item.outcome]


def decided_value(item: PairItem) -> float | None:
    """1 for right, 0 for wrong; a tie is excluded."""
    return None if item.outcome in (None, "tie") else float(item.outcome == "right")


def answered_value(item: PairItem) -> float:
    """1 if there is a verdict for one of the two answers, else 0: coverage."""
    return float(item.outcome in ("right", "wrong"))


def lost_value(item: PairItem) -> float:
    """1 for right, 0 for everything else, unscored items included: the worst case."""
    return float(item.outcome == "right")


Value = Callable[[PairItem], float | None]

#: the ways to count, as columns of a table
TIE_COLUMNS: Mapping[str, Value] = {
    "accuracy, a tie is wrong": strict_value,
    "accuracy, a tie is one half": half_value,
    "accuracy without ties": decided_value,
    "coverage": answered_value,
}


def part_of(items: Iterable[PairItem], value: Value) -> Part:
    """Values and clusters, for `weighted_mean`."""
    found = list(items)
    return [value(item) for item in found], [item.group for item in found]


def figures(items: Sequence[PairItem], columns: Mapping[str, Value]) -> dict[str, Estimate | None]:
    """One row of a table: each way to count, over the given items."""
    return {name: estimate_of(*part_of(items, value)) for name, value in columns.items()}


def estimate_of(values: Sequence[float | None], groups: Sequence[Hashable]) -> Estimate:
    """A share of items with its interval; as `cluster_estimate`, and fast for thousands of items."""
    if any(isinstance(group, Dyad) for group in groups):
        return cluster_estimate(values, groups, proportion=True)
    return weighted_mean({"all": (values, groups)})


def by_subset(items: Sequence[PairItem], level: int = 0) -> dict[str, list[PairItem]]:
    """Items by their subset at a level, in order of first appearance; those without one are left out."""
    found: dict[str, list[PairItem]] = {}
    for item in items:
        if len(item.subsets) > level:
            found.setdefault(item.subsets[level], []).append(item)
    return found


def macro(
    parts: Mapping[str, Sequence[PairItem]],
    columns: Mapping[str, Value],
    weights: Mapping[str, float] | None = None,
) -> dict[str, Estimate | None]:
    """One row of a table: the mean over parts, equal or weighted."""
    return {
        name: weighted_mean({part: part_of(items, value) for part, items in parts.items()}, weights)
        for name, value in columns.items()
    }


def null_baselines(items: Sequence[PairItem], constant: str = "always the answer stored first") -> Table | None:
    """What needs no look at the image, or at the answers; None if the log does not let any be computed.

    Each is measured on the items of which the log tells what it needs; the others are counted as excluded.

    Args:
        items: of one benchmark.
        constant: what to call the first.
    """

    def rate(of: Callable[[PairItem], float | None]) -> Estimate:
        return estimate_of([of(item) for item in items], [item.group for item in items])

    def longer(item: PairItem) -> float | None:
        if item.lengths is None:
            return None
        better, worse = item.lengths
        return 0.5 if better == worse else float(better > worse)

    rows = {
        constant: rate(lambda i: None if i.better_stored_first is None else float(i.better_stored_first)),
        "always the answer shown first": rate(lambda i: i.better_shown_first),
        "the longer answer (equal: one half)": rate(longer),
    }
    known = {name: {"accuracy": found} for name, found in rows.items() if found.n}
    note = "the same score for both answers: 0 where a tie is wrong, 50 where it is one half"
    return Table("baselines", "Null baselines", known, note) if known else None


def clusters(items: Iterable[Item]) -> set[Hashable]:
    """The distinct clusters of items."""
    return {item.group for item in items}
