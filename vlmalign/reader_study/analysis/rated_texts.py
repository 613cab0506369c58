"""Texts with the number that each reader gave them, a rating or a count, and the texts of two arms matched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlmalign.evaluation.readers_and_cases import Estimand
from vlmalign.reader_study.analysis.reported import Bounds, Reported, report
from vlmalign.reader_study.collecting import Unblinded

OTHER_READERS = "same case, other readers"


@dataclass(frozen=True)
class Rated:
    """One text with the number that one reader gave it in one reading; `value` is None where it has none."""

    reader: str
    reading: str
    item: str
    case: str
    arm: str
    candidate: str
    value: float | None
    repeat: bool
    together: tuple[str, ...]  # the arms on that screen
    film: str = ""  # the case itself, where `case` is a patient who may have several


def rated_text(row: Unblinded, place: int, value: float | None) -> Rated:
    """The text at a place of a screen, with what the reader gave it."""
    return Rated(
        row.reader, row.reading, row.item, row.group_id, row.arms[place], row.candidates[place], value, row.repeat,
        row.arms, row.case_id,
    )  # fmt: skip


@dataclass(frozen=True)
class Paired:
    """Values of two arms matched: (reader, case, of arm less of against), None where either is missing."""

    how: str
    readers: list[str]
    cases: list[str]
    differences: list[float | None]


def paired_values(rated: Sequence[Rated], pair: tuple[str, str]) -> Paired:
    """Match two arms: within a screen, else within reader and case, else by case over all its readers.

    Example:
        >>> def one(reader, arm, value):
        ...     return Rated(reader, reader + arm, "i", "case", arm, arm, value, False, (arm,))
        >>> paired_values([one("a", "x", 5.0), one("a", "y", 3.0)], ("x", "y")).differences
        [2.0]
        >>> paired_values([one("a", "x", 5.0), one("b", "y", 3.0)], ("x", "y")).how
        'same case, other readers'
    """
    first = [one for one in rated if not one.repeat and one.arm in pair]
    side_by_side = [one for one in first if set(pair) <= set(one.together)]
    if any(len(one.together) > 1 for one in first):
        return _matched("same screen", side_by_side, pair, lambda one: (one.reader, one.case, one.reading))
    within = _matched("same reader and case", first, pair, lambda one: (one.reader, one.case, one.film))
    if any(d is not None for d in within.differences):
        return within
    return _matched(OTHER_READERS, first, pair, lambda one: ("all", one.case, one.film))


def _matched(how: str, rated: Sequence[Rated], pair: tuple[str, str], key: Any) -> Paired:
    units: dict[tuple[str, str, str], dict[str, list[float | None]]] = defaultdict(lambda: {a: [] for a in pair})
    for one in rated:
        units[key(one)][one.arm].append(one.value)
    readers, cases, differences = [], [], []
    for (reader, case, _), values in units.items():
        if not all(values[arm] for arm in pair):
            continue  # this unit was never shown both arms: no pair, and nothing is missing
        known = {arm: [v for v in values[arm] if v is not None] for arm in pair}
        readers.append(reader)
        cases.append(case)
        whole = all(known.values())
        means = [sum(known[arm]) / len(known[arm]) for arm in pair] if whole else []
        differences.append(means[0] - means[1] if whole else None)
    return Paired(how, readers, cases, differences)


def paired_difference(paired: Paired, bounds: Bounds, estimand: Estimand | None, seed: int) -> Reported:
    """Mean of the differences, tested against 0; between readers nothing can be said of new ones."""
    return report(
        paired.differences, paired.readers, paired.cases, bounds=bounds, null=0.0,
        estimand="these readers" if paired.how == OTHER_READERS else estimand, seed=seed,
    )  # fmt: skip
