"""MMBench: CircularEval, in which a question is answered only if it is under every rotation of its options."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmalign.evaluation.benchmarks.answer_files import read_answered
from vlmalign.evaluation.benchmarks.logs import number
from vlmalign.evaluation.benchmarks.marks import ACCURACY_NOTE, ClosedItem, Figures, accuracy_of, unread_note
from vlmalign.evaluation.benchmarks.option_letters import ladder, read_letter
from vlmalign.evaluation.benchmarks.protocol import (
    SCORED,
    UNPARSED,
    Benchmark,
    BenchmarkResult,
    Option,
    Table,
    count_states,
)
from vlmalign.records import DataError

ROTATION = 1_000_000
LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True, kw_only=True)
class RotatedItem(ClosedItem):
    """One row: a question under one rotation of its options.

    Attributes:
        question: the rows' index modulo 1,000,000.
        rotation: 0 for the options as they were written.
        expected: rotations that the question has; 1 where an option speaks of the labels ("both A and B").
        rule: the step of the reader that found the letter.
    """

    question: int
    rotation: int
    expected: int
    rule: str = ""


def read(files: Sequence[Path], extraction: str = "ladder") -> list[RotatedItem]:
    """Rows of the published .tsv with a column `prediction`: index, A, B, ..., answer, category, l2-category,
    split.

    Raises:
        DataError: an index is no number, or the right answer is not one of the options.
    """
    items = []
    for row in read_answered(files, truth=("answer",), ids=("index", "id")):
        options = {letter: str(text) for letter in LETTERS if (text := row.get(letter)) not in (None, "nan")}
        truth = str(row.need("answer")).strip()
        place = number(row.id)
        if place is None or place < 0 or not place.is_integer():
            raise DataError(f"the index is {row.id!r}, expected a whole number", "Give the published index.",
                            file=row.file, record=row.id, field="index")  # fmt: skip
        index = int(place)
        if truth not in options:
            raise DataError(f"the answer is {truth!r}, the options are {', '.join(options) or 'none'}",
                            "Correct the row.", file=row.file, record=row.id, field="answer")  # fmt: skip
        said = row.text()
        choice = ladder(said, options) if extraction == "ladder" else read_letter(said, tuple(options))
        subsets = [str(name) for name in (row.get("split"), row.get("l2-category"), row.get("category")) if name]
        items.append(RotatedItem(
            row.id, str(row.get("image_id") or index % ROTATION), tuple(dict.fromkeys(subsets)), choice.state,
            truth=truth, chosen=choice.letter, options=tuple(options), question=index % ROTATION,
            rotation=index // ROTATION, expected=1 if speaks_of_labels(options.values()) else len(options),
            rule=choice.rule,
        ))  # fmt: skip
    return items


def speaks_of_labels(options: Iterable[str]) -> bool:
    """Whether an option names others by their labels, so that the options cannot be rotated.

    Example:
        >>> speaks_of_labels(["a dog", "Both A and B"]), speaks_of_labels(["vitamin A", "a cat"])
        (True, False)
    """
    label = r"\b[A-J]\b"
    pattern = re.compile(rf"{label}\s*(?:,|and|or|&)\s*{label}|^\W*{label}\W*$|\bneither {label}|\bboth {label}")
    return any(pattern.search(str(option)) for option in options)


def circular(rows: Sequence[RotatedItem]) -> float | None:
    """1 if every rotation is right, 0 if one is wrong, None while that is open: one is unread or not there.

    Example:
        >>> rows = [RotatedItem(str(k), 1, truth="A", chosen=c, question=1, rotation=k, expected=2)
        ...         for k, c in enumerate("AA")]
        >>> circular(rows), circular(rows[:1])
        (1.0, None)
    """
    hits = [row.hit for row in rows]
    if 0.0 in hits:
        return 0.0
    return None if None in hits or len({row.rotation for row in rows}) < rows[0].expected else 1.0


def score(items: Sequence[RotatedItem]) -> BenchmarkResult:
    """CircularEval, with the vanilla figures (the first rotation; all rows) beside it."""
    names = ["all", *dict.fromkeys(name for item in items for name in item.subsets)]
    rows, vanilla = {}, {}
    for name in names:
        chosen = [item for item in items if name == "all" or name in item.subsets]
        rows[name] = _circular_figures(chosen)
        first = [item for item in chosen if item.rotation == 0]
        vanilla[name] = _prefixed("first", first) | _prefixed("every", chosen)
    open_groups = [g for g in _groups(items) if circular(g) is None]
    lacking = sum(len({row.rotation for row in g}) < g[0].expected for g in _groups(items))
    guessed = sum(1 / len(item.options) for item in items if item.state == UNPARSED)
    notes = [
        f"{len(_groups(items))} questions in {len(items)} rows; {len(open_groups)} are neither right nor wrong, "
        f"as a rotation is unread or missing; of {lacking} questions not all rotations are there",
        f"unresolved rows stay so: VLMEvalKit draws an option at random, expected to be right {guessed:.1f} times "
        "here",
    ]
    return BenchmarkResult(
        "mmbench",
        (
            Table("circular", "CircularEval: right under every rotation", rows, ACCURACY_NOTE),
            Table("vanilla", "Vanilla: the first rotation, and every row for itself", vanilla, ACCURACY_NOTE),
        ),
        count_states(items),
        _baselines(items),
        tuple(filter(None, (*notes, unread_note(items)))),
    )


def _groups(items: Sequence[RotatedItem]) -> list[list[RotatedItem]]:
    found: dict[int, list[RotatedItem]] = {}
    for item in items:
        found.setdefault(item.question, []).append(item)
    return list(found.values())


def _circular_figures(items: Sequence[RotatedItem]) -> Figures:
    groups = _groups(items)
    return accuracy_of([circular(group) for group in groups], [group[0].group for group in groups])


def _prefixed(name: str, items: Sequence[RotatedItem]) -> Figures:
    found = accuracy_of([item.hit for item in items], [item.group for item in items])
    return {f"{name}_accuracy": found["accuracy"], f"{name}_accuracy_all": found["accuracy_all"]}


def _baselines(items: Sequence[RotatedItem]) -> Table:
    rows: dict[str, Figures] = {}
    for name, place in (("first option", 0), ("last option", -1)):
        said = [
            RotatedItem(**{**vars(item), "chosen": item.options[place], "state": SCORED}) for item in items
        ]  # fmt: skip
        rows[name] = {"circular": _circular_figures(said)["accuracy"]} | _prefixed("every", said)
    return Table("baselines", "Answers without a look at the image", rows)


ADAPTERS = (
    Benchmark(
        "mmbench",
        "MMBench: options under every rotation",
        "Liu et al., MMBench: Is Your Multi-modal Model an All-around Player?, ECCV 2024 (arXiv:2307.06281)",
        {".tsv, .csv, .jsonl": "index, A, B, ..., answer, category, l2-category, split, prediction"},
        read,
        score,
        {"extraction": Option("ladder", "how an option is read out of an answer: VLMEvalKit's ladder, or our "
        "reader",
                              ("ladder", "strict"))},
    ),
)  # fmt: skip
