"""Readers' files as they come back: JSON or CSV of the form, a filled-in table, or a REDCap export."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from vlmalign.reader_study.answer_columns import FORMAT, WHEN, WHO, answer_columns, sides
from vlmalign.reader_study.study import PublicStudy, Questions, Reading
from vlmalign.records.base import Part

Guess = Literal["left", "right", "yes", "no", "cannot_tell"]
GUESSES: dict[int, tuple[Guess, ...]] = {2: ("left", "right", "cannot_tell"), 1: ("yes", "no", "cannot_tell")}
UNREADABLE = "unreadable"
NO_FORMULA = re.compile(r"^'(?=\s*[=+\-@])")  # what the form writes before a comment that looks like one


class Answer(Part):
    """What a reader answered to one reading. None is 'not answered'."""

    reading: str
    preference: int | None = None
    guess: Guess | None = None
    comment: str = ""
    checked: bool = Field(False, description="every error is marked: without it, no mark is no statement")
    ratings: dict[str, tuple[int | None, ...]] = Field(default_factory=dict)
    errors: tuple[tuple[int, ...], ...] = Field((), description="of each sentence: 0 none, 1 minor, 2 major")
    seconds: float | None = Field(None, ge=0)
    visits: int | None = Field(None, ge=0)
    first_shown: str | None = None
    answered: str | None = Field(None, description="when the last question was answered, by the reader's clock")

    @field_validator("preference", "ratings", "errors", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any) -> Any:
        """True is no 1: a file that says so was not saved by the form."""
        found = list(value.values()) if isinstance(value, dict) else [value]
        while found:
            one = found.pop()
            if isinstance(one, bool):
                raise ValueError(f"{one} is no number: expected e.g. 1")
            found += one if isinstance(one, (list, tuple)) else ()
        return value

    @property
    def empty(self) -> bool:
        """Whether no question was answered; there may be a comment, or marks that nobody said were all."""
        rated = any(value is not None for values in self.ratings.values() for value in values)
        return self.preference is None and self.guess is None and not self.checked and not rated

    @property
    def blank(self) -> bool:
        """Whether nothing was said at all."""
        return self.empty and not self.comment.strip() and not any(any(marks) for marks in self.errors)


@dataclass(frozen=True)
class Problem:
    """Something that a file must not have, with what it was about, so that nothing is lost."""

    file: str
    kind: str
    what: str
    line: int | None = None
    content: Any = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.what}"


@dataclass(frozen=True)
class Given:
    """One answer with where it stood and what it claims to belong to."""

    file: str
    line: int
    study: str
    reader: str
    version: str
    answer: Answer
    content: Any = None


@dataclass
class AnswerFile:
    """A file's answers, and what could not be read."""

    given: list[Given] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_answer_file(path: str | Path, public: PublicStudy) -> AnswerFile:
    """Read one file of answers; nothing is raised for its content, every fault is a problem in the result."""
    path, result = Path(path), AnswerFile()
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        result.problems.append(Problem(str(path), UNREADABLE, "not a text in UTF-8: save the file as such"))
        return result
    if "\0" in text:
        result.problems.append(Problem(str(path), UNREADABLE, "the file has NUL bytes: it is damaged"))
        return result
    if text.lstrip().startswith(("{", "[")):
        _read_json(str(path), text, result)
    else:
        _read_csv(str(path), text, public, result)
    return result


