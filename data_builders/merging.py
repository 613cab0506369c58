"""Several folders of one kind -> one: the shards of a build, or folders of different origin."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from data_builders.protected import pictures_of
from vlmalign.records import DataError, DatasetBuild, Record, RecordFolder
from vlmalign.records.file_presence import file_names
from vlmalign.records.hashing import config_hash
from vlmalign.records.id_set import IdSet
from vlmalign.records.manifest import KINDS, SKIPPED, Manifest, read_manifest, strictest
from vlmalign.records.shards import SHARD, parse_shard

Folders = Sequence[str | Path]
REFERENCES = ("case_id", "candidate_ids", "display_order")  # fields that name records of other folders


def merge_folders(
    folders: Folders,
    out: str | Path,
    *,
    ids: Literal["refuse", "prefix"] = "refuse",
    overwrite: bool = False,
) -> Path:
    """Write the records of several folders of one kind as one folder, in their order.

    Args:
        folders: two or more, of one kind.
        out: the new folder.
        ids: what becomes of ids that several folders use: an error; or all ids, and the ids of cases and
            candidates that records name, get the name of their folder before them (`name/id`), so that folders of
            cases and of what was made from them, merged alike, still fit.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts what the folders count, and `folders`; its notes are theirs, those that
        differ beside each other; its data use is the strictest of theirs.

    Raises:
        ValueError: fewer than two folders, or two of one name with `prefix`.
        DataError: folders of several kinds, or an id that is used twice.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise ValueError(f"{len(paths)} folder is given: at least 2 are merged")
    names = [path.resolve().name for path in paths]
    if ids == "prefix" and len(set(names)) < len(names):
        raise ValueError(f"ids is 'prefix', and two folders have one name ({', '.join(names)}): rename one")
    opened = _open(paths)
    config = {
        "builder": "merge@1", "folders": [folder.sha256 for folder in opened], "ids": ids,
        "names": names if ids == "prefix" else None,
    }  # fmt: skip
    manifests = [folder.manifest for folder in opened]
    if ids == "refuse":
        _refuse_shared_ids(opened)
    with DatasetBuild(
        out,
        manifests[0].kind,
        config,
        overwrite=overwrite,
        notes=merged_notes([manifest.notes for manifest in manifests]),
        data_use=strictest([manifest.data_use for manifest in manifests]),
    ) as build:
        if not build.finished:
            for number, (folder, name) in enumerate(zip(opened, names, strict=True)):
                _copy(build, folder, f"folder-{number}", name if ids == "prefix" else None, Counter(folders=1))
    return build.path


def merge_shards(folders: Folders, out: str | Path, *, overwrite: bool = False) -> Path:
    """Put the shards of one build together; the folder has the very bytes of the undivided build.

    Args:
        folders: all n of them, in any order.
        out: the new folder.
        overwrite: replace a folder built with other settings.

    Raises:
        DataError: a folder is no shard, one is missing or there twice, or they are of different builds.
    """
    paths = [Path(folder) for folder in folders]
    manifests = {path: read_manifest(path) for path in paths}
    ordered = _in_order(manifests)
    opened = _open(ordered)
    first = manifests[ordered[0]]
    config = {key: value for key, value in first.config.items() if key != SHARD}
    with DatasetBuild(
        out, first.kind, config, overwrite=overwrite, notes=first.notes, data_use=first.data_use
    ) as build:
        if not build.finished:
            for number, folder in enumerate(opened):
                _copy(build, folder, f"shard-{number}", None, Counter())
    return build.path


def _in_order(manifests: Mapping[Path, Manifest]) -> list[Path]:
    """The folders by their number, after all of them were found to be of one build."""
    at: dict[int, Path] = {}
    first_path, first = next(iter(manifests.items()))
    wanted = _without_shard(first)
    parts = 0
    for path, manifest in manifests.items():
        told = manifest.config.get(SHARD)
        if not isinstance(told, str):
            rule = "the folder is no shard: it was built whole"
            raise DataError(rule, "Merge such folders without --shards.", file=path)
        shard = parse_shard(told)
        parts = parts or shard.of
        if _without_shard(manifest) != wanted or shard.of != parts:
            rule = f"this is shard {told} of another build than {first_path} ({first.config[SHARD]})"
            raise DataError(rule, "Merge the shards of one build, made with the same settings.", file=path)
        if shard.number in at:
            raise DataError(f"shard {told} is given twice, also as {at[shard.number]}", "Name it once.", file=path)
        at[shard.number] = path
    if missing := [f"{number}/{parts}" for number in range(parts) if number not in at]:
        raise DataError(
            f"{len(missing)} of {parts} shards are missing: {', '.join(missing[:8])}{' ...' * (len(missing) > 8)}",
            "Build them, and name all.",
            file=first_path,
        )
    return [at[number] for number in range(parts)]


