"""Gaps between subgroups before and after: did alignment open or close any?"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from vlmalign.evaluation.run_comparison import is_share
from vlmalign.evaluation.run_items import PairedRuns, having, scores_of
from vlmalign.evaluation.subgroups import subgroup_differences, subgroup_table

#: with fewer clusters a subgroup is told to be small: an interval of t with 8 df or fewer says little
SMALL = 10
NOT_TOLD = "not told"


def subgroup_changes(
    runs: PairedRuns,
    metric: str,
    labels: Mapping[str, Mapping[str, str | None]],
    expected: Mapping[str, Sequence[str]],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """A metric after and before by subgroup, each subgroup's gap to the others, and how the gap has changed.

    Cases whose subgroup is not told are a row of their own, `not told`, which is compared with nobody and in no
    other row's gap.

    Args:
        runs: the items of both; the first run is the one after alignment.
        metric: which.
        labels: attribute -> case id -> subgroup; None: not told.
        expected: attribute -> subgroups that are to be named though they may be empty.
        seed: of bootstraps.

    Returns:
        attribute -> subgroup -> `items`, `groups` (clusters with a value in both), `small`, `state`, `after`,
        `before`, `change`, `gap_after`, `gap_before`, `gap_change`. The state is that of `Subgroup`.
    """
    after, before, groups = scores_of(runs.pairs, metric)
    cases = [a.case_id for a, _ in having(runs.pairs, metric)]
    share = is_share(metric, after, before)
    found = {}
    for attribute, of_case in labels.items():
        told = [of_case.get(case) for case in cases]
        names = expected.get(attribute, ())
        sides = [
            subgroup_table(attribute, values, told, groups, expected=names, proportion=share, seed=seed).subgroups
            for values in (after, before)
        ]
        changes = subgroup_differences(attribute, after, before, told, groups, expected=names, seed=seed).subgroups
        rows = {
            name: {
                "items": change.items, "groups": change.figure.n_groups, "state": change.state,
                "small": 0 < change.figure.n_groups < SMALL,
                "after": sides[0][name].figure.to_dict(), "before": sides[1][name].figure.to_dict(),
                "change": change.figure.to_dict(), "gap_after": sides[0][name].gap.to_dict(),
                "gap_before": sides[1][name].gap.to_dict(), "gap_change": change.gap.to_dict(),
            }
            for name, change in changes.items()
        }  # fmt: skip
        missing = [place for place, name in enumerate(told) if name is None]
        if missing:
            rows[NOT_TOLD] = _not_told(missing, after, before, groups, share, seed)
        found[attribute] = rows
    return found


def _not_told(
    rows: Sequence[int],
    after: Sequence[float | None],
    before: Sequence[float | None],
    groups: Sequence[Hashable],
    share: bool,
    seed: int,
) -> dict[str, Any]:
    of_after, of_before = [after[i] for i in rows], [before[i] for i in rows]
    clusters, names = [groups[i] for i in rows], [NOT_TOLD] * len(rows)
    sides = [
        subgroup_table("", values, names, clusters, proportion=share, seed=seed).subgroups[NOT_TOLD]
        for values in (of_after, of_before)
    ]
    change = subgroup_differences("", of_after, of_before, names, clusters, seed=seed).subgroups[NOT_TOLD]
    return {
        "items": len(rows), "groups": change.figure.n_groups, "state": NOT_TOLD,
        "small": 0 < change.figure.n_groups < SMALL,
        "after": sides[0].figure.to_dict(), "before": sides[1].figure.to_dict(), "change": change.figure.to_dict(),
        "gap_after": change.gap.to_dict(), "gap_before": change.gap.to_dict(), "gap_change": change.gap.to_dict(),
    }  # fmt: skip
