"""Log files of other projects as rows: JSON arrays and JSON lines, with damage named and never read as data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmalign.evaluation.benchmarks.protocol import Option
from vlmalign.records import DataError

#: option of every adapter that reads logs
DAMAGED = Option("refuse", "of a damaged file, refuse it or skip what is damaged", ("refuse", "skip"))
NUL_RUN = re.compile(rb"\x00+")
#: how files begin that are no text at all -> what they are, and what to do
FOREIGN = {
    b"\x1f\x8b": ("compressed with gzip", "Unpack it first: gunzip FILE."),
    b"PK\x03\x04": ("a ZIP archive or a spreadsheet", "Unpack it first, or save the sheet as .tsv."),
    b"\xff\xfe": ("UTF-16 text", "Save it as UTF-8."),
    b"\xfe\xff": ("UTF-16 text", "Save it as UTF-8."),
    b"PAR1": ("a Parquet file", "Save it as .jsonl."),
}


@dataclass(frozen=True)
class Log:
    """What a log file holds.

    Attributes:
        file: where it lies.
        rows: its records; of a single JSON object, that object alone.
        numbers: of each row its 1-based line (JSON lines) or its place in the array.
        damage: what was damaged and passed over, in words; empty where nothing was.
    """

    file: Path
    rows: list[dict[str, Any]]
    numbers: list[int]
    damage: str = ""


def read_log(file: str | Path, *, damaged: str = "refuse") -> Log:
    """Read a JSON array, a JSON object, or JSON lines.

    Args:
        file: the log.
        damaged: `refuse` a file with NUL bytes, or `skip`: keep the records that survive whole.

    Raises:
        DataError: it is missing, empty, no UTF-8, no JSON, not made of objects, or damaged.

    Example:
        >>> import tempfile; path = Path(tempfile.mkdtemp()) / "log.jsonl"
        >>> _ = path.write_text('[{"a": 1}, {"a": 2}]')
        >>> read_log(path).rows
        [{'a': 1}, {'a': 2}]
        >>> _ = path.write_bytes(bytes(20) + b' "x": 3}, {"a": 4}]')
        >>> read_log(path, damaged="skip").rows
        [{'a': 4}]
    """
    file = Path(file)
    if file.is_dir():
        raise DataError("it is a folder, not a log file", "Name the file.", file=file)
    data = file.read_bytes()
    _refuse_foreign(file, data)
    holes = [match.span() for match in NUL_RUN.finditer(data)]
    if holes and damaged != "skip":
        raise DataError(
            f"{_ranges(holes)} NUL: the file is damaged",
            "Restore the file, or read the records that survive with --set damaged=skip.",
            file=file,
        )
    if holes:
        return _surviving(file, data, holes)
    text = _decoded(file, data)
    if not text.strip():
        raise DataError("the file is empty", "Give a file with predictions.", file=file)
    rows, numbers = _rows(file, text)
    for number, row in zip(numbers, rows, strict=True):
        if not isinstance(row, dict):
            raise DataError(
                f"it is {str(row)[:40]!r}, expected an object", "Give one object each.", file=file, line=number
            )
    return Log(file, rows, numbers)


def read_text(file: str | Path) -> str:
    """A text file as it is, without a byte order mark.

    Raises:
        DataError: a folder, damaged by NUL bytes, no text, or no UTF-8.
    """
    file = Path(file)
    if file.is_dir():
        raise DataError("it is a folder, not a file", "Name the file.", file=file)
    data = file.read_bytes()
    _refuse_foreign(file, data)
    if b"\0" in data:
        first = data.index(0)
        raise DataError(f"it holds {data.count(0)} NUL bytes, the first at byte {first}: it is damaged",
                        "Get the file again; what is left of it is not the whole.",
                        file=file, line=data[:first].count(b"\n") + 1)  # fmt: skip
    return _decoded(file, data)


def _refuse_foreign(file: Path, data: bytes) -> None:
    for start, (what, remedy) in FOREIGN.items():
        if data.startswith(start):
            raise DataError(f"it is {what}, which is not read", remedy, file=file)


def _decoded(file: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} is no UTF-8", "Restore the file, or save it as UTF-8.", file=file
        ) from None


def _rows(file: Path, text: str) -> tuple[list[Any], list[int]]:
    try:
        whole = _parsed(file, text)
    except json.JSONDecodeError as error:
        # not splitlines: a text may hold U+2028 and other line ends that are none in JSON
        lines = [(k, line) for k, line in enumerate(text.split("\n"), start=1) if line.strip()]
        if text.lstrip().startswith("[") or len(lines) == 1:
            raise _no_json(file, error.lineno, error.msg) from None
        rows = []
        for number, line in lines:
            try:
                rows.append(_parsed(file, line, number))
            except json.JSONDecodeError as wrong:
                raise _no_json(file, number, wrong.msg) from None
        return rows, [number for number, _ in lines]
    if isinstance(whole, list):
        return whole, list(range(1, len(whole) + 1))
    return [whole], [1]


def _parsed(file: Path, text: str, line: int | None = None) -> Any:
    """JSON; what Python's reader gives up on (depth, thousands of digits) names the file, too."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError) as error:
        why = (
            "it is nested too deeply" if isinstance(error, RecursionError) else "a number has thousands of digits"
        )
        raise DataError(why, "Restore the file.", file=file, line=line) from None


