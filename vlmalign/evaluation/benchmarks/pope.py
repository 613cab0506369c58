"""POPE: is this object in the image? Yes or no, with what was asked for chosen at random, by frequency, or by
co-occurrence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlmalign.evaluation.benchmarks.answer_files import Answered, read_answered
from vlmalign.evaluation.benchmarks.marks import (
    ACCURACY_NOTE,
    ClosedItem,
    Figures,
    accuracy_of,
    constant_answers,
    size_note,
    unread_note,
)
from vlmalign.evaluation.benchmarks.protocol import SCORED, Benchmark, BenchmarkResult, Table, count_states
from vlmalign.evaluation.benchmarks.ratios import share_of_sums
from vlmalign.evaluation.benchmarks.unread import why_unread
from vlmalign.evaluation.benchmarks.yes_no import read_as_pope, read_yes_no
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.records import DataError

PARTS = ("random", "popular", "adversarial")
OF_A_PART = 3000


@dataclass(frozen=True, kw_only=True)
class YesNoItem(ClosedItem):
    """A question with yes or no for an answer; `said` is the whole answer, `script` what POPE's script reads."""

    said: str | None = None
    script: str | None = None


def read(files: Sequence[Path]) -> list[YesNoItem]:
    """Questions (question_id, image, text, label) and answers, in one file or apart; parts by file name or column.

    Raises:
        DataError: a label is neither yes nor no.
    """
    rows = read_answered(files, truth=("label",), predictions=("prediction", "answer", "response"), part=_part)
    return [_item(row) for row in rows]


def _part(row: dict[str, Any], file: Path) -> str:
    named = str(row.get("category") or row.get("subset") or "").lower() or file.stem.lower()
    return next((part for part in PARTS if part in named), "")


def _item(row: Answered) -> YesNoItem:
    truth = str(row.need("label")).strip().lower()
    if truth not in ("yes", "no"):
        raise DataError(f"the label is {truth!r}, expected yes or no", "Correct the row.",
                        file=row.file, record=row.id, field="label")  # fmt: skip
    said = row.text()
    chosen = None if said is None else read_yes_no(said, str(row.get("question", "text") or ""))
    part = row.id.partition("/")[0]
    return YesNoItem(
        row.id, row.group(), (part,) if part in PARTS else (), why_unread(said) if chosen is None else SCORED,
        truth=truth, chosen=chosen, options=("yes", "no"), said=said,
        script=None if said is None else read_as_pope(said),
    )  # fmt: skip


def yes_no_figures(items: Sequence[ClosedItem]) -> Figures:
    """Accuracy, and precision, recall and F1 of yes, and the share of yes, of the answers that could be read.

    Example:
        >>> said = [("yes", "yes"), ("yes", "no"), ("no", "no"), ("no", "yes"), ("yes", "yes")]
        >>> items = [ClosedItem(str(k), k, truth=t, chosen=c) for k, (t, c) in enumerate(said)]
        >>> {name: round(found.mean, 3) for name, found in yes_no_figures(items).items()}["f1"]
        0.667
    """
    groups = [item.group for item in items]
    read_ones = [item for item in items if item.chosen is not None]
    of_read, unread = [item.group for item in read_ones], len(items) - len(read_ones)
    true = [float(item.truth == "yes" == item.chosen) for item in read_ones]
    said = [float(item.chosen == "yes") for item in read_ones]
    there = [float(item.truth == "yes") for item in read_ones]
    twice = [2 * value for value in true]
    either = [a + b for a, b in zip(said, there, strict=True)]
    return accuracy_of([item.hit for item in items], groups) | {
        "precision": share_of_sums(true, said, of_read, excluded=unread),
        "recall": share_of_sums(true, there, of_read, excluded=unread),
        "f1": share_of_sums(twice, either, of_read, excluded=unread),
        "yes_ratio": cluster_estimate(said, of_read, excluded=unread, proportion=True),
    }


def score(items: Sequence[YesNoItem]) -> BenchmarkResult:
    """Figures of the strict reader, and of the script's, for all and for each part."""
    as_script = [
        replace(item, chosen=item.script, state=item.state if item.script is None else SCORED) for item in items
    ]
    names = ["all", *(part for part in PARTS if any(part in item.subsets for item in items))]

    def rows(chosen: Sequence[YesNoItem]) -> dict[str, Figures]:
        return {name: yes_no_figures([i for i in chosen if name in ("all", *i.subsets)]) for name in names}

    differ = sum(a.chosen != b.chosen for a, b in zip(items, as_script, strict=True))
    notes = [f"the script reads {differ} of {len(items)} answers differently: all that is not a no is a yes there"]
    notes += [
        size_note(sum(part in item.subsets for item in items), OF_A_PART, f"questions in the part {part}")
        for part in names[1:]
    ]
    return BenchmarkResult(
        "pope",
        (
            Table(
                "strict",
                "Answers that say yes or no",
                rows(items),
                ACCURACY_NOTE + "; precision, recall and F1 of yes",
            ),
            Table(
                "script",
                "As the benchmark's script reads them",
                rows(as_script),
                "everything that is not a no is a yes",
            ),
        ),
        count_states(items),
        _baselines(items),
        tuple(filter(None, (*notes, unread_note(items)))),
    )


def _baselines(items: Sequence[YesNoItem]) -> Table:
    rows: dict[str, Figures] = {}
    for answer in ("yes", "no"):
        found = yes_no_figures([replace(item, chosen=answer, state=SCORED) for item in items])
        rows[f"always {answer}"] = {name: found[name] for name in ("accuracy", "precision", "recall", "f1")}
    often = constant_answers(items).rows
    rows |= {name: dict(row) for name, row in often.items() if name.startswith("most frequent")}
    return Table("baselines", "Answers without a look at the image", rows)


ADAPTERS = (
    Benchmark(
        "pope",
        "POPE: is the object there, yes or no",
        "Li et al., Evaluating Object Hallucination in Large Vision-Language Models, EMNLP 2023 "
        "(arXiv:2305.10355)",
        {".json, .jsonl": "questions (question_id, image, text, label) and answers (question, answer; or "
                          "question_id, text), parts random, popular, adversarial by file name",
         ".tsv, .csv": "index, question, label, category, prediction"},
        read,
        score,
    ),
)  # fmt: skip
