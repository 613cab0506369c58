"""What a dataset folder says of itself: `manifest.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from vlmalign.records.base import Part, Record
from vlmalign.records.candidate import Candidate
from vlmalign.records.case import Case
from vlmalign.records.errors import DataError
from vlmalign.records.finding import Finding
from vlmalign.records.journal import JOURNAL
from vlmalign.records.judgement import Judgement, Ranking
from vlmalign.records.preference import Demonstration, Preference
from vlmalign.records.writing import write_atomic as write_atomic

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
RECORDS = "records.jsonl"
SKIPPED = "skipped.jsonl"  # only where something could not be read
DIFFERENCES, LONGEST_VALUE = 4, 60  # how much of two configs an error tells
BEFORE = 12  # characters that a shortened value shows of what is the same in both
NAMED = 8  # folders that an error names

Kind = Literal["case", "finding", "candidate", "judgement", "ranking", "preference", "demonstration"]
KINDS: dict[str, type[Record]] = {
    "case": Case,
    "finding": Finding,
    "candidate": Candidate,
    "judgement": Judgement,
    "ranking": Ranking,
    "preference": Preference,
    "demonstration": Demonstration,
}

#: where data may be sent, the strictest first
DataUse = Literal["local_only", "approved_endpoints", "open"]


def strictest(uses: Iterable[DataUse]) -> DataUse:
    """What holds for data made from several folders: the strictest of their rules.

    Example:
        >>> strictest(["open", "local_only"])
        'local_only'
    """
    return min(uses, key=get_args(DataUse).index, default="open")


class Manifest(Part):
    """Summary of a complete dataset folder; its presence marks the folder as complete."""

    schema_version: Literal[1] = 1
    kind: Kind
    counts: dict[str, int] = Field(description="records, images, and whatever the builder left out, by name")
    records_sha256: str
    config: dict[str, Any] = Field(description="what built the folder, enough to build it again")
    config_sha256: str
    versions: dict[str, str] = Field(default_factory=dict)
    notes: dict[str, str] = Field(default_factory=dict, description="for readers: grouping unit, licence ...")
    data_use: DataUse = Field("open", description="where the data, and all that is made of it, may be sent")


def read_manifest(folder: str | Path) -> Manifest:
    """Read and check a folder's manifest.

    Raises:
        DataError: no such folder, no manifest (an unfinished build), or one that breaks the schema.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("no such folder", "Check the path.", file=folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise _no_manifest(folder)
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            first["msg"],
            "Build the folder again with --overwrite.",
            file=path,
            field=".".join(map(str, first["loc"])) or None,
        ) from None


def _no_manifest(folder: Path) -> DataError:
    """Of a build that was stopped, of a folder that holds dataset folders, or of something else."""
    if (folder / JOURNAL).is_file() or (folder / RECORDS).is_file():
        return DataError(
            f"not a complete dataset folder: {MANIFEST} is missing",
            "Run the command that builds it again: it continues where it stopped.",
            file=folder,
        )
    inside = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
    more = ", ..." if len(inside) > NAMED else ""
    remedy = (
        f"Name one of the dataset folders in it: {', '.join(inside[:NAMED])}{more}."
        if inside
        else "Name a folder of records that a vlmalign command wrote; of pictures and tables `vlmalign source "
        "build` makes one."
    )
    return DataError(f"not a dataset folder: {MANIFEST} is missing", remedy, file=folder)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` atomically, keys sorted."""
    text = json.dumps(manifest.model_dump(mode="json"), sort_keys=True, indent=2, ensure_ascii=False)
    write_atomic(folder / MANIFEST, (text + "\n").encode())


def config_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first few settings that differ; of long values the part from where they differ.

    Example:
        >>> config_difference({"n": 4, "cases": "ab"}, {"n": 5, "cases": "ab"})
        'n: 4 there, 5 here'
        >>> config_difference({"x": "a" * 80 + "b"}, {"x": "a" * 80 + "c"})
        "x: ... aaaaaaaaaaaab' there, ... aaaaaaaaaaaac' here"
    """
    keys = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
    told = [f"{k}: {_short(old.get(k), new.get(k))} there, {_short(new.get(k), old.get(k))} here" for k in keys]
    told = told[:DIFFERENCES]
    more = [f"and {len(keys) - DIFFERENCES} more"] if len(keys) > DIFFERENCES else []
    return ", ".join(told + more) or "kind"


def _short(value: Any, other: Any) -> str:
    text = repr(value)
    if len(text) <= LONGEST_VALUE:
        return text
    start = max(0, len(os.path.commonprefix([text, repr(other)])) - BEFORE)
    shown = text[start : start + LONGEST_VALUE - 8]
    return "... " * (start > 0) + shown + " ..." * (start + len(shown) < len(text))