def _no_json(file: Path, line: int, message: str) -> DataError:
    return DataError(
        f"it is not JSON ({message})", "Restore the file: it may have been cut off.", file=file, line=line
    )


def _ranges(holes: list[tuple[int, int]]) -> str:
    shown = ", ".join(f"{start:,} to {end - 1:,}" for start, end in holes[:3])
    more = f" and {len(holes) - 3} more ranges" if len(holes) > 3 else ""
    return f"bytes {shown}{more} ({sum(end - start for start, end in holes):,} bytes) are"


def _surviving(file: Path, data: bytes, holes: list[tuple[int, int]]) -> Log:
    """The whole records that no hole touches; numbered from 1 among the survivors."""
    edges = [0, *(edge for hole in holes for edge in hole), len(data)]
    pieces = [data[a:b].decode("utf-8", errors="replace") for a, b in zip(edges[::2], edges[1::2], strict=True)]
    rows = [row for piece in pieces for row in _objects(piece)]
    return Log(
        file,
        rows,
        list(range(1, len(rows) + 1)),
        f"{file.name}: {_ranges(holes)} NUL; {len(rows):,} records survive whole and were read, what lay in "
        "the damaged range is lost and its records are counted as missing where their number is known",
    )


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Whole records of a torn text. An object inside a torn record is none: no record follows it, or its end."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:  # it runs into the damage, with all that is inside of it
            return
        after = text[end : end + 200].lstrip()
        if not after or after[0] in "]{" or (after[0] == "," and after[1:].lstrip()[:1] in ("", "{")):
            yield found
        at = text.find("{", end)


def field(log: Log, k: int, name: str, *aliases: str) -> Any:
    """A field of row k under the first of its names that is there.

    Raises:
        DataError: it has none of them.
    """
    row = log.rows[k]
    for key in (name, *aliases):
        if key in row:
            return row[key]
    known = ", ".join(sorted(row)[:12]) or "no fields at all"
    raise DataError(
        f"the field is missing (there are {known})",
        "Give a log in one of the formats that `vlmalign evaluate list` names.",
        file=log.file,
        line=log.numbers[k],
        field=name,
    )


def number(value: Any) -> float | None:
    """A finite number, also one in a text; None for anything else.

    Example:
        >>> number("4 "), number(float("nan")), number("good"), number(True)
        (4.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):  # an integer of hundreds of digits
        return None
    return found if math.isfinite(found) else None


def require_rows(found: Mapping[str, int], expected: Mapping[str, int]) -> tuple[int, str]:
    """How many items of a benchmark are missing, and the sentence that says so; (0, "") where none is.

    Example:
        >>> require_rows({"general": 180}, {"general": 183, "reasoning": 318})
        (321, '321 of 501 items are missing: general 180 of 183, reasoning 0 of 318')
    """
    short = {name: (found.get(name, 0), n) for name, n in expected.items() if found.get(name, 0) < n}
    missing = sum(n - has for has, n in short.values())
    if not missing:
        return 0, ""
    parts = ", ".join(f"{name} {has} of {n}" for name, (has, n) in short.items())
    return missing, f"{missing} of {sum(expected.values())} items are missing: {parts}"
