"""Dividing a Case folder by groups into roles, each of which may know only what its role allows.

| role       | split      | what its cases keep of the reference                                     |
|------------|------------|--------------------------------------------------------------------------|
| train      | train      | everything                                                               |
| expert     | train      | measurements (findings with a unit) with their masks or boxes, no text   |
| labelled   | train      | text and findings of every concept, no regions                           |
| unlabelled | train      | nothing: the reference is unknown                                        |
| validation | validation | as labelled                                                              |
| test       | test       | as labelled                                                              |

Groups are divided, never fields, before anything is expanded. Fields of `extra` that could tell the answer
are dropped where the answer may not be known: `expert` and `unlabelled` keep only those that say where a field
comes from. A field whose measurements are open (`uncertain`, `not_assessed`) teaches no expert: that role leaves
it out and counts it (`dropped_unsure`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vlmalign.records import Case, DataError, DatasetBuild, Finding, RecordFolder, Reference
from vlmalign.records.case import Split
from vlmalign.records.hashing import derive_seed
from vlmalign.records.journal import JOURNAL
from vlmalign.records.manifest import MANIFEST

Knows = Literal["everything", "measurements", "answers", "nothing"]
NUMBER = "photograph_number"
PLACE = ("slide", "field", "photograph", NUMBER, "corner")  # keys of `extra` that say where, not what


@dataclass(frozen=True)
class Role:
    """What a role's cases are for, and what they may know."""

    split: Split
    knows: Knows


ROLES = {
    "train": Role("train", "everything"),
    "expert": Role("train", "measurements"),
    "labelled": Role("train", "answers"),
    "unlabelled": Role("train", "nothing"),
    "validation": Role("validation", "answers"),
    "test": Role("test", "answers"),
}


