"""Reading a dataset folder: `records.jsonl`, `images/` and `manifest.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image
from pydantic import ValidationError

from vlmalign.records.base import Record
from vlmalign.records.decoding import UndecodableError, decode
from vlmalign.records.errors import DataError
from vlmalign.records.hashing import sha256_file
from vlmalign.records.id_set import IdSet
from vlmalign.records.image import ImageRef
from vlmalign.records.manifest import KINDS, RECORDS, Manifest, read_manifest

R = TypeVar("R", bound=Record)


def parse_line(line: str | bytes, record_type: type[R], *, file: Path, number: int) -> R:
    """Turn one line into a record, or raise a DataError that names file, line, record and field."""
    try:
        return record_type.model_validate_json(line.rstrip())
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            first["msg"].removeprefix("Value error, "),
            "Restore the file, or build the folder again with --overwrite.",
            file=file,
            line=number,
            record=_id_of(line),
            field=".".join(str(part) for part in first["loc"]) or None,
        ) from None


def _id_of(line: str | bytes) -> str | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value.get("id") if isinstance(value, dict) else None


def duplicate_id(record: str, *, file: Path, number: int) -> DataError:
    """The error of an id that an earlier line has, which is looked for now: only ids are kept while reading."""
    with open(file, "rb") as lines:
        first = next((k for k, line in enumerate(lines, start=1) if _id_of(line) == record), number)
    return DataError(
        f"duplicate id, first used on line {first}",
        "Give each record its own id.",
        file=file,
        line=number,
        record=record,
        field="id",
    )


def load_image(path: str | Path, *, record: str | None = None) -> Image.Image:
    """Decode an image completely, as RGB or greyscale.

    Args:
        path: the file.
        record: id of the record that refers to it, for the error.

    Raises:
        DataError: the file is missing, truncated or not an image of a common format.
    """
    try:
        image = decode(path)
        return image if image.mode in ("RGB", "L") else image.convert("RGB")
    except FileNotFoundError:
        raise DataError(
            "the image file is missing", "Restore the file or drop its record.", file=path, record=record
        ) from None
    except UndecodableError as error:
        raise DataError(
            f"the image cannot be decoded ({error})",
            "Fetch the file again or remove it.",
            file=path,
            record=record,
        ) from None


class RecordFolder(Generic[R]):
    """A complete dataset folder, opened for reading.

    Iterating yields the records in file order; of each only 32 bytes of its id stay in memory. An iteration that
    reaches the end has read the very bytes that the manifest describes.

    Args:
        folder: the dataset folder.
        record_type: the type expected, e.g. `Case`.

    Raises:
        DataError: the folder is missing or incomplete, or holds another kind of record; on iterating: a line
            is malformed, an id is used twice, or the file is not the one that the manifest describes.

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
        if not file.is_file():
            raise DataError("records.jsonl is missing", "Build the folder again with --overwrite.", file=self.path)
        digest, seen, number = hashlib.sha256(), IdSet(), 0
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                digest.update(line)
                record = parse_line(line, self.record_type, file=file, number=number)
                if not seen.add(record.id):
                    raise duplicate_id(record.id, file=file, number=number)
                yield record
        if digest.hexdigest() != self.manifest.records_sha256:
            raise DataError(
                f"the file was changed after it was built ({number} records, the manifest counts {len(self)})",
                "Restore the file, or build the folder again with --overwrite.",
                file=file,
            )

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

    def image(self, ref: ImageRef, *, verify: bool = False, record: str | None = None) -> Image.Image:
        """Decode an image; with `verify`, check its bytes against the recorded SHA-256 first.

        An error names `record`, the id of the record that refers to the image.
        """
        path = self.resolve(ref)
        if verify and path.is_file() and sha256_file(path) != ref.sha256:
            raise DataError(
                "the file's SHA-256 differs from the record's",
                "Restore the file or build the folder again.",
                file=path,
                record=record,
                field="sha256",
            )
        return load_image(path, record=record)


def read_records(folder: str | Path, record_type: type[R]) -> list[R]:
    """All records of a folder, as a list."""
    return list(RecordFolder(folder, record_type))
