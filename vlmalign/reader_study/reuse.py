"""A case serves training or evaluation, never both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlmalign.reader_study.arms import Material
from vlmalign.reader_study.plan import Purpose
from vlmalign.reader_study.study import CASES, PRIVATE, read_key
from vlmalign.records import Case, DataError, RecordFolder
from vlmalign.records.manifest import KINDS, read_manifest
from vlmalign.records.validation import image_refs

TOLD = 5  # names in an error
OTHER: dict[Purpose, Purpose] = {"training": "evaluation", "evaluation": "training"}


def reused(
    purpose: Purpose,
    found: Sequence[Material],
    *,
    earlier: Sequence[str | Path] = (),
    trained_on: Sequence[str | Path] = (),
) -> dict[str, str]:
    """Cases that already serve the other purpose -> where.

    Args:
        purpose: of the new study.
        found: the cases of the new study.
        earlier: folders of earlier studies, with their keys.
        trained_on: folders of records that models learnt from.

    Returns:
        Case id -> reason, by case, group or image.
    """
    seen: dict[tuple[str, str], str] = {}
    for study in earlier:
        key = read_key(study, remedy="Put the key back for the design: it says which cases the study read.")
        if key.purpose != OTHER[purpose]:
            continue
        for item in key.items.values():
            where = f"rated for {key.purpose} in {study}"
            seen.update({("case", item.case_id): where, ("group", item.group_id): where})
        cases = Path(study) / PRIVATE / CASES
        for case in RecordFolder(cases, Case) if cases.is_dir() else ():
            seen.update({("image", ref.sha256): f"rated for {key.purpose} in {study}" for ref in case.images})
    for folder in trained_on if purpose == "evaluation" else ():
        records: RecordFolder[Any] = RecordFolder(folder, KINDS[read_manifest(folder).kind])
        for record in records:
            where = f"learnt from in {folder}"
            for kind in ("case", "group"):
                if name := getattr(record, f"{kind}_id", None):
                    seen[kind, name] = where
            seen.update({("image", ref.sha256): where for ref in image_refs(record)})
    forbidden = {"training": ("test",), "evaluation": ("train",)}[purpose]
    result = {}
    for material in found:
        case = material.case
        names = [("case", str(case.extra.get("case_id", case.id))), ("group", case.group_id)]
        names += [("image", ref.sha256) for ref in case.images]
        hit = next((f"{seen[name]} (same {name[0]})" for name in names if name in seen), None)
        if hit is None and case.split in forbidden:
            hit = f"its split is {case.split!r}"
        if hit:
            result[case.id] = hit
    return result


def refuse_reused(purpose: Purpose, taken: dict[str, str]) -> None:
    """Raise a DataError that names the cases which serve the other purpose, if there are any."""
    if taken:
        names = "; ".join(f"{name}: {why}" for name, why in list(taken.items())[:TOLD])
        more = f"; and {len(taken) - TOLD} more" if len(taken) > TOLD else ""
        raise DataError(
            f"{len(taken)} cases cannot be read for {purpose}: {names}{more}",
            "Choose other cases, or pass --leave-out-used to leave these out and count them.",
        )
