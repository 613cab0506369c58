"""Checking a whole dataset folder, and summarising it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vlmalign.records.base import Record
from vlmalign.records.errors import DataError
from vlmalign.records.folder import RecordFolder, load_image, parse_line
from vlmalign.records.hashing import sha256_file
from vlmalign.records.image import ImageRef
from vlmalign.records.manifest import KINDS, RECORDS, read_manifest

TALLIED = ("split", "group_kind", "domain", "source", "concept", "status", "policy", "criterion", "valid")


def image_refs(value: Any) -> Iterator[ImageRef]:
    """Every image reference inside a record, wherever it stands."""
    if isinstance(value, ImageRef):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from image_refs(getattr(value, name))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from image_refs(item)


def validate_folder(folder: str | Path) -> list[DataError]:
    """Every problem of a dataset folder, in file order; an empty list means that it is sound.

    Checked: the manifest, each line against its schema, unique ids, counts and hash against the manifest,
    each image's place, bytes and decodability, each mask file's presence.
    """
    folder = Path(folder)
    try:
        manifest = read_manifest(folder)
    except DataError as error:
        return [error]
    problems: list[DataError] = []
    file = folder / RECORDS
    if not file.is_file():
        return [DataError("records.jsonl is missing", "Build the folder again.", file=folder)]
    opened = RecordFolder(folder, KINDS[manifest.kind])
    seen: dict[str, int] = {}
    checked: set[str] = set()
    number = 0
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = parse_line(line, opened.record_type, file=file, number=number)
            except DataError as error:
                problems.append(error)
                continue
            if record.id in seen:
                problems.append(
                    DataError(
                        f"duplicate id, first used on line {seen[record.id]}",
                        "Give each record its own id.",
                        file=file,
                        line=number,
                        record=record.id,
                        field="id",
                    )
                )
            seen.setdefault(record.id, number)
            for ref in image_refs(record):
                if ref.path not in checked:
                    checked.add(ref.path)
                    problems += _image_problems(opened, ref, record, number)
    if number != manifest.counts.get("records"):
        problems.append(
            DataError(
                f"the manifest counts {manifest.counts.get('records')} records, the file has {number}",
                "Build the folder again.",
                file=file,
            )
        )
    elif sha256_file(file) != manifest.records_sha256:
        problems.append(
            DataError("records.jsonl was changed after it was built", "Build the folder again.", file=file)
        )
    return problems


def _image_problems(folder: RecordFolder[Any], ref: ImageRef, record: Record, line: int) -> list[DataError]:
    try:
        path = folder.resolve(ref)
        load_image(path)
    except DataError as error:
        return [
            DataError(
                error.rule,
                error.remedy,
                file=folder.path / RECORDS,
                line=line,
                record=record.id,
                field=f"image {ref.path}",
            )
        ]
    if sha256_file(path) != ref.sha256:
        return [
            DataError(
                f"image {ref.path} has other bytes than its record says",
                "Restore the file or build again.",
                file=folder.path / RECORDS,
                line=line,
                record=record.id,
                field="sha256",
            )
        ]
    return []


def folder_stats(folder: str | Path) -> dict[str, Any]:
    """Counts that describe a dataset folder: records, groups, splits, sources, lengths of texts.

    The keys depend on the kind of record; every number is a plain int or float.
    """
    manifest = read_manifest(folder)
    tallies: dict[str, Counter[str]] = {}
    groups: set[str] = set()
    words: dict[str, list[int]] = {}
    for record in RecordFolder(folder, KINDS[manifest.kind]):
        for name in (
            "split",
            "group_kind",
            "domain",
            "source",
            "concept",
            "status",
            "policy",
            "criterion",
            "valid",
        ):
            if hasattr(record, name):
                tallies.setdefault(name, Counter())[str(getattr(record, name))] += 1
        if getattr(record, "group_id", None):
            groups.add(record.group_id)  # type: ignore[attr-defined]
        for name in ("chosen", "rejected", "response", "messages"):
            turns = [m.text for m in getattr(record, name, ()) if m.role == "assistant"]
            if turns:
                words.setdefault(name, []).append(len(" ".join(turns).split()))
    return {
        "kind": manifest.kind,
        "counts": dict(manifest.counts),
        "groups": len(groups),
        **{name: dict(sorted(tally.items())) for name, tally in tallies.items()},
        "words": {k: {"mean": sum(v) / len(v), "min": min(v), "max": max(v)} for k, v in words.items()},
        "notes": dict(manifest.notes),
    }
