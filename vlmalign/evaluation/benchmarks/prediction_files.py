"""Which files a benchmark was scored from: their names without the machine's paths, their bytes' hashes, rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmalign.evaluation.benchmarks.answer_files import read_rows
from vlmalign.evaluation.benchmarks.logs import read_log
from vlmalign.records import DataError
from vlmalign.records.hashing import sha256_file
from vlmalign.records.manifest import read_manifest

TABLES = (".csv", ".tsv")


@dataclass(frozen=True)
class PredictionFile:
    """A file or a record folder that predictions were read from.

    Attributes:
        name: its own name; where it lies is the machine's business.
        sha256: of its bytes; of a record folder that of its records, as its manifest says it.
        rows: rows of a table or of JSON lines, entries of an array or of an object, records of a folder; None
            where it has none of these, as an object of lists.
    """

    name: str
    sha256: str
    rows: int | None

    def to_dict(self) -> dict[str, Any]:
        """The form in which the JSON file holds it."""
        return dict(vars(self))


def prediction_file(path: Path) -> PredictionFile:
    """Name, hash and size of a file that was read.

    Example:
        >>> import tempfile; path = Path(tempfile.mkdtemp()) / "log.jsonl"
        >>> _ = path.write_text('{"id": 1}')
        >>> found = prediction_file(path)
        >>> found.name, found.sha256[:8], found.rows
        ('log.jsonl', '354aaef7', 1)
    """
    if path.is_dir():
        manifest = read_manifest(path)
        return PredictionFile(path.resolve().name, manifest.records_sha256, manifest.counts.get("records"))
    return PredictionFile(path.name, sha256_file(path), _rows(path))


def prediction_files(paths: Sequence[Path]) -> tuple[PredictionFile, ...]:
    """The same of several, in their order."""
    return tuple(map(prediction_file, paths))


def _rows(path: Path) -> int | None:
    try:
        if path.suffix.lower() in TABLES:
            return len(read_rows(path))
        rows = read_log(path, damaged="skip").rows
        if len(rows) == 1 and path.suffix.lower() == ".json":
            rows = read_rows(path)  # a single object around many predictions has as many rows
    except DataError:  # an adapter has read it in a form of its own
        return None
    return None if any(isinstance(row.get("prediction"), list) for row in rows) else len(rows)
