"""MediConfusion: one question to two images that a model confuses; right only if both are answered rightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from vlmalign.evaluation.benchmarks.answer_files import Answered, read_answered
from vlmalign.evaluation.benchmarks.logs import number
from vlmalign.evaluation.benchmarks.marks import Figures, size_note
from vlmalign.evaluation.benchmarks.option_letters import Choice, alone_among_words, read_letter
from vlmalign.evaluation.benchmarks.protocol import (
    SCORED,
    UNPARSED,
    Benchmark,
    BenchmarkResult,
    Item,
    Option,
    Table,
)
from vlmalign.evaluation.benchmarks.unread import why_unread
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.records import DataError
from vlmalign.records.preference import Dyad

PAIRS = 176


class Side(NamedTuple):
    """One of the two images of a pair.

    Attributes:
        image: its name; other pairs may show it, too.
        truth: A or B.
        theirs: what the benchmark's own rule reads.
        ours: what ours reads.
        labels: categories of the image.
    """

    image: str
    truth: str
    theirs: Choice
    ours: Choice
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PairItem(Item):
    """A question to two images, with both answers."""

    sides: tuple[Side, Side]


def read(files: Sequence[Path], gap: float = 3.0) -> list[PairItem]:
    """The benchmark's `dataset.json` beside a result file, or rows of one image each (`pair`, `correct`, `image`).

    Raises:
        DataError: a pair has not two images, or a right answer is neither A nor B.
    """
    rows = read_answered(files, truth=("im_1_correct", "correct"), predictions=("prediction", "response"),
                         answers=("answer", "text"))  # fmt: skip
    items, halves = [], {}  # type: ignore[var-annotated]
    for row in rows:
        if row.get("im_1_correct") is None:
            halves.setdefault(str(row.need("pair")), []).append(row)
            continue
        if row.prediction is not None and not isinstance(row.prediction, dict):
            raise DataError(f"the answer to a pair is {str(row.prediction)[:40]!r}, expected one to each image",
                            "Give im1 and im2, or a row for each image.",
                            file=row.file, record=row.id)  # fmt: skip
        found = row.prediction or {}
        one, other = (
            _side(row, f"im_{k}", row.get(f"im_{k}_correct"), found.get(f"im{k}", found.get(f"im_{k}")),
                  row.get(f"category_{k}"), gap)
            for k in (1, 2)
        )  # fmt: skip
        items.append(_pair(row.id, one, other))
    for name, both in halves.items():
        if len(both) != 2:
            raise DataError(f"the pair has {len(both)} images", "Give both images of each pair.",
                            file=both[0].file, record=name)  # fmt: skip
        one, other = (
            _side(row, "image", row.need("correct"), row.prediction, row.get("category"), gap) for row in both
        )
        items.append(_pair(name, one, other))
    return items


def _pair(name: str, one: Side, other: Side) -> PairItem:
    states = [side.ours.state for side in (one, other) if side.ours.letter is None]
    return PairItem(name, Dyad(one.image, other.image), (), states[0] if states else SCORED, sides=(one, other))


def _side(row: Answered, column: str, truth: Any, said: Any, labels: Any, gap: float) -> Side:
    if truth not in ("A", "B"):
        raise DataError(f"the right answer is {truth!r}, expected A or B", "Correct the row.",
                        file=row.file, record=row.id)  # fmt: skip
    image = row.get(column, f"{column}_local")
    named = (labels,) if isinstance(labels, str) else tuple(labels or ())
    return Side(f"{row.id}/{column}" if image is None else str(image), truth, *_choices(row, said, gap), named)


def _choices(row: Answered, said: Any, gap: float) -> tuple[Choice, Choice]:
    """Theirs and ours: of a text, or of an entry {A, B, full_answer} with the scores of both options.

    Scores of 10 and 0 are the multiple-choice reader's, which ours reads anew; other scores are a judge's (free
    answers), and there is nothing else to read.
    """
    if not isinstance(said, dict):
        text = None if said is None else str(said)
        return alone_among_words(text), read_letter(text, "AB")
    text = None if said.get("full_answer") is None else str(said["full_answer"])
    if said.get("A") is None or said.get("B") is None:
        return alone_among_words(text), read_letter(text, "AB")
    scores = [number(said[option]) for option in "AB"]
    if None in scores:
        raise DataError(f"the scores of A and B are {said['A']!r} and {said['B']!r}, expected numbers",
                        "Correct the entry.", file=row.file, record=row.id, field="prediction")  # fmt: skip
    a, b = (score or 0.0 for score in scores)
    theirs = Choice(None, why_unread(text) if text is None else UNPARSED, "gap")
    if abs(a - b) >= gap:
        theirs = Choice("A" if a > b else "B", SCORED, "gap")
    by_letter = {a, b} <= {0.0, 10.0} and text is not None
    return theirs, read_letter(text, "AB") if by_letter else theirs


def score(items: Sequence[PairItem]) -> BenchmarkResult:
    """Set, individual, confusion, invalid and precision, in the benchmark's convention and in ours."""
    theirs = [replace(item, sides=_read_as_theirs(item.sides)) for item in items]
    labels = sorted({label for item in items for side in item.sides for label in side.labels})
    by_label = {
        label: _figures(
            [item for item in items if any(label in side.labels for side in item.sides)], all_pairs=True
        )
        for label in labels
    }
    tables = [
        Table("theirs", "The benchmark's reader and denominators", {"all": _figures(theirs, all_pairs=False)},
              "confusion and precision: of pairs with two valid answers, so that an evasive model looks better"),
        Table("ours", "Our reader; every pair in the denominator", {"all": _figures(items, all_pairs=True)},
              "confusion: same choice for both images, of all pairs; undistinguished: same, or one invalid"),
    ]  # fmt: skip
    if by_label:
        tables.append(
            Table("categories", "Our reader, by category", by_label, "pairs of which an image has the label")
        )
    differ = sum(one.ours.letter != one.theirs.letter for item in items for one in item.sides)
    return BenchmarkResult(
        "mediconfusion",
        tuple(tables),
        _count_answers(items),
        _baselines(items),
        (f"counts are of answers, two per pair; {differ} of {2 * len(items)} are read differently by the "
        "benchmark's "
         'rule (it takes the article "A" for the option, and finds nothing in "(A)" or "A)")',
         "drawing at random is expected to reach 25 % set, 50 % individual, 50 % confusion",
         *filter(None, [size_note(len(items), PAIRS, "pairs")])),
    )  # fmt: skip