def split_by_group(
    cases_folder: str | Path,
    out: str | Path,
    *,
    roles: Mapping[str, float],
    seed: int,
    gap: int = 0,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write one Case folder per role under `out`, groups divided by a seeded shuffle.

    Args:
        cases_folder: the folder to divide; its cases must not be divided yet.
        out: parent of the role folders.
        roles: share of the groups per role; names from `ROLES`, shares that sum to 1.
        seed: of the shuffle.
        gap: drop fields whose photograph number lies within so many of a photograph of another role, for
            sources whose neighbouring photographs overlap (`extra["photograph_number"]`); 0 drops none.
            What BCCD needs is told, with measurements, in `data_builders.sources.bccd_groups`.
        overwrite: replace role folders made with other settings.

    Returns:
        The folder of each role, in the order of `roles`.

    Raises:
        ValueError: an unknown role, a share that is not positive, shares that do not sum to 1, a negative gap.
        DataError: a role would get no group or no field; a case is already divided; a gap without photograph
            numbers; `out` holds a folder of a role that is not asked for, or other files and no role folder.

    Example:
        >>> import tempfile
        >>> from data_builders.sources.smear import build_smear
        >>> place = tempfile.mkdtemp()
        >>> source = build_smear(place + "/smear", n_groups=4, fields_per_group=2)
        >>> folders = split_by_group(source, place + "/split", roles={"unlabelled": 0.75, "test": 0.25}, seed=0)
        >>> [len(RecordFolder(folder, Case)) for folder in folders.values()]
        [6, 2]
    """
    _check(roles, gap)
    _refuse_foreign_folder(Path(out))
    source = RecordFolder(cases_folder, Case)
    cases = list(source)
    for case in cases:
        if case.split != "unassigned":
            raise DataError(
                f"the case is already in split {case.split!r}",
                "Divide the folder that the source wrote: dividing twice could move test cases into training.",
                file=source.path,
                record=case.id,
                field="split",
            )
    parts = divide_groups([case.group_id for case in cases], roles, seed)
    role_of = {group: role for role, groups in parts.items() for group in groups}
    near = _near_another_role(cases, role_of, gap, source.path) if gap else set()
    unsure = {case.id for case in cases if ROLES[role_of[case.group_id]].knows == "measurements" and _unsure(case)}
    for role in roles:
        if not any(role_of[case.group_id] == role and case.id not in near | unsure for case in cases):
            raise DataError(
                f"no field is left to role {role!r} (gap {gap}, fields whose measurements are open left out)",
                "Lower the gap, or give the role a larger share.",
                file=source.path,
            )
    _refuse_other_roles(Path(out), roles)
    folders: dict[str, Path] = {}
    for role in roles:
        config = {
            "builder": "split@1",
            "source_sha256": source.sha256,
            "role": role,
            "roles": dict(roles),
            "seed": seed,
            "gap": gap,
        }
        mine = [case for case in cases if role_of[case.group_id] == role]
        with DatasetBuild(
            Path(out) / role,
            "case",
            config,
            overwrite=overwrite,
            notes={**source.manifest.notes, "role": f"{role}: keeps {ROLES[role].knows} of the reference."},
            data_use=source.manifest.data_use,
        ) as build:
            folders[role] = build.path
            _write(build, mine, {"dropped_gap": near, "dropped_unsure": unsure - near}, ROLES[role], source)
    return folders


def divide_groups(groups: list[str], roles: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Groups of each role: seeded shuffle of the sorted names, sizes by the largest remainders.

    Raises:
        DataError: a role would get no group.

    Example:
        >>> parts = divide_groups(list("abcdefg"), {"train": 0.5, "test": 0.5}, seed=0)
        >>> {role: len(groups) for role, groups in parts.items()}
        {'train': 4, 'test': 3}
    """
    names = sorted(set(groups))
    order = np.random.default_rng(derive_seed("split", seed)).permutation(len(names))
    wanted = {role: share * len(names) for role, share in roles.items()}
    sizes = {role: math.floor(number + 1e-9) for role, number in wanted.items()}
    ranked = sorted(roles, key=lambda role: sizes[role] - wanted[role])  # largest remainder first; ties in order
    for role in ranked[: len(names) - sum(sizes.values())]:
        sizes[role] += 1
    parts: dict[str, list[str]] = {}
    start = 0
    for role, size in sizes.items():
        if size == 0:
            raise DataError(
                f"role {role!r} would get none of the {len(names)} groups with a share of {roles[role]:g}",
                "Use more groups, or a larger share.",
                field="roles",
            )
        parts[role] = [names[i] for i in order[start : start + size]]
        start += size
    return parts


def _check(roles: Mapping[str, float], gap: int) -> None:
    for role, share in roles.items():
        if role not in ROLES:
            raise ValueError(f"unknown role {role!r}: one of {', '.join(ROLES)} is required")
        if not share > 0:
            raise ValueError(f"role {role!r} has share {share}: a positive share is required; leave the role out")
    if not math.isclose(sum(roles.values()), 1.0, abs_tol=1e-6):
        raise ValueError(f"the shares {dict(roles)} sum to {sum(roles.values()):g}: 1 is required")
    if gap < 0:
        raise ValueError(f"gap is {gap}: 0 or more is required")


def _near_another_role(cases: list[Case], role_of: dict[str, str], gap: int, folder: Path) -> set[str]:
    """Ids of the cases whose photograph lies within `gap` numbers of a photograph of another role."""
    roles_at: dict[int, set[str]] = {}
    for case in cases:
        number = case.extra.get(NUMBER)
        if not isinstance(number, int):
            raise DataError(
                f"a gap of {gap} needs the photograph's number, and the case has none",
                "Use gap 0 for sources whose pictures have no order.",
                file=folder,
                record=case.id,
                field=f"extra.{NUMBER}",
            )
        roles_at.setdefault(number, set()).add(role_of[case.group_id])
    near = set()
    for case in cases:
        around = range(case.extra[NUMBER] - gap, case.extra[NUMBER] + gap + 1)
        if any(roles_at.get(number, set()) - {role_of[case.group_id]} for number in around):
            near.add(case.id)
    return near


def _refuse_foreign_folder(out: Path) -> None:
    """Refuse a folder with content and without a single role folder: nothing of it is ours."""
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError("the output path is a file", "Choose another folder.", file=out)
    names = {MANIFEST, JOURNAL}
    inside = [{path.name for path in (out / role).iterdir()} for role in ROLES if (out / role).is_dir()]
    ours = any(not content or content & names for content in inside)
    if any(out.iterdir()) and not ours:
        raise DataError(
            "the folder is not empty and holds no role folder of a split",
            "Choose a new or empty folder, e.g. one inside it.",
            file=out,
        )


def _refuse_other_roles(out: Path, roles: Mapping[str, float]) -> None:
    for manifest in sorted(out.glob(f"*/{MANIFEST}")):
        if manifest.parent.name not in roles:
            raise DataError(
                f"a folder of role {manifest.parent.name!r} is here, which this split does not make",
                "It may share groups with the new roles: remove it, or choose another --out.",
                file=manifest.parent,
            )


def _write(
    build: DatasetBuild, cases: list[Case], dropped: dict[str, set[str]], role: Role, source: RecordFolder[Case]
) -> None:
    if build.finished:
        return
    seen: set[str] = set()
    for case in cases:
        new_group = case.group_id not in seen
        seen.add(case.group_id)
        if build.has(case.id):
            continue
        counts = {name: int(case.id in ids) for name, ids in dropped.items()}
        kept = [] if any(counts.values()) else [limited(case, role)]
        for one in kept:
            for ref in one.images:
                build.adopt(ref, source.path)
            for mask in _masks(one):
                build.adopt_file(mask, source.path)
        build.commit(case.id, kept, {"groups": int(new_group), **counts})


def _masks(case: Case) -> list[str]:
    findings = case.reference.findings if case.reference else ()
    return [finding.region.mask for finding in findings if finding.region and finding.region.mask]


def limited(case: Case, role: Role) -> Case:
    """The case as the role may know it, with the role's split."""
    reference = case.reference
    if role.knows == "nothing" or reference is None:
        reference = None
    elif role.knows == "measurements":
        reference = Reference(findings=tuple(f for f in reference.findings if _is_measurement(f)))
    elif role.knows == "answers":
        without = tuple(finding.model_copy(update={"region": None}) for finding in reference.findings)
        reference = Reference(text=reference.text, findings=without)
    extra = case.extra
    if role.knows in ("nothing", "measurements"):
        extra = {key: value for key, value in extra.items() if key in PLACE}
    return case.model_copy(update={"reference": reference, "split": role.split, "extra": extra})


def _is_measurement(finding: Finding) -> bool:
    return finding.unit is not None and not isinstance(finding.value, str)


def _unsure(case: Case) -> bool:
    """Whether a measurement of the case is open: an expert cannot learn from it."""
    findings = case.reference.findings if case.reference else ()
    return any(_is_measurement(f) and f.status in ("uncertain", "not_assessed") for f in findings)
