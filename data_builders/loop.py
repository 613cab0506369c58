"""The loop of most builders: what each record of a folder becomes, written with the record's images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from vlmalign.records import Case, DatasetBuild, Preference, Record, RecordFolder

Source = TypeVar("Source", Case, Preference)


def commit_each(
    build: DatasetBuild,
    folder: RecordFolder[Source],
    become: Callable[[Source], tuple[Sequence[Record], Mapping[str, int]]],
) -> None:
    """Commit one unit per record of a folder, in its order; a build that continues skips what it has.

    In a shard of a build (`vlmalign.records.shards`) only the records of its part become others.

    Args:
        build: the folder to write, open.
        folder: the records to turn into others.
        become: the new records of one, none to leave it out, and the counts of what was left out. The images
            are taken over where there are new records.
    """
    mine = build.part(len(folder))
    for number, record in enumerate(folder):
        if number not in mine or build.has(record.id):
            continue
        records, counts = become(record)
        if records:
            for image in record.images:
                build.adopt(image, folder.path)
        build.commit(record.id, records, counts)
