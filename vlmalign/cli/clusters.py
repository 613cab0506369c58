"""Which cluster a judged case belongs to, from whatever folder knows it: cases, candidates, or pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vlmalign.records import Candidate, Case, DataError, Preference, RecordFolder
from vlmalign.records.manifest import read_manifest


def read_groups(folders: Sequence[Path]) -> dict[str, str]:
    """Cluster by case id.

    Raises:
        DataError: a folder of another kind, candidates without groups, or a case in two clusters.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for record, case_id, group in _told(folder):
            if found.setdefault(case_id, group) != group:
                raise DataError(f"case {case_id!r} is of group {group!r} here, and of {found[case_id]!r} before",
                                "Give folders that agree.", file=folder, record=record)  # fmt: skip
    return found


def _told(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Record, case and group."""
    kind = read_manifest(folder).kind
    if kind == "case":
        yield from ((case.id, case.id, case.group_id) for case in RecordFolder(folder, Case))
    elif kind == "preference":
        yield from ((pair.id, pair.case_id, pair.group_id) for pair in RecordFolder(folder, Preference))
    elif kind == "candidate":
        for candidate in RecordFolder(folder, Candidate):
            if candidate.group_id is None:
                raise DataError("it has no group", "Give the cases instead.",
                                file=folder, record=candidate.id, field="group_id")  # fmt: skip
            yield candidate.id, candidate.case_id, candidate.group_id
    else:
        raise DataError(f"it holds {kind} records, which tell no groups", "Give cases, candidates or pairs.",
                        file=folder)  # fmt: skip
