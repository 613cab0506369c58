"""The journal of a build: a header and one line per committed unit, held by one process at a time.

The header is the kind and the hash of the config. A build that overwrites a complete folder also notes in
it which manifest it will replace: only so can a later start tell a build that was killed, which continues,
from the leftover of one that was completed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from vlmalign.records.errors import DataError
from vlmalign.records.id_set import IdSet
from vlmalign.records.locking import lock

JOURNAL = "journal.jsonl"
BLOCK = 1 << 16  # bytes read at a time from the end of a journal
REPLACES = "replaces"


def open_locked(path: Path) -> TextIO:
    """Open a journal for appending, made if absent; it is ours until it is closed or the process ends.

    The system frees the lock with the process, so a killed build continues.

    Raises:
        DataError: another process holds it.
    """
    while True:
        file = open(path, "a", encoding="utf-8")
        try:
            lock(file, path.parent)
            ours = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except FileNotFoundError:  # its holder completed the folder between our two steps
            ours = False
        except BaseException:
            file.close()
            raise
        if ours:
            return file
        file.close()


def start(path: Path, journal: TextIO, header: dict[str, Any]) -> None:
    """Empty an open journal and write its header."""
    os.truncate(path, 0)
    append(path, journal, json.dumps(header, sort_keys=True) + "\n")


def append(path: Path, journal: TextIO, line: str) -> None:
    """Write one line; an OSError names the journal."""
    try:
        journal.write(line)
        journal.flush()
    except OSError as error:  # a full disk: the error of a write does not know its file
        raise OSError(error.errno, error.strerror, str(path)) from None


def release(journal: TextIO) -> None:
    """Close a journal; what a failed write left in its buffer fails once more, and has been told."""
    with suppress(OSError):
        journal.close()


def cut_torn_line(path: Path) -> None:
    """Cut off the last line of a journal where a kill has cut it short."""
    size = whole = path.stat().st_size
    with open(path, "rb") as file:
        while whole:
            start = max(0, whole - BLOCK)
            file.seek(start)
            newline = file.read(whole - start).rfind(b"\n")
            if newline >= 0:
                whole = start + newline + 1
                break
            whole = start
    if whole < size:
        os.truncate(path, whole)


def header_of(path: Path) -> dict[str, Any]:
    """What the first line says; empty when it says nothing."""
    with open(path, "rb") as file:
        line = file.readline()
    try:
        header = json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def holds_entries(path: Path) -> bool:
    """Whether a unit was committed."""
    with open(path, "rb") as file:
        file.readline()
        return bool(file.read(1))


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The committed units in order, read one at a time.

    Raises:
        DataError: a damaged line, or a unit that stands there twice.
    """
    seen = IdSet()
    with open(path, "rb") as lines:  # as bytes: text would also part at U+2028 inside a string
        next(lines)
        for number, line in enumerate(lines, start=2):
            try:
                entry = json.loads(line)
                unit = entry["unit"]
            except (ValueError, KeyError, TypeError):
                raise _damaged("the line is damaged", path, number) from None
            if not seen.add(unit):
                raise _damaged(f"unit {unit!r} stands here a second time", path, number)
            yield entry


def _damaged(rule: str, path: Path, number: int) -> DataError:
    return DataError(rule, "Delete this file and run the same command again.", file=path, line=number)