def _read_json(file: str, text: str, result: AnswerFile) -> None:
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise ValueError(f"format is {found['format']!r}, expected {FORMAT!r}")
        study, reader, version = (str(found[name]) for name in ("study", "reader", "version"))
        answers = list(found["answers"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"no answers of a reader's form ({type(error).__name__}: {error})"
        result.problems.append(Problem(file, UNREADABLE, what))
        return
    for number, content in enumerate(answers, start=1):
        try:
            answer = Answer.model_validate(content)
            result.given.append(Given(file, number, study, reader, version, answer, content))
        except ValidationError as error:
            result.problems.append(_invalid(file, number, error, content))


def _invalid(file: str, line: int, error: ValidationError, content: Any) -> Problem:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return Problem(file, "invalid_answer", f"{where}: {first['msg']}", line, content)


def _read_csv(file: str, text: str, public: PublicStudy, result: AnswerFile) -> None:
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)  # spreadsheets of many countries write semicolons
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        result.problems.append(Problem(file, UNREADABLE, f"not a CSV file ({error})"))
        return
    columns = list(rows[0]) if rows else []
    name = "reading" if "reading" in columns else "record_id"
    needed = {name, "study", "reader", "version", *_asked(public.questions)}
    if missing := sorted(needed - set(columns)):
        what = f"the columns {', '.join(missing)} are missing" if rows else "the file has no rows"
        result.problems.append(Problem(file, UNREADABLE, what))
        return
    texts = {r.id: r for form in public.forms for r in form.readings}
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            result.problems.append(
                Problem(file, "invalid_answer", "the row has too many or too few cells", line, row)
            )
            continue
        if not any(
            (row.get(c) or "").strip() for c in [*_asked(public.questions), *_said_aside(public.questions)]
        ):
            continue  # an empty row of a table: missing, which is counted later
        try:
            answer = _answer_of_row(row, name, public.questions, texts.get(row[name].strip()))
            study, reader, version = (row[c].strip() for c in ("study", "reader", "version"))
            result.given.append(Given(file, line, study, reader, version, answer, row))
        except ValidationError as error:
            result.problems.append(_invalid(file, line, error, row))
        except ValueError as error:
            result.problems.append(Problem(file, "invalid_answer", str(error), line, row))


def _said_aside(questions: Questions) -> list[str]:
    return ["comment", *(f"{level}_{side}" for level in ("minor", "major") for side in sides(questions))]


def _asked(questions: Questions) -> list[str]:
    left_out = {*WHO, *WHEN, *_said_aside(questions)}
    return [column for column in answer_columns(questions) if column not in left_out]


def _answer_of_row(row: Mapping[str, str], name: str, q: Questions, reading: Reading | None) -> Answer:
    def cell(column: str) -> str | None:
        return (row.get(column) or "").strip() or None

    guess = cell("guess")
    if guess is not None and guess.isdigit():  # REDCap's codes
        codes = GUESSES[q.texts]
        if not 1 <= int(guess) <= len(codes):
            raise ValueError(f"guess is {guess}: expected 1 to {len(codes)}")
        guess = codes[int(guess) - 1]
    errors = []
    shown = reading.texts if q.mark_errors and reading is not None else ()
    for side, text in zip(sides(q), shown, strict=False):
        marks = [0] * len(text)
        for level, value in (("minor", 1), ("major", 2)):
            for number in (row.get(f"{level}_{side}") or "").replace(",", " ").split():
                if not number.isdigit() or not 1 <= int(number) <= len(marks):
                    raise ValueError(f"{level}_{side} names sentence {number!r}, expected 1 to {len(marks)}")
                marks[int(number) - 1] = value
        errors.append(tuple(marks))
    return Answer(
        reading=row[name].strip(),
        preference=cell("preference"),  # type: ignore[arg-type]  # pydantic reads numbers
        guess=guess,  # type: ignore[arg-type]
        comment=NO_FORMULA.sub("", row.get("comment") or ""),
        checked=cell("checked") is not None,
        ratings={c: tuple(cell(f"{c}_{side}") for side in sides(q)) for c in q.criteria},  # type: ignore[misc]
        errors=tuple(errors),
        seconds=cell("seconds"),  # type: ignore[arg-type]
        visits=cell("visits"),  # type: ignore[arg-type]
        first_shown=cell("first_shown"),
        answered=cell("answered"),
    )


def open_questions(answer: Answer, kind: str, q: Questions) -> list[str]:
    """The questions of a reading that were left open, by their columns.

    Example:
        >>> asked = Questions(texts=2, preference=3, criteria=("correctness",), mark_errors=False, comment=False)
        >>> open_questions(Answer(reading="r", preference=1, ratings={"correctness": (4, None)}), "rate", asked)
        ['correctness_right']
    """
    if kind == "guess":
        return [] if answer.guess is not None else ["guess"]
    found = ["preference"] if q.preference and answer.preference is None else []
    for name in q.criteria:
        values = answer.ratings.get(name, (None,) * q.texts)
        found += [f"{name}_{side}" for side, value in zip(sides(q), values, strict=False) if value is None]
    return found + ["checked"] * (q.mark_errors and not answer.checked)


def range_problem(answer: Answer, reading: Reading, q: Questions) -> str | None:
    """What of an answer is not among the options, in words; None where all of it is."""
    steps = q.preference or 0
    if answer.preference is not None and not 1 <= answer.preference <= steps:
        return f"preference is {answer.preference}, expected 1 to {steps}"
    for name, values in answer.ratings.items():
        if name not in q.criteria or len(values) != q.texts:
            return f"rating {name!r} has {len(values)} values: expected {q.texts} of each of {q.criteria}"
        if wrong := [v for v in values if v is not None and not 1 <= v <= 5]:
            return f"{name} is {wrong[0]}, expected 1 to 5"
    if answer.errors and [len(marks) for marks in answer.errors] != [len(text) for text in reading.texts]:
        return "the marks are of other sentences than those shown"
    if any(mark not in (0, 1, 2) for marks in answer.errors for mark in marks):
        return "a mark is not 0, 1 or 2"
    if answer.guess is not None and answer.guess not in GUESSES[q.texts]:
        return f"guess is {answer.guess!r}, expected {', '.join(GUESSES[q.texts])}"
    return None