def _read_as_theirs(sides: tuple[Side, Side]) -> tuple[Side, Side]:
    one, other = sides
    return one._replace(ours=one.theirs), other._replace(ours=other.theirs)


def _figures(items: Sequence[PairItem], *, all_pairs: bool) -> Figures:
    right, same, apart = [], [], []
    for item in items:
        a, b = (side.ours.letter for side in item.sides)
        right.append(float(all(side.ours.letter == side.truth for side in item.sides)))
        valid = a is not None and b is not None
        same.append(float(a == b) if valid else 0.0 if all_pairs else None)
        apart.append(right[-1] if valid and a != b else None)
    pairs = [item.group for item in items]
    sides = [side for item in items for side in item.sides]
    images = [side.image for side in sides]
    found: Figures = {
        "set": cluster_estimate(right, pairs, proportion=True),
        "individual": cluster_estimate([float(s.ours.letter == s.truth) for s in sides], images, proportion=True),
        "confusion": cluster_estimate(same, pairs, proportion=True),
        "invalid": cluster_estimate([float(s.ours.letter is None) for s in sides], images, proportion=True),
        "precision": cluster_estimate(apart, pairs, proportion=True),
    }
    if all_pairs:
        chosen = [{side.ours.letter for side in item.sides} for item in items]
        alike = [float(None in letters or len(letters) == 1) for letters in chosen]
        found["undistinguished"] = cluster_estimate(alike, pairs, proportion=True)
    return found


def _count_answers(items: Sequence[PairItem]) -> dict[str, int]:
    states = [side.ours.state for item in items for side in item.sides]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def _baselines(items: Sequence[PairItem]) -> Table:
    rows = {}
    for letter in "AB":
        choice = Choice(letter, SCORED)
        said = [
            replace(item, sides=tuple(side._replace(ours=choice) for side in item.sides))  # type: ignore[arg-type]
            for item in items
        ]
        rows[f"always {letter}"] = _figures(said, all_pairs=True)
    return Table("baselines", "Answers without a look at the image", rows)


ADAPTERS = (
    Benchmark(
        "mediconfusion",
        "MediConfusion: pairs of images that models confuse",
        "Sepehri et al., MediConfusion: Can you trust your AI radiologist?, 2024 (arXiv:2409.15477)",
        {".json": "dataset.json and a result file (id -> answer: im1, im2 with A, B, full_answer)",
         ".jsonl, .csv, .tsv, folders": "one image a row: id, pair, correct, image, prediction"},
        read,
        score,
        {"gap": Option(3.0, "difference of a judge's two scores from which the larger one is the choice")},
    ),
)  # fmt: skip
