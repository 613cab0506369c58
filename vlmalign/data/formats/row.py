"""What passes between a foreign file and our records: a row, its place, and what it says in our terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vlmalign.records import DataError, Record
from vlmalign.records.manifest import Kind

Row = dict[str, Any]
Container = Literal["json", "jsonl", "parquet"]
REMEDY = "Correct the row, or pass --on-bad skip to leave such rows out and list them."


class Spot(NamedTuple):
    """A row of a file, counted from 1."""

    file: Path
    number: int

    def error(self, field: str | None, rule: str, remedy: str = REMEDY) -> DataError:
        """An error that names the file, the row and the field."""
        return DataError(rule, remedy, file=self.file, record=f"row {self.number}", field=field)

    def get(self, row: Mapping[str, Any], field: str, kind: type | tuple[type, ...] = str) -> Any:
        """A field that must be there, of the right type.

        Raises:
            DataError: it is missing, or of another type.
        """
        if row.get(field) is None:
            raise self.error(field, "the field is missing")
        value = row[field]
        if not isinstance(value, kind) or isinstance(value, bool) and kind is int:
            kinds = kind if isinstance(kind, tuple) else (kind,)
            wanted = " or ".join(one.__name__ for one in kinds)
            raise self.error(field, f"got {_short(value)}, a {type(value).__name__}; expected {wanted}")
        return value


@dataclass(frozen=True)
class Read:
    """What a row says.

    Attributes:
        fields: of our record, without its id, case, group, split and images.
        images: as the row names them: paths, base64, or bytes.
        rest: fields that our record has no place for; kept in `extra` under the format's name.
        id: the row's own, if it has one.
    """

    fields: Row
    images: Sequence[Any] = ()
    rest: Row = field(default_factory=dict)
    id: str | int | None = None


@dataclass(frozen=True)
class LeftOut:
    """A sound row that is no pair: a tie, a video. It is counted under its reason, and listed."""

    reason: str


class Unfit(ValueError):  # noqa: N818  # a state of one record, not a fault
    """A record that a format cannot hold."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(rule)
        self.field = field
        self.rule = rule


class Normalisation(NamedTuple):
    """A difference between a row and the same row after it was read and written again.

    Attributes:
        name: of the difference.
        about: one sentence.
        apply: the row, with this difference made. Its second argument turns an image of the row into the image
            that is written.
    """

    name: str
    about: str
    apply: Callable[[Row, Callable[[Any], Any]], Row]


@dataclass(frozen=True)
class Format:
    """A file format of another toolkit.

    Attributes:
        name: as the command line knows it.
        about: one line.
        kind: which of our records its rows become.
        container: what is written; all three are read.
        read: a row in our terms.
        write: a record as a row; arguments are the record, its images as the file holds them, and the rest that
            was kept when the record came from this format. Raises `Unfit`.
        holds: fields of our record, beside its texts and images, that a row can say.
        normalisations: all differences between a row and itself after reading and writing.
        id_field: the row's id, where it has one.
        image_fields: columns of a Parquet file that hold images.
        beside: further files of a written folder, by name.
    """

    name: str
    about: str
    kind: Kind
    container: Container
    read: Callable[[Row, Spot], Read | LeftOut]
    write: Callable[[Any, list[Any], Row], Row]
    holds: frozenset[str] = frozenset()
    normalisations: tuple[Normalisation, ...] = ()
    id_field: str | None = None
    image_fields: tuple[str, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)

    def normalise(self, row: Mapping[str, Any], place: Callable[[Any], Any]) -> Row:
        """The row as it comes back after `read` and `write`, by the listed normalisations.

        Args:
            row: of this format.
            place: what an image of the row becomes: its new path, or its bytes.
        """
        result = dict(row)
        for one in self.normalisations:
            result = one.apply(result, place)
        return result

    def own_id(self, record: Record, rest: Mapping[str, Any]) -> Row:
        """The id field of a row: as it was, or our id; a row that had none gets none."""
        assert self.id_field is not None
        value = rest.get(self.id_field, record.id) if self.id_field in rest else record.id
        return {} if value is None else {self.id_field: value}


def rest_of(row: Mapping[str, Any], used: Sequence[str]) -> Row:
    """What a reader has not used; null is as absent."""
    return {name: value for name, value in row.items() if name not in used and value is not None}


def _without_nulls(row: Row, place: Callable[[Any], Any]) -> Row:
    return {name: value for name, value in row.items() if value is not None}


NULLS = Normalisation("nulls", "a field that is null is as an absent one", _without_nulls)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:36] + " ..."
