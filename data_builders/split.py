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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_builders.named_values import check_name
from data_builders.strata import NO_VALUE, NUMBER, Place, divide_groups, is_measurement, place_of, strata_of
from vlmalign.records import Case, DataError, DatasetBuild, RecordFolder, Reference
from vlmalign.records.case import Split
from vlmalign.records.journal import JOURNAL
from vlmalign.records.manifest import MANIFEST

Knows = Literal["everything", "measurements", "answers", "nothing"]
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
    stratify: str | None = None,
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
        stratify: a value of the cases (`attributes.sex`, `domain`, `finding.CONCEPT`; see
            `named_values.value_of`): each role gets its share of the groups of every value. A group whose cases
            differ counts under its commonest value, and without one under "(none)".
        overwrite: replace role folders made with other settings.

    Returns:
        The folder of each role, in the order of `roles`. Their manifests count `groups`, what was dropped, and
        with `stratify` the groups of each value, `stratum:<value>`.

    Raises:
        ValueError: an unknown role, a share that is not positive, shares that do not sum to 1, a negative gap.
        DataError: a role would get no group or no field; a case is already divided; a gap without photograph
            numbers; no case has a value of `stratify`; `out` holds a folder of a role that is not asked for, or
            other files and no role folder.

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
    if stratify is not None:
        check_name(stratify, Case)
    places = [place_of(case, source.path, gap=gap, stratify=stratify) for case in source]
    if stratify is not None and all(place.stratum == NO_VALUE for place in places):
        raise DataError(
            f"no case has a value of {stratify!r}, which the division is to be stratified by",
            "Correct the name, or leave stratify out.",
            file=source.path,
        )
    strata = None if stratify is None else strata_of(places)
    parts = divide_groups([place.group for place in places], roles, seed, strata)
    role_of = {group: role for role, groups in parts.items() for group in groups}
    near = _near_another_role(places, role_of, gap) if gap else set()
    unsure = {p.id for p in places if p.unsure and ROLES[role_of[p.group]].knows == "measurements"}
    lost = near | unsure
    for role in roles:
        if not any(role_of[place.group] == role and place.id not in lost for place in places):
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
            **({} if stratify is None else {"stratify": stratify}),
        }
        mine = (case for case in source if role_of[case.group_id] == role)
        with DatasetBuild(
            Path(out) / role,
            "case",
            config,
            overwrite=overwrite,
            notes={**source.manifest.notes, "role": f"{role}: keeps {ROLES[role].knows} of the reference."},
            data_use=source.manifest.data_use,
        ) as build:
            folders[role] = build.path
            dropped = {"dropped_gap": near, "dropped_unsure": unsure - near}
            _write(build, mine, dropped, ROLES[role], source, strata or {})
    return folders


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


def _near_another_role(places: list[Place], role_of: dict[str, str], gap: int) -> set[str]:
    """Ids of the cases whose photograph lies within `gap` numbers of a photograph of another role."""
    roles_at: dict[int, set[str]] = {}
    for place in places:
        roles_at.setdefault(place.number, set()).add(role_of[place.group])
    near = set()
    for place in places:
        around = range(place.number - gap, place.number + gap + 1)
        if any(roles_at.get(number, set()) - {role_of[place.group]} for number in around):
            near.add(place.id)
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
    build: DatasetBuild,
    cases: Iterable[Case],
    dropped: dict[str, set[str]],
    role: Role,
    source: RecordFolder[Case],
    strata: Mapping[str, str],
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
        if new_group and strata:
            counts[f"stratum:{strata[case.group_id]}"] = 1
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
        reference = Reference(findings=tuple(f for f in reference.findings if is_measurement(f)))
    elif role.knows == "answers":
        without = tuple(finding.model_copy(update={"region": None}) for finding in reference.findings)
        reference = Reference(text=reference.text, findings=without)
    extra = case.extra
    if role.knows in ("nothing", "measurements"):
        extra = {key: value for key, value in extra.items() if key in PLACE}
    return case.model_copy(update={"reference": reference, "split": role.split, "extra": extra})
