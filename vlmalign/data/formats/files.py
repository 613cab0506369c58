"""Foreign files, read and written row by row: JSON lines, JSON arrays, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmalign.data.formats.row import Container, Row, Spot
from vlmalign.records import DataError

SUFFIXES = (".jsonl", ".json", ".parquet")
BLOCK = 1 << 20  # characters of a JSON array read at a time
ROWS = 64  # rows of a Parquet file held at a time: they carry their images


def row_files(path: Path) -> list[Path]:
    """The file itself, or a folder's files of rows in order of their names.

    Raises:
        DataError: there is none, or they are of several kinds.
    """
    if path.is_file():
        if path.suffix not in SUFFIXES:
            rule = f"files of rows end in {', '.join(SUFFIXES)}; this one ends in {path.suffix!r}"
            raise DataError(rule, "Rename it, or name another.", file=path)
        return [path]
    if not path.is_dir():
        raise DataError("no such file or folder", "Check the path.", file=path)
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.name not in BESIDE)
    kinds = sorted({file.suffix for file in files})
    if len(kinds) != 1:
        rule = (
            f"the folder holds {' and '.join(kinds)} files" if kinds else f"no {', '.join(SUFFIXES)} file is here"
        )
        raise DataError(rule, "Name the file of rows itself.", file=path)
    return files


BESIDE = ("dataset_info.json", "conversion.json", "dataset_infos.json")


def read_rows(files: Iterable[Path]) -> Iterator[tuple[Spot, Row]]:
    """Rows of files in order, each with its place.

    Raises:
        DataError: a line, an element or a file that cannot be read.
    """
    for file in files:
        reader = {".jsonl": _json_lines, ".json": _json_array, ".parquet": _parquet}[file.suffix]
        for number, row in enumerate(reader(file), start=1):
            spot = Spot(file, number)
            if not isinstance(row, dict):
                raise spot.error(None, f"a row is a mapping of fields; this is a {type(row).__name__}")
            yield spot, row


def _json_lines(file: Path) -> Iterator[Any]:
    with open(file, "rb") as lines:
        number = 0
        for line in lines:
            if not line.strip():
                continue
            number += 1
            try:
                yield json.loads(line)
            except ValueError as error:
                raise Spot(file, number).error(None, f"the line is not valid JSON ({error})", RESTORE) from None


RESTORE = "Restore the file, or correct it there."


def _json_array(file: Path) -> Iterator[Any]:
    """Elements of a top-level array, one at a time; a file of JSON lines with the wrong suffix is read as such."""
    decode = json.JSONDecoder().raw_decode
    with open(file, encoding="utf-8-sig") as text:
        buffer = text.read(BLOCK).lstrip()
        if buffer.startswith("{"):
            yield from _json_lines(file)
            return
        if not buffer.startswith("["):
            raise Spot(file, 1).error(None, "the file is no JSON array of rows", RESTORE)
        buffer, number = buffer[1:].lstrip(), 0
        while True:
            try:
                if buffer.startswith("]"):
                    return
                value, end = decode(buffer)
                if end == len(buffer):
                    raise ValueError("the element may go on")
            except ValueError as error:
                more = text.read(max(BLOCK, len(buffer)))
                if not more:
                    raise Spot(file, number + 1).error(None, f"not valid JSON ({error})", RESTORE) from None
                buffer = (buffer + more).lstrip()
                continue
            number += 1
            yield value
            buffer = buffer[end:].lstrip()
            if not buffer:
                buffer = text.read(BLOCK).lstrip()
            if buffer.startswith(","):
                buffer = buffer[1:].lstrip()
            elif not buffer.startswith("]"):
                raise Spot(file, number).error(None, "no comma stands after the row", RESTORE)


def _parquet(file: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=ROWS):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"the Parquet file cannot be read ({error})", RESTORE, file=file) from None


def write_rows(rows: Iterable[Row], path: Path, container: Container, *, schema: Any = None) -> int:
    """Write rows one after the other; how many there were.

    Args:
        rows: each a mapping that JSON (or the schema) can hold.
        path: the file.
        container: how.
        schema: of a Parquet file.
    """
    if container == "parquet":
        return _write_parquet(rows, path, schema)
    number = 0
    first, between, last = ("[\n", ",\n", "\n]\n") if container == "json" else ("", "\n", "\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(first)
        for number, row in enumerate(rows, start=1):
            file.write(between * (number > 1) + json.dumps(row, ensure_ascii=False))
        file.write(last if number or container == "json" else "")
    return number


def _write_parquet(rows: Iterable[Row], path: Path, schema: Any) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batches(rows):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            number += len(batch)
    return number


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def parquet_schema(
    rows: Iterable[Row], image_fields: Iterable[str], known: Mapping[str, Any] | None = None
) -> Any:
    """Arrow schema of rows with the `datasets` library's Image feature for images.

    Args:
        rows: all of them, images without their bytes.
        image_fields: columns that hold an image or a list of images.
        known: `datasets` features of columns whose type is fixed.

    Raises:
        DataError: a column whose values have no common type.
    """
    import datasets
    import pyarrow as pa

    schema = pa.schema([])
    for batch in _batches(rows):
        for name in dict.fromkeys(name for row in batch for name in row):
            try:
                column = pa.array([row.get(name) for row in batch])
                found = pa.schema([(name, column.type)])
                schema = pa.unify_schemas([schema, found], promote_options="permissive")
            except pa.ArrowException as error:
                raise DataError(
                    f"the values of the column have several types ({error}), which Parquet cannot hold",
                    f"Choose a JSON format, or leave the field out with --drop {name} when it is read.",
                    field=name,
                ) from None
    names: dict[str, Any] = dict(known or {})
    for name, kind in zip(schema.names, schema.types, strict=True):
        if name in image_fields:
            one = datasets.Image()
            names[name] = datasets.List(one) if pa.types.is_list(kind) else one
        elif name not in names:
            names[name] = datasets.Features.from_arrow_schema(pa.schema([(name, _typed(kind))]))[name]
    return datasets.Features(names).arrow_schema


def _typed(kind: Any) -> Any:
    """The type with text wherever nothing is known, as all values are null."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_typed(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _typed(field.type)) for field in kind])
    return kind
