"""Checking a whole dataset folder, and summarising it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vlmalign.records.errors import DataError
from vlmalign.records.file_presence import Presence, Problem, join
from vlmalign.records.finding import Finding
from vlmalign.records.folder import RecordFolder, duplicate_id, load_image, parse_line
from vlmalign.records.hashing import sha256_file
from vlmalign.records.id_set import IdSet
from vlmalign.records.image import ImageRef
from vlmalign.records.manifest import KINDS, RECORDS, Manifest, read_manifest

TALLIED = ("split", "group_kind", "domain", "source", "concept", "status", "policy", "criterion", "valid")


def image_refs(value: Any) -> Iterator[ImageRef]:
    """Every image reference inside a record, wherever it stands."""
    for _, part in parts_of(value):
        if isinstance(part, ImageRef):
            yield part


def parts_of(value: Any, place: str = "") -> Iterator[tuple[str, BaseModel]]:
    """Every part of a record with its dotted place, outer parts first.

    Example:
        >>> from vlmalign.records import user
        >>> [place for place, _ in parts_of(user("Describe.", images=1))]
        ['', 'content.0', 'content.1']
    """
    if isinstance(value, BaseModel):
        yield place, value
        items = [(name, getattr(value, name)) for name in type(value).model_fields]
    elif isinstance(value, (tuple, list)):
        items = [(str(number), item) for number, item in enumerate(value)]
    else:
        return
    for name, item in items:
        yield from parts_of(item, f"{place}.{name}" if place else name)


def validate_folder(folder: str | Path, *, images: bool = True) -> list[DataError]:
    """Every problem of a dataset folder, in file order; an empty list means that it is sound.

    Checked: the manifest, each line against its schema, unique ids, counts and hash against the manifest, and
    that each image and mask is there, inside the folder.

    Args:
        folder: the dataset folder.
        images: also open every file: the bytes and decodability of each image and mask, that boxes lie inside
            their image, and that a mask has the size of its image. This takes as long as reading all of them.
    """
    folder = Path(folder)
    try:
        manifest = read_manifest(folder)
    except DataError as error:
        return [error]
    file = folder / RECORDS
    if not file.is_file():
        return [DataError("records.jsonl is missing", "Build the folder again with --overwrite.", file=folder)]
    record_type = KINDS[manifest.kind]
    opened: RecordFolder[Any] = RecordFolder(folder, record_type)
    contents, presence = _Files(opened), Presence(opened)
    problems: list[DataError] = []
    seen, number = IdSet(), 0
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = parse_line(line, record_type, file=file, number=number)
            except DataError as error:
                problems.append(error)
                continue
            if not seen.add(record.id):
                problems.append(duplicate_id(record.id, file=file, number=number))
            if not images and presence.of_all(record):
                continue
            check = contents if images else presence
            for place, part in parts_of(record):
                problems += [
                    DataError(rule, remedy, file=file, line=number, record=record.id, field=field)
                    for rule, remedy, field in check.problems(place, part)
                ]
    return problems + _against_manifest(file, number, manifest)


def _against_manifest(file: Path, number: int, manifest: Manifest) -> list[DataError]:
    if number != manifest.counts.get("records"):
        rule = f"the manifest counts {manifest.counts.get('records')} records, the file has {number}"
    elif sha256_file(file) != manifest.records_sha256:
        rule = "records.jsonl was changed after it was built"
    else:
        return []
    return [DataError(rule, "Restore the file, or build the folder again with --overwrite.", file=file)]


class _Files:
    """What the records of one folder say of its files; each file is opened once."""

    def __init__(self, folder: RecordFolder[Any]) -> None:
        self.folder = folder
        self.sizes: dict[str, tuple[int, int] | None] = {}  # None: damaged, and already told

    def problems(self, place: str, part: BaseModel) -> Iterator[Problem]:
        """Problems of the files that this part names."""
        if isinstance(part, ImageRef):
            yield from self._open(part.path, part.sha256, join(place, "path"))
        elif isinstance(part, Finding) and part.region is not None:
            yield from self._open(part.image.path, part.image.sha256, join(place, "image.path"))
            yield from self._region(join(place, "region"), part)

    def _open(self, path: str, sha256: str | None, field: str) -> Iterator[Problem]:
        if path in self.sizes:
            return
        self.sizes[path] = None
        try:
            file = self.folder.resolve(path)
            size = load_image(file).size
        except DataError as error:
            yield f"{path}: {error.rule}", error.remedy, field
            return
        if sha256 is not None and sha256_file(file) != sha256:
            yield f"{path} has other bytes than its record says", "Restore the file or build again.", field
            return
        self.sizes[path] = size

    def _region(self, place: str, finding: Finding) -> Iterator[Problem]:
        region, size = finding.region, self.sizes[finding.image.path]
        assert region is not None
        if region.mask is not None:
            stem = Path(region.mask).stem
            yield from self._open(region.mask, stem if len(stem) == 64 else None, f"{place}.mask")
            mask = self.sizes[region.mask]
            if size is not None and mask is not None and mask != size:
                rule = f"the mask {region.mask} has {_by(mask)} pixels, its image {_by(size)}"
                yield rule, "Give each finding the mask of its own image.", f"{place}.mask"
        for number, (x0, y0, x1, y1) in enumerate(region.boxes):
            if size is not None and not (0 <= x0 and 0 <= y0 and x1 <= size[0] and y1 <= size[1]):
                rule = f"the box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) leaves the image of {_by(size)} pixels"
                yield rule, "Correct it, or build the folder from corrected boxes.", f"{place}.boxes.{number}"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def folder_stats(folder: str | Path) -> dict[str, Any]:
    """Counts that describe a dataset folder: records, groups, splits, sources, lengths of texts.

    The keys depend on the kind of record; every number is a plain int or float.
    """
    manifest = read_manifest(folder)
    tallies: dict[str, Counter[str]] = {}
    groups: set[str] = set()
    words: dict[str, list[int]] = {}
    for record in RecordFolder(folder, KINDS[manifest.kind]):
        for name in TALLIED:
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
