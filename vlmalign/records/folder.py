"""Reading a dataset folder: `records.jsonl`, `images/` and `manifest.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image, UnidentifiedImageError
from pydantic import ValidationError

from vlmalign.records.base import Record
from vlmalign.records.errors import DataError
from vlmalign.records.hashing import sha256_file
from vlmalign.records.image import ImageRef
from vlmalign.records.manifest import KINDS, RECORDS, Manifest, read_manifest

R = TypeVar("R", bound=Record)


def parse_line(line: str, record_type: type[R], *, file: Path, number: int) -> R:
    """Turn one line into a record, or raise a DataError that names file, line, record and field."""
    try:
        return record_type.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            first["msg"].removeprefix("Value error, "),
            "Correct or delete this line, then run `vlmalign data validate`.",
            file=file,
            line=number,
            record=_id_of(line),
            field=".".join(str(part) for part in first["loc"]) or None,
        ) from None


def _id_of(line: str) -> str | None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    return value.get("id") if isinstance(value, dict) else None


def load_image(path: str | Path) -> Image.Image:
    """Decode an image completely, as RGB or greyscale.

    Raises:
        DataError: the file is missing, truncated or not an image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image if image.mode in ("RGB", "L") else image.convert("RGB")
    except FileNotFoundError:
        raise DataError("the image file is missing", "Restore the file or drop its record.", file=path) from None
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"the image cannot be decoded ({error})", "Fetch the file again or remove it.", file=path
        ) from None


class RecordFolder(Generic[R]):
    """A complete dataset folder, opened for reading.

    Iterating yields the records in file order; nothing is kept in memory.

    Args:
        folder: the dataset folder.
        record_type: the type expected, e.g. `Case`.

    Raises:
        DataError: the folder is missing or incomplete, holds another kind of record, or a line is malformed.

    Example:
        >>> from vlmalign.records import Case
        >>> RecordFolder("/no/such/folder", Case)
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: /no/such/folder: no such folder. Check the path.
    """

    def __init__(self, folder: str | Path, record_type: type[R]) -> None:
        self.path = Path(folder)
        self.manifest: Manifest = read_manifest(self.path)
        self.record_type = record_type
        if KINDS[self.manifest.kind] is not record_type:
            raise DataError(
                f"the folder holds {self.manifest.kind} records, not {record_type.__name__.lower()} records",
                "Pass the folder that an earlier step wrote for this purpose.",
                file=self.path,
            )

    def __len__(self) -> int:
        return self.manifest.counts["records"]

    def __iter__(self) -> Iterator[R]:
        file = self.path / RECORDS
        with open(file, encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield parse_line(line, self.record_type, file=file, number=number)

    @property
    def sha256(self) -> str:
        """Hash of the records, for provenance."""
        return self.manifest.records_sha256

    def resolve(self, ref: ImageRef | str) -> Path:
        """Absolute path of a file of this folder; symbolic links out of the folder are refused."""
        relative = ref if isinstance(ref, str) else ref.path
        path = (self.path / relative).resolve()
        if not path.is_relative_to(self.path.resolve()):
            raise DataError(f"{relative!r} leads out of the dataset folder", "Remove the link.", file=self.path)
        return path

    def image(self, ref: ImageRef, *, verify: bool = False) -> Image.Image:
        """Decode an image; with `verify`, check its bytes against the recorded SHA-256 first."""
        path = self.resolve(ref)
        if verify and path.is_file() and sha256_file(path) != ref.sha256:
            raise DataError(
                "the file's SHA-256 differs from the record's",
                "Restore the file or build the folder again.",
                file=path,
                field="sha256",
            )
        return load_image(path)


def read_records(folder: str | Path, record_type: type[R]) -> list[R]:
    """All records of a folder, as a list."""
    return list(RecordFolder(folder, record_type))
