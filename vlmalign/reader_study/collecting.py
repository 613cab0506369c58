"""Bring readers' files together and undo the blinding: the one list that records and analysis are made from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from vlmalign.reader_study.answers import Answer, Given, Problem, open_questions, range_problem, read_answer_file
from vlmalign.reader_study.study import Key, PublicStudy, read_key, read_public
from vlmalign.records import DataError
from vlmalign.records.base import Part

TOLD = 20  # kinds of faults in an error
OnBad = Literal["refuse", "skip"]


class Unblinded(Part):
    """One reading, answered or not, with whose texts were shown. Two places: left, then right (or one text)."""

    reading: str
    reader: str
    item: str
    case_id: str
    group_id: str
    kind: Literal["rate", "guess"]
    session: int
    position: int = Field(ge=1, description="screen of the reader's form")
    repeat: bool
    candidates: tuple[str, ...]
    arms: tuple[str, ...]
    words: tuple[int, ...] = Field(description="length of the texts")
    guess_arm: str | None = None
    answer: Answer | None = Field(None, description="None: nothing was said; `empty`: a comment and no answer")

    @property
    def answered(self) -> bool:
        """Whether any question of this reading has an answer."""
        return self.answer is not None and not self.answer.empty

    def preferred(self, steps: int) -> float | None:
        """From -1 (the right one) over 0 (no difference) to 1 (the left one); None where not answered."""
        if self.answer is None or self.answer.preference is None:
            return None
        middle = (steps + 1) / 2
        return (middle - self.answer.preference) / (middle - 1)


@dataclass
class Collected:
    """The readings of all readers who handed in, and everything that is not among them."""

    public: PublicStudy
    key: Key
    rows: list[Unblinded]
    problems: list[Problem]
    counts: Counter[str] = field(default_factory=Counter)
    missing: dict[str, list[str]] = field(default_factory=dict)  # reader -> readings without an answer
    incomplete: dict[str, dict[str, list[str]]] = field(
        default_factory=dict
    )  # reader -> reading -> open questions
    absent: list[str] = field(default_factory=list)  # readers without a file


def collect(
    study: str | Path, files: Sequence[str | Path], *, key: str | Path | None = None, on_bad: OnBad = "refuse"
) -> Collected:
    """Read and check readers' files, and say whose texts each answer was about.

    Faults: `wrong_study`, `unknown_reader`, `other_version`, `edited_id` (no such reading, or another reader's),
    `invalid_answer`, `two_versions` (two different answers to one reading, in one file or two), `unreadable`.
    Equal copies are counted, and so are screens that were still open when an earlier file was saved. Readings
    without an answer are named in `missing`, those of which some questions are open in `incomplete`, readers
    without a file in `absent`.

    Args:
        study: the study folder.
        files: JSON or CSV files of any number of readers.
        key: the key, where it is kept elsewhere.
        on_bad: refuse the whole, naming every fault; or skip: set aside what is faulty (of two versions the later
            answer is used), to be written beside the records.

    Raises:
        DataError: the key does not fit, no file has an answer, or there are faults and they are to be refused.
    """
    public, opened = read_public(study), read_key(study, key)
    problems: list[Problem] = []
    by_reading: dict[str, list[Given]] = defaultdict(list)
    for path in files:
        found = read_answer_file(path, public)
        problems += found.problems
        for given in found.given:
            fault = _fault(given, public, opened)
            if fault is None:
                by_reading[given.answer.reading].append(given)
            else:
                problems.append(Problem(given.file, *fault, given.line, given.content))
    counts: Counter[str] = Counter(files=len(files))
    used = {name: _one_of(given, problems, counts) for name, given in by_reading.items()}
    if problems and on_bad == "refuse":
        raise DataError(
            f"{len(problems)} fault{'s' * (len(problems) != 1)} in readers' files: {_told(problems)}",
            "Correct them, or pass --on-bad skip to set these answers aside in unused.jsonl.",
        )
    if all(answer.empty for answer in used.values()):
        raise DataError("no file has an answer to this study", "Pass the files that readers saved.", file=study)
    return _unblind(public, opened, used, problems, counts)


def _told(problems: Sequence[Problem]) -> str:
    """The faults, those of one kind in one file together."""
    alike: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for problem in problems:
        alike[problem.file, problem.kind].append(problem)
    told = [f"{p[0]}" + (f" (and {len(p) - 1} more of this kind)" if len(p) > 1 else "") for p in alike.values()]
    more = f"; and {len(told) - TOLD} more kinds" if len(told) > TOLD else ""
    return "; ".join(told[:TOLD]) + more


def _fault(given: Given, public: PublicStudy, key: Key) -> tuple[str, str] | None:
    name = given.answer.reading
    if given.study != public.study:
        return "wrong_study", f"the answers are of study {given.study!r}, this is study {public.study!r}"
    form = public.form(given.reader)
    if form is None:
        return "unknown_reader", f"reader {given.reader!r} is not in the study"
    if given.version != form.version:
        return (
            "other_version",
            f"version {given.version!r} of the form of {given.reader!r}, expected {form.version!r}",
        )
    if name not in key.readings:
        return "edited_id", f"reading {name!r} is not in the study: the id was changed"
    if key.readings[name].reader != given.reader:
        return "edited_id", f"reading {name!r} is of reader {key.readings[name].reader!r}, not of {given.reader!r}"
    reading = next(r for r in form.readings if r.id == name)
    wrong = range_problem(given.answer, reading, public.questions)
    return None if wrong is None else ("invalid_answer", f"reading {name!r}: {wrong}")


def _one_of(given: Sequence[Given], problems: list[Problem], counts: Counter[str]) -> Answer:
    """The answer to one reading. Of different ones the latest, and the others are problems."""
    content = [_said(g.answer) for g in given]
    # equal times, or none: the later file
    best = max(range(len(given)), key=lambda i: (not given[i].answer.empty, given[i].answer.answered or "", i))
    said = given[best].answer.comment.strip()
    for i, other in enumerate(given):
        if i == best:
            continue
        if other.answer.empty and not given[best].answer.empty and other.answer.comment.strip() in ("", said):
            counts["open_when_saved"] += 1  # a file that was saved on the way
        elif content[i] == content[best]:
            counts["equal_copies"] += 1
        else:
            there = f"{given[best].file}:{given[best].line}"
            what = f"another answer to reading {other.answer.reading!r} than in {there}, which is the later one"
            problems.append(Problem(other.file, "two_versions", what, other.line, other.content))
    return given[best].answer


def _said(answer: Answer) -> dict[str, object]:
    """What was said, without when: a CSV and a JSON of the same answers are equal."""
    ratings = {name: values for name, values in answer.ratings.items() if any(v is not None for v in values)}
    errors = answer.errors if any(any(marks) for marks in answer.errors) else ()
    return {"p": answer.preference, "g": answer.guess, "r": ratings, "e": errors, "x": answer.checked,
            "c": answer.comment.replace("\r\n", "\n").strip()}  # fmt: skip


def _unblind(
    public: PublicStudy, key: Key, used: dict[str, Answer], problems: list[Problem], counts: Counter[str]
) -> Collected:
    present = {key.readings[name].reader for name in used}
    rows: list[Unblinded] = []
    missing: dict[str, list[str]] = {}
    incomplete: dict[str, dict[str, list[str]]] = {}
    for form in public.forms:
        if form.reader not in present:
            continue
        for position, shown in enumerate(form.readings, start=1):
            reading = key.readings[shown.id]
            item = key.items[reading.item]
            answer = used.get(shown.id)
            if answer is None or answer.empty:
                missing.setdefault(form.reader, []).append(shown.id)
            elif open_ := open_questions(answer, shown.kind, public.questions):
                incomplete.setdefault(form.reader, {})[shown.id] = open_
            rows.append(
                Unblinded(
                    reading=shown.id,
                    reader=form.reader,
                    item=reading.item,
                    case_id=item.case_id,
                    group_id=item.group_id,
                    kind=reading.kind,
                    session=reading.session,
                    position=position,
                    repeat=reading.repeat,
                    candidates=reading.shown,
                    arms=tuple(key.texts[name].arm for name in reading.shown),
                    words=tuple(len("".join(text).split()) for text in shown.texts),
                    guess_arm=key.guess_arm if reading.kind == "guess" else None,
                    answer=None if answer is None or answer.blank else answer,
                )
            )
    counts["readings"] = len(rows)
    counts["answered"] = sum(row.answered for row in rows)
    counts["missing"] = sum(map(len, missing.values()))
    counts["incomplete"] = sum(map(len, incomplete.values()))
    counts.update(f"set_aside:{problem.kind}" for problem in problems)
    absent = [form.reader for form in public.forms if form.reader not in present]
    return Collected(public, key, rows, problems, +counts, missing, incomplete, absent)