def _without_shard(manifest: Manifest) -> tuple[Any, ...]:
    config = {key: value for key, value in manifest.config.items() if key != SHARD}
    return manifest.kind, config_hash(config), manifest.notes, manifest.data_use, manifest.versions


def _open(paths: Sequence[Path]) -> list[RecordFolder[Any]]:
    kinds = {path: read_manifest(path).kind for path in paths}
    first = kinds[paths[0]]
    for path, kind in kinds.items():
        if kind != first:
            rule = f"the folder holds {kind} records, {paths[0]} holds {first} records"
            raise DataError(rule, "Merge folders of one kind.", file=path)
    return [RecordFolder(path, KINDS[first]) for path in paths]


def _refuse_shared_ids(folders: Sequence[RecordFolder[Any]]) -> None:
    """Before anything is written: what is left of a refused merge would stand in the way of the next."""
    seen = IdSet()
    for folder in folders:
        for record in folder:
            if not seen.add(record.id):
                raise DataError(
                    f"duplicate id {record.id!r}: another of the folders uses it too",
                    "Put the folders' names before all ids with --ids prefix, or leave one folder out.",
                    file=folder.path,
                    record=record.id,
                    field="id",
                )


def _copy(
    build: DatasetBuild, folder: RecordFolder[Any], unit: str, prefix: str | None, counts: Counter[str]
) -> None:
    """One unit per record, and one for the folder's own counts and its list of what was skipped."""
    for number, record in enumerate(folder):
        if build.has(f"{unit}-{number}"):
            continue
        for image in pictures_of(record):
            build.adopt(image, folder.path)
        for name in dict.fromkeys(file_names(record)):  # masks as well
            build.adopt_file(name, folder.path)
        build.commit(f"{unit}-{number}", [record if prefix is None else prefixed(record, prefix)])
    if not build.has(unit):
        theirs = {name: n for name, n in folder.manifest.counts.items() if name not in ("records", "images")}
        build.commit(unit, [], {**theirs, **counts}, skipped=_skipped(folder.path))


def _skipped(folder: Path) -> list[dict[str, str]]:
    """What the folder's own build could not read."""
    if not (folder / SKIPPED).is_file():
        return []
    return [json.loads(line) for line in (folder / SKIPPED).read_bytes().split(b"\n") if line]


def prefixed(record: Record, prefix: str) -> Record:
    """The record with a name before its id and before the ids of the records that it names.

    Example:
        >>> from vlmalign.records import Ranking
        >>> prefixed(Ranking(id="r", case_id="c", candidate_ids=("a", "b"), ranks=(1, 2)), "x").candidate_ids
        ('x/a', 'x/b')
    """
    changes: dict[str, Any] = {"id": f"{prefix}/{record.id}"}
    for name in REFERENCES:
        value = getattr(record, name, None)
        if isinstance(value, str):
            changes[name] = f"{prefix}/{value}"
        elif isinstance(value, tuple):
            changes[name] = tuple(f"{prefix}/{item}" for item in value)
    return type(record).model_validate(record.model_dump() | changes)


def merged_notes(notes: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Notes of several folders: what is the same once, what differs one after the other.

    Example:
        >>> merged_notes([{"licence": "CC0", "unit": "slide"}, {"licence": "CC0", "unit": "patient"}])
        {'licence': 'CC0', 'unit': 'slide | patient'}
    """
    result: dict[str, list[str]] = {}
    for one in notes:
        for name, text in one.items():
            if text not in result.setdefault(name, []):
                result[name].append(text)
    return {name: " | ".join(texts) for name, texts in result.items()}
