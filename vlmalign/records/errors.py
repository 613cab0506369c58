"""The one error for bad data: it names the file, line, record, field, rule and remedy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any


def ended(text: str) -> str:
    """A text as a sentence that another can follow: with a full stop, unless it asks or exclaims.

    Example:
        >>> ended("the box has no area"), ended("Did you mean 'url'?")
        ('the box has no area.', "Did you mean 'url'?")
    """
    return text if text.endswith(("?", "!")) else text.rstrip(".") + "."


class DataError(ValueError):
    """Data on disk breaks a rule.

    The message always reads ``where: rule. remedy``, and the parts stay available as attributes so
    that `vlmalign data validate` can print them as a table.

    Attributes:
        rule: what is required, with the offending value.
        remedy: what the user can do about it.
        file: the file that breaks the rule.
        line: 1-based line in that file.
        record: id of the record.
        field: dotted name of the field.

    Example:
        >>> print(DataError("the box has no area", "Correct or delete it.", file="a.xml", line=7))
        a.xml:7: the box has no area. Correct or delete it.
    """

    def __init__(
        self,
        rule: str,
        remedy: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        record: str | None = None,
        field: str | None = None,
    ) -> None:
        self.rule = rule
        self.remedy = remedy
        self.file = None if file is None else str(file)
        self.line = line
        self.record = record
        self.field = field
        super().__init__(self._message())

    def __reduce__(self) -> tuple[Any, ...]:
        place = {"file": self.file, "line": self.line, "record": self.record, "field": self.field}
        return partial(DataError, **place), (self.rule, self.remedy)  # type: ignore[arg-type]

    def _message(self) -> str:
        place = "" if self.file is None else self.file
        if self.line is not None:
            place += f":{self.line}"
        parts = [place] if place else []
        if self.record is not None:
            parts.append(f"record {self.record!r}")
        if self.field is not None:
            parts.append(f"field {self.field!r}")
        where = ", ".join(parts)
        text = f"{ended(self.rule)} {self.remedy}"
        return f"{where}: {text}" if where else text
