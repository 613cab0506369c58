"""Reading the tables of datasets: csv or csv.gz with a header, errors by file, line and column."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from vlmalign.records import DataError

LONGEST_CELL = 1_000_000


@dataclass(frozen=True)
class Row:
    """One row of a table, by column, stripped; and where it stands."""

    file: Path
    line: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def get(self, column: str) -> str:
        """The cell, or an empty text where the table has no such column."""
        return self.cells.get(column, "")

    def error(self, rule: str, remedy: str, column: str | None = None) -> DataError:
        """An error that names this row."""
        return DataError(rule, remedy, file=self.file, line=self.line, field=column)


def find_table(folder: Path, *names: str) -> Path:
    """The first of the names that is there, plain or gzipped.

    Raises:
        DataError: none is.
    """
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise DataError(
        f"the folder holds no {' or '.join(names)} (or .gz)",
        "Pass the folder with the dataset's tables.",
        file=folder,
    )


def read_table(path: Path, columns: Collection[str] = ()) -> Iterator[Row]:
    """The rows of a csv file with a header.

    Args:
        path: ends in .gz if it is gzipped.
        columns: what the header must have.

    Raises:
        DataError: missing, not UTF-8, no header, no rows, a column is missing or twice, a row with more or fewer
            cells.
    """
    csv.field_size_limit(LONGEST_CELL)
    try:
        raw = gzip.open(path) if path.suffix == ".gz" else open(path, "rb")
    except OSError as error:
        raise DataError(f"cannot be opened ({error.strerror})", "Check the path.", file=path) from None
    with raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:  # type: ignore[type-var]
        reader = csv.reader(text)
        try:
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header, columns)
            empty = True
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise DataError(
                        f"the row has {len(cells)} cells, the header {len(header)}",
                        "Quote cells that hold a comma.",
                        file=path,
                        line=reader.line_num,
                    )
                empty = False
                yield Row(path, reader.line_num, dict(zip(header, map(str.strip, cells), strict=True)))
            if empty:
                raise DataError(
                    "the table has no rows below its header", "Pass the whole table.", file=path, line=1
                )
        except (UnicodeDecodeError, csv.Error, EOFError, OSError, zlib.error) as error:
            raise DataError(
                f"not a csv file in UTF-8 ({error})", "Fetch it again.", file=path, line=reader.line_num + 1
            ) from None


def _check_header(path: Path, header: list[str], columns: Collection[str]) -> None:
    twice = [name for name in header if header.count(name) > 1 and name]
    if twice:
        raise DataError(f"column {twice[0]!r} is there twice", "Rename one.", file=path, line=1)
    for column in columns:
        if column not in header:
            raise DataError(
                f"column {column!r} is missing; there are {', '.join(header) or 'none'}",
                "Pass the table of this dataset, or correct the name.",
                file=path,
                line=1,
            )
