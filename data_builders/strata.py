"""Which groups go to which role: a seeded shuffle, by shares, on request stratified by a value of the cases."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_builders.named_values import value_of
from vlmalign.records import Case, DataError, Finding
from vlmalign.records.hashing import derive_seed

NUMBER = "photograph_number"
NO_VALUE = "(none)"


class Place(NamedTuple):
    """What a division needs to know of a case.

    Attributes:
        id: of the case.
        group: of the case.
        unsure: whether one of its measurements is open.
        number: of its photograph, where a gap is asked for.
        stratum: its value, where the division is stratified.
    """

    id: str
    group: str
    unsure: bool
    number: int
    stratum: str


def place_of(case: Case, folder: Path, *, gap: int, stratify: str | None) -> Place:
    """Look at a case of a folder that is to be divided.

    Raises:
        DataError: the case is already divided, or has no photograph number and there is a gap.
    """
    if case.split != "unassigned":
        raise DataError(
            f"the case is already in split {case.split!r}",
            "Divide the folder that the source wrote: dividing twice could move test cases into training.",
            file=folder,
            record=case.id,
            field="split",
        )
    number = case.extra.get(NUMBER) if gap else 0
    if not isinstance(number, int):
        raise DataError(
            f"a gap of {gap} needs the photograph's number, and the case has none",
            "Use gap 0 for sources whose pictures have no order.",
            file=folder,
            record=case.id,
            field=f"extra.{NUMBER}",
        )
    stratum = NO_VALUE if stratify is None else value_of(case, stratify) or NO_VALUE
    return Place(case.id, sys.intern(case.group_id), has_open_measurement(case), number, sys.intern(stratum))


def is_measurement(finding: Finding) -> bool:
    """Whether a finding states a number with a unit."""
    return finding.unit is not None and not isinstance(finding.value, str)


def has_open_measurement(case: Case) -> bool:
    """Whether a measurement of the case is open: an expert cannot learn from it."""
    findings = case.reference.findings if case.reference else ()
    return any(is_measurement(f) and f.status in ("uncertain", "not_assessed") for f in findings)


def strata_of(places: Iterable[Place]) -> dict[str, str]:
    """The stratum of each group: the commonest value of its cases, of equally common ones the first by name."""
    counts: dict[str, Counter[str]] = {}
    for place in places:
        counts.setdefault(place.group, Counter())[place.stratum] += 1
    return {group: min(tally, key=lambda value: (-tally[value], value)) for group, tally in counts.items()}


def divide_groups(
    groups: list[str], roles: Mapping[str, float], seed: int, strata: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Groups of each role: seeded shuffle of the sorted names, sizes by the largest remainders.

    With `strata` the shuffled groups are put in order of their stratum and dealt out one by one, each to the role
    that is furthest behind its share: a role gets its share of every stratum but for one or two groups.

    Raises:
        DataError: a role would get no group.

    Example:
        >>> parts = divide_groups(list("abcdefg"), {"train": 0.5, "test": 0.5}, seed=0)
        >>> {role: len(groups) for role, groups in parts.items()}
        {'train': 4, 'test': 3}
    """
    names = sorted(set(groups))
    order = np.random.default_rng(derive_seed("split", seed)).permutation(len(names))
    shuffled = [names[i] for i in order]
    sizes = _sizes(len(names), roles)
    if strata is not None:
        return _deal(sorted(shuffled, key=lambda group: strata[group]), roles, sizes)
    parts: dict[str, list[str]] = {}
    start = 0
    for role, size in sizes.items():
        parts[role] = shuffled[start : start + size]
        start += size
    return parts


def _sizes(groups: int, roles: Mapping[str, float]) -> dict[str, int]:
    wanted = {role: share * groups for role, share in roles.items()}
    sizes = {role: math.floor(number + 1e-9) for role, number in wanted.items()}
    ranked = sorted(roles, key=lambda role: sizes[role] - wanted[role])  # largest remainder first; ties in order
    for role in ranked[: groups - sum(sizes.values())]:
        sizes[role] += 1
    for role, size in sizes.items():
        if size == 0:
            raise DataError(
                f"role {role!r} would get none of the {groups} groups with a share of {roles[role]:g}",
                "Use more groups, or a larger share.",
                field="roles",
            )
    return sizes


def _deal(groups: list[str], roles: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, list[str]]:
    """Groups dealt one by one to the role that is furthest behind, until each has its size."""
    dealt: dict[str, list[str]] = {role: [] for role in roles}
    for number, group in enumerate(groups, start=1):
        behind = {
            role: sizes[role] / len(groups) * number - len(mine)
            for role, mine in dealt.items()
            if len(mine) < sizes[role]
        }
        dealt[max(behind, key=lambda role: behind[role])].append(group)
    return dealt
