"""Does a figure hold for everybody: by sex, age band, site and laterality, with the gap to all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import (
    Array,
    cluster_estimate,
    estimate_statistic,
    number_cells,
    paired_difference,
)
from vlmalign.records import Case

ATTRIBUTES = ("sex", "age_band", "site", "laterality")
State = Literal["compared", "empty subgroup", "nothing scored", "no other subgroup", "no interval"]


@dataclass(frozen=True)
class Subgroup:
    """One subgroup.

    Attributes:
        state: "compared"; "empty subgroup": none of the items is of it; "nothing scored": some are, none with a
            value; "no other subgroup": nothing to compare with; "no interval": a single cluster on either side.
        items: items of it, scored or not.
        figure: mean with its interval.
        gap: its mean minus that of all other subgroups together; nothing unless compared.
    """

    state: State
    items: int
    figure: Estimate
    gap: Estimate

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {**vars(self), "figure": self.figure.to_dict(), "gap": self.gap.to_dict()}


@dataclass(frozen=True)
class SubgroupTable:
    """All subgroups of one attribute.

    Attributes:
        attribute: which.
        subgroups: by name.
        not_told: items whose subgroup is not known: in none, and counted.
    """

    attribute: str
    subgroups: Mapping[str, Subgroup]
    not_told: int

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        subgroups = {name: found.to_dict() for name, found in self.subgroups.items()}
        return {"attribute": self.attribute, "subgroups": subgroups, "not_told": self.not_told}


def subgroup_table(
    attribute: str,
    values: Sequence[float | None],
    labels: Sequence[str | None],
    groups: Sequence[Hashable],
    *,
    expected: Sequence[str] = (),
    proportion: bool = True,
    seed: int = 0,
) -> SubgroupTable:
    """Each subgroup's mean, and its gap to the others, with intervals over clusters.

    Where the two sides share no cluster, the gap's interval is put together from theirs (Zou & Donner 2008, Stat.
    Med. 27:1693, "MOVER"): low = d - sqrt((m1 - l1)^2 + (u2 - m2)^2), high alike, so that what `cluster_estimate`
    does for few clusters and rare events holds here. Where they share clusters (the two eyes of a patient), the
    gap is a statistic of cluster weights. One look at each gap: with many, some lie beyond 0 by chance.

    Args:
        attribute: its name.
        values: (n,) scores, or paired differences of two models; None: excluded.
        labels: (n,) subgroup of each; None: not told.
        groups: (n,) cluster of each.
        expected: subgroups that are to be named though they may be empty.
        proportion: the values lie in [0, 1].
        seed: of the bootstraps.

    Raises:
        ValueError: lengths differ.

    Example:
        >>> labels = ["f", "f", "m", None]
        >>> found = subgroup_table("sex", [1, 0, 1, 1], labels, list("abcd"), expected=["f", "m", "x"])
        >>> {name: each.state for name, each in found.subgroups.items()}, found.not_told
        ({'f': 'compared', 'm': 'compared', 'x': 'empty subgroup'}, 1)
    """

    def figure(rows: Sequence[int]) -> Estimate:
        known, clusters = [values[i] for i in rows], [groups[i] for i in rows]
        return cluster_estimate(known, clusters, proportion=proportion, seed=seed)

    return _table(attribute, values, labels, groups, expected, figure, seed)


def subgroup_differences(
    attribute: str,
    a: Sequence[float | None],
    b: Sequence[float | None],
    labels: Sequence[str | None],
    groups: Sequence[Hashable],
    *,
    expected: Sequence[str] = (),
    seed: int = 0,
) -> SubgroupTable:
    """`subgroup_table` of the paired difference of two models: does one help some more than others?

    Args:
        attribute: its name.
        a: (n,) scores of the first model.
        b: (n,) of the second, item by item.
        labels: (n,) subgroup of each item; None: not told.
        groups: (n,) cluster of each.
        expected: subgroups that are to be named though they may be empty.
        seed: of the bootstraps.

    Example:
        >>> found = subgroup_differences("sex", [1, 1, 0, 1], [0, 0, 0, 1], list("ffmm"), list("abcd"))
        >>> found.subgroups["f"].figure.mean, found.subgroups["f"].gap.mean
        (1.0, 1.0)
    """
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} values and b has {len(b)}: pair them item by item first")

    def figure(rows: Sequence[int]) -> Estimate:
        return paired_difference([a[i] for i in rows], [b[i] for i in rows], [groups[i] for i in rows], seed=seed)

    differences = [None if x is None or y is None else float(x) - float(y) for x, y in zip(a, b, strict=True)]
    return _table(attribute, differences, labels, groups, expected, figure, seed)


def _table(
    attribute: str,
    values: Sequence[float | None],
    labels: Sequence[str | None],
    groups: Sequence[Hashable],
    expected: Sequence[str],
    figure: Callable[[Sequence[int]], Estimate],
    seed: int,
) -> SubgroupTable:
    if not len(values) == len(labels) == len(groups):
        raise ValueError(
            f"values, labels, groups have {len(values)}, {len(labels)}, {len(groups)} entries: give one each"
        )
    counts = Counter(label for label in labels if label is not None)
    names = [*expected, *sorted(set(counts) - set(expected))]
    found = {}
    for name in names:
        of_it = [i for i, label in enumerate(labels) if label == name]
        others = [i for i, label in enumerate(labels) if label is not None and label != name]
        found[name] = _subgroup(values, groups, of_it, others, figure, seed)
    return SubgroupTable(attribute, found, sum(label is None for label in labels))


def label_of(case: Case, attribute: str) -> str | None:
    """A case's subgroup; laterality is that of its images, "several" where they differ.

    Raises:
        ValueError: no such attribute.
    """
    if attribute == "laterality":
        sides = {image.laterality for image in case.images if image.laterality is not None}
        return "several" if len(sides) > 1 else next(iter(sides), None)
    if attribute not in ATTRIBUTES:
        raise ValueError(f"attribute {attribute!r} is not known: choose from {', '.join(ATTRIBUTES)}")
    value = getattr(case.attributes, attribute)
    return None if value is None else str(value)


def _subgroup(
    values: Sequence[float | None],
    groups: Sequence[Hashable],
    of_it: Sequence[int],
    others: Sequence[int],
    figure: Callable[[Sequence[int]], Estimate],
    seed: int,
) -> Subgroup:
    mine, theirs = figure(of_it), figure(others)
    nothing = Estimate.nothing(mine.excluded + theirs.excluded)
    if not of_it:
        return Subgroup("empty subgroup", 0, mine, nothing)
    if mine.mean is None:
        return Subgroup("nothing scored", len(of_it), mine, nothing)
    if theirs.mean is None:
        return Subgroup("no other subgroup", len(of_it), mine, nothing)
    n, excluded = mine.n + theirs.n, mine.excluded + theirs.excluded
    n_groups = len({groups[i] for i in (*of_it, *others) if values[i] is not None})
    gap = _independent_gap(mine, theirs, n, n_groups, excluded)
    if {groups[i] for i in of_it} & {groups[i] for i in others}:
        paired = _shared_gap(values, groups, of_it, others, excluded, seed)
        if paired.low is None or paired.low != paired.high:  # else nothing varies, and the sides' bounds are all
            gap = paired
    return Subgroup("no interval" if gap.low is None else "compared", len(of_it), mine, gap)


def _independent_gap(mine: Estimate, theirs: Estimate, n: int, n_groups: int, excluded: int) -> Estimate:
    assert mine.mean is not None and theirs.mean is not None
    gap = mine.mean - theirs.mean
    if mine.low is None or mine.high is None or theirs.low is None or theirs.high is None:
        return Estimate(gap, None, None, n, n_groups, excluded, "no interval: a single group on one side")
    below = ((mine.mean - mine.low) ** 2 + (theirs.high - theirs.mean) ** 2) ** 0.5
    above = ((mine.high - mine.mean) ** 2 + (theirs.mean - theirs.low) ** 2) ** 0.5
    return Estimate(gap, gap - below, gap + above, n, n_groups, excluded, "MOVER of both sides' intervals")


def _shared_gap(
    values: Sequence[float | None],
    groups: Sequence[Hashable],
    of_it: Sequence[int],
    others: Sequence[int],
    excluded: int,
    seed: int,
) -> Estimate:
    kept = [(i, side) for side, rows in ((0, of_it), (1, others)) for i in rows if values[i] is not None]
    cells, cell_seeds, cell_groups = number_cells([groups[i] for i, _ in kept], None, False)
    sums, sizes = np.zeros((2, len(cell_groups))), np.zeros((2, len(cell_groups)))
    for (i, side), cell in zip(kept, cells, strict=True):
        sums[side, cell] += values[i] or 0.0
        sizes[side, cell] += 1

    def gap(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [(weights @ total) / (weights @ size) for total, size in zip(sums, sizes, strict=True)]
        return np.asarray(means[0] - means[1])

    return estimate_statistic(gap, cell_seeds, cell_groups, n=len(kept), excluded=excluded, seed=seed)
