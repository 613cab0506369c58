"""A table of annotations, read and checked; every error names file, line and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from data_builders.curriculum_config import Attribute, Category, Listed, Number, Table, option_texts
from vlmalign.records import DataError
from vlmalign.records.hashing import pseudonym, sha256_file
from vlmalign.records.image import check_relative
from vlmalign.records.preference import Split


@dataclass(frozen=True)
class Cell:
    """What one cell says of one image.

    Attributes:
        present: names of the items, the value or the band that hold.
        absent: those that do not.
        number: of a number.
    """

    present: tuple[str, ...]
    absent: tuple[str, ...]
    number: float | None = None


@dataclass(frozen=True)
class Row:
    """One image with its annotations; an attribute whose cell is empty is missing from `cells`."""

    id: str
    path: Path
    group_id: str
    split: Split
    cells: Mapping[str, Cell] = field(default_factory=dict)


def read_table(table: Table, attributes: Mapping[str, Attribute]) -> list[Row]:
    """All rows of a table.

    The patient's name is turned into a keyed pseudonym here and goes no further, and neither does an image's file
    name: a row's id is the hash of its image. Without a column of patients this is its group too.

    Raises:
        DataError: a file or column that is missing, an image that comes twice or leaves the folder, a value
            that its attribute does not have, or a number that is none.
    """
    path = Path(table.path)
    if not path.is_file():
        raise DataError("no such file", "Check the path.", file=path, field="table.path")
    key = None if table.key_file is None else _key(Path(table.key_file))
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        _check_columns(path, reader.fieldnames or [], table, attributes)
        rows: dict[str, Row] = {}
        for line, cells in _lines(reader, path):
            row = _row(path, line, cells, table, attributes, key)
            if row.id in rows:
                raise DataError("the image comes a second time", "Keep one line.", file=path, line=line)
            rows[row.id] = row
    if not rows:
        raise DataError("the table has no rows", "Check the file.", file=path)
    return list(rows.values())


def _key(path: Path) -> bytes:
    if not path.is_file() or not path.read_bytes().strip():
        raise DataError(
            "no key is here", "Write a random secret into the file.", file=path, field="table.key_file"
        )
    return path.read_bytes().strip()


def _lines(reader: csv.DictReader[str], path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        for cells in reader:
            if None in cells or None in cells.values():
                rule = "the line has another number of cells than the header"
                raise DataError(rule, "Correct it.", file=path, line=reader.line_num)
            yield reader.line_num, cells
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"not a csv file ({error})", "Correct it.", file=path, line=reader.line_num) from None


def _check_columns(path: Path, columns: object, table: Table, attributes: Mapping[str, Attribute]) -> None:
    there = list(columns) if isinstance(columns, (list, tuple)) else []
    wanted = [table.image, table.group, table.split]
    for attribute in attributes.values():
        wanted += [attribute.column, getattr(attribute, "absent_column", None)]
    for column in wanted:
        if column is not None and column not in there:
            raise DataError(f"there is no column {column!r}", f"The columns are {there}.", file=path, line=1)


def _row(
    path: Path,
    line: int,
    cells: Mapping[str, str],
    table: Table,
    attributes: Mapping[str, Attribute],
    key: bytes | None,
) -> Row:
    def fail(rule: str, remedy: str, column: str) -> DataError:
        return DataError(rule, remedy, file=path, line=line, field=column)

    name = cells[table.image].strip()
    folder = Path(table.images)
    try:
        image = folder / check_relative(name)
    except ValueError as error:
        raise fail(str(error), "Name a file inside the folder.", table.image) from None
    if not image.is_file() or not image.resolve().is_relative_to(folder.resolve()):
        raise fail(f"no image {name!r} in {folder}", "Correct the path.", table.image)
    split = cells[table.split].strip() if table.split else "train"
    if split not in get_args(Split):
        raise fail(f"split is {split!r}", f"Use one of {list(get_args(Split))}.", str(table.split))
    own = sha256_file(image)[:16]
    if table.group is None or key is None:
        group = own
    elif patient := cells[table.group].strip():
        group = pseudonym(patient, key)
    else:
        raise fail("the patient is not named", "Name one, or leave the line out.", table.group)
    read = {}
    for attribute_name, attribute in attributes.items():
        try:
            cell = _cell(attribute, cells)
        except ValueError as error:
            raise fail(
                str(error), "Correct the cell, or add the value to the attribute.", attribute.column
            ) from None
        if cell is not None:
            read[attribute_name] = cell
    return Row(own, image, group, split, read)  # type: ignore[arg-type]


def _cell(attribute: Attribute, cells: Mapping[str, str]) -> Cell | None:
    text = cells[attribute.column].strip()
    if isinstance(attribute, Listed):
        return _listed(attribute, text, cells)
    if not text:
        return None
    options = tuple(option_texts(attribute))
    if isinstance(attribute, Category):
        if text not in options:
            raise ValueError(f"the value {text!r} is none of {list(options)}")
        return Cell((text,), tuple(o for o in options if o != text))
    assert isinstance(attribute, Number)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is no number")
    band = attribute.band(number) if options else None
    return Cell(() if band is None else (band,), tuple(o for o in options if o != band), number)


def _listed(attribute: Listed, text: str, cells: Mapping[str, str]) -> Cell | None:
    if not text and attribute.empty == "missing":
        return None
    present = _names(attribute, text)
    if attribute.absent_column is None:
        absent = tuple(item for item in attribute.items if item not in present)
    else:
        absent = _names(attribute, cells[attribute.absent_column].strip())
    both = [item for item in present if item in absent]
    if both:
        raise ValueError(f"{both[0]!r} is listed as present and as absent")
    return Cell(present, absent)


def _names(attribute: Listed, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(n for part in text.split(attribute.separator) if (n := part.strip())))
    for name in names:
        if name not in attribute.items:
            raise ValueError(f"the item {name!r} is none of {list(attribute.items)}")
    return names
