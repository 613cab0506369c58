"""Do readers agree with each other, and each with himself or herself on a second reading?

Preferences are told for one arm against another before they are compared: chance agreement then includes how often
that arm is preferred by everybody, which is no agreement on cases.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from vlmalign.evaluation.agreement import Agreement, Level, cohen_kappa, fleiss_kappa, krippendorff_alpha
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.reader_study.plan import KAPPA_NEEDS


@dataclass(frozen=True)
class Said:
    """What one reader said of one unit (a comparison, or a text), on the first reading or a repeat."""

    reader: str
    unit: Hashable
    case: str
    value: float | None
    repeat: bool = False
    screen: Hashable = None  # what was shown together; None: the unit alone


@dataclass(frozen=True)
class BetweenReaders:
    """Agreement of readers on the first reading.

    Attributes:
        readers: who said anything.
        units: units that two or more readers spoke of.
        same: share of pairs of readers' values that are equal, by case; chance is not taken off.
        figures: kappa and alpha.
        sentence: what there is to know, in words.
    """

    readers: tuple[str, ...]
    units: int
    same: Estimate
    figures: tuple[Agreement, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {**asdict(self), "readers": list(self.readers), "same": self.same.to_dict()}


@dataclass(frozen=True)
class WithinReaders:
    """Agreement of a first and a second reading of the same unit by the same reader.

    Attributes:
        n: values that were given a second time.
        readings: in so many second readings, which is what kappa needs thirty of: two texts are on a screen.
        incomplete: second values of which either is not known.
        same: share of equal values, over cases.
        by_reader: the same for each reader.
        figures: kappa and alpha over all readers' repeats.
        sentence: in words; says so where n is too small for kappa.
    """

    n: int
    readings: int
    incomplete: int
    same: Estimate
    by_reader: dict[str, Estimate]
    figures: tuple[Agreement, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        by_reader = {name: one.to_dict() for name, one in self.by_reader.items()}
        return {**asdict(self), "same": self.same.to_dict(), "by_reader": by_reader}


def between_readers(said: Sequence[Said], level: Level, *, seed: int = 0) -> BetweenReaders:
    """Kappa (nominal) and Krippendorff's alpha of all readers; alpha needs no complete rows.

    Args:
        said: of units that are shared by readers; repeats do not count.
        level: of measurement, for alpha.
        seed: of the bootstrap.

    Example:
        >>> said = [Said(r, u, u, v) for r, vs in (("a", (1, 0, 1)), ("b", (1, 0, 0)))
        ...         for u, v in zip("xyz", vs)]
        >>> found = between_readers(said, "nominal")
        >>> found.figures[1].name, round(found.figures[1].value, 2)
        ("Cohen's kappa", 0.4)
    """
    first = [one for one in said if not one.repeat]
    readers = tuple(sorted({one.reader for one in first if one.value is not None}))
    by_unit: dict[Hashable, dict[str, float]] = defaultdict(dict)
    case_of = {one.unit: one.case for one in first}
    for one in first:
        if one.value is not None:
            by_unit[one.unit][one.reader] = one.value
    shared = {unit: values for unit, values in by_unit.items() if len(values) >= 2}
    pairs = [
        (float(a == b), case_of[unit])
        for unit, values in shared.items()
        for a, b in combinations(values.values(), 2)
    ]
    same = cluster_estimate([v for v, _ in pairs], [c for _, c in pairs], proportion=True, seed=seed)
    if len(readers) < 2:
        told = f"{len(readers)} reader answered: agreement between readers needs two."
        return BetweenReaders(readers, 0, same, (), told)
    rows = [[values.get(reader) for reader in readers] for values in by_unit.values()]
    cases = [case_of[unit] for unit in by_unit]
    of_all = cohen_kappa if len(readers) == 2 else fleiss_kappa
    kappa = of_all(rows, clusters=cases, seed=seed)
    if not kappa.n:
        kappa = replace(kappa, reason=f"nothing was answered by all {len(readers)} readers")
    figures = (krippendorff_alpha(rows, level, clusters=cases, seed=seed), kappa)
    told = f"{len(readers)} readers, {len(shared)} units with two or more answers"
    told += f"; two readers say the same in {_share(same)}; {_told(figures)}."
    return BetweenReaders(readers, len(shared), same, figures, told)


def within_readers(said: Sequence[Said], level: Level, *, seed: int = 0) -> WithinReaders:
    """Agreement of repeats with the first reading of the same unit by the same reader.

    Example:
        >>> said = [Said("a", "x", "x", 1.0), Said("a", "x", "x", 1.0, repeat=True)]
        >>> within_readers(said, "nominal").sentence[:60]
        '1 answers given again in 1 readings; the same again in 100 %'
    """
    first = {(one.reader, one.unit): one for one in said if not one.repeat}
    rows: list[tuple[float, float]] = []
    cases, who, screens, incomplete = [], [], [], 0
    for one in said:
        if not one.repeat:
            continue
        before = first.get((one.reader, one.unit))
        if before is None or before.value is None or one.value is None:
            incomplete += 1
            continue
        rows.append((before.value, one.value))
        cases.append(one.case)
        who.append(one.reader)
        screens.append(one.unit if one.screen is None else one.screen)
    agreed = [float(a == b) for a, b in rows]
    same = cluster_estimate(agreed, cases, excluded=incomplete, proportion=True, seed=seed)
    by_reader = {}
    for reader in sorted({one.reader for one in said if one.repeat}):
        own = [i for i, name in enumerate(who) if name == reader]
        by_reader[reader] = cluster_estimate(
            [agreed[i] for i in own], [cases[i] for i in own], proportion=True, seed=seed
        )
    if not any(one.repeat for one in said):
        return WithinReaders(0, 0, 0, same, {}, (), "No case was read twice: nothing is known of it.")
    figures: tuple[Agreement, ...] = ()
    if rows:
        alpha = krippendorff_alpha(rows, level, clusters=cases, seed=seed)
        figures = (alpha, cohen_kappa(rows, clusters=cases, seed=seed))
    readings = len(set(zip(who, screens, strict=True)))
    told = f"{len(rows)} answers given again in {readings} readings; the same again in {_share(same)}"
    if readings < KAPPA_NEEDS:
        told += f"; {KAPPA_NEEDS} or more are needed for kappa, so read the share"
    if incomplete:
        told += f"; {incomplete} more lack an answer"
    return WithinReaders(len(rows), readings, incomplete, same, by_reader, figures, f"{told}; {_told(figures)}.")


def _share(same: Estimate) -> str:
    if same.mean is None:
        return "no case, as none was answered twice"
    if same.low is None or same.high is None:
        return f"{100 * same.mean:.0f} % (no interval)"
    return f"{100 * same.mean:.0f} % ({100 * same.low:.0f} to {100 * same.high:.0f})"


def _told(figures: Sequence[Agreement]) -> str:
    told = []
    for one in figures:
        n = f"n {one.n}" + (f" in {one.clusters} cases" if one.clusters != one.n else "")
        if one.value is None:
            told.append(f"{one.name} is not defined ({one.reason})")
        elif one.low is None or one.high is None:
            told.append(f"{one.name} {one.value:.2f} without an interval ({n})")
        else:
            told.append(f"{one.name} {one.value:.2f} ({one.low:.2f} to {one.high:.2f}, {n})")
    return ", ".join(told) or "nothing to compare"
