"""ScienceQA: multiple choice in school science, by subject, context and grade."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlmalign.evaluation.benchmarks.answer_files import Answered, read_answered
from vlmalign.evaluation.benchmarks.marks import (
    ACCURACY_NOTE,
    ClosedItem,
    by_subset,
    constant_answers,
    unread_note,
)
from vlmalign.evaluation.benchmarks.option_letters import Choice, read_letter
from vlmalign.evaluation.benchmarks.protocol import (
    SCORED,
    UNPARSED,
    Benchmark,
    BenchmarkResult,
    Option,
    Table,
    count_states,
)
from vlmalign.evaluation.benchmarks.unread import why_unread
from vlmalign.records import DataError

LETTERS = "ABCDEFGHIJ"
SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}


@dataclass(frozen=True, kw_only=True)
class ScienceItem(ClosedItem):
    """A question; `script` is what LLaVA's script reads."""

    script: str | None = None


def read(files: Sequence[Path], split: str = "") -> list[ScienceItem]:
    """`problems.json` (id -> question, choices, answer, subject, grade, image, hint, split) and a file of answers.

    Raises:
        DataError: choices are missing, or the right one is not among them.
    """
    rows = read_answered(files, truth=("choices",))
    return [_item(row) for row in rows if not split or row.get("split") in (None, split)]


def _item(row: Answered) -> ScienceItem:
    choices = row.need("choices")
    if not isinstance(choices, list) or not 1 < len(choices) <= len(LETTERS):
        raise DataError(f"its choices are {str(choices)[:40]}, expected 2 to {len(LETTERS)}", "Correct the row.",
                        file=row.file, record=row.id, field="choices")  # fmt: skip
    options = LETTERS[: len(choices)]
    answer = row.need("answer", "label")
    truth = options[int(answer)] if str(answer).isdigit() and int(answer) < len(options) else str(answer).strip()
    if truth not in options or not truth:
        raise DataError(f"the answer is {answer!r} of {len(choices)} choices", "Correct the row.",
                        file=row.file, record=row.id, field="answer")  # fmt: skip
    choice, script = _choice(row.prediction, options, [str(text) for text in choices])
    # images are all called image.png, in a folder of the problem: every problem is a cluster of its own
    return ScienceItem(
        row.id, str(row.get("group") or row.id), _subsets(row), choice.state, truth=truth, chosen=choice.letter,
        options=tuple(options), script=script,
    )  # fmt: skip


def _choice(said: object, options: str, texts: Sequence[str]) -> tuple[Choice, str | None]:
    """Ours and LLaVA's: of an index (-1 for none), or of a text."""
    if isinstance(said, float) and said.is_integer():  # an index that went through a table
        said = int(said)
    if isinstance(said, int):
        letter = options[said] if 0 <= said < len(options) else None
        return Choice(letter, SCORED if letter else UNPARSED, "index"), letter
    if said is None:
        return Choice(None, why_unread(None)), None
    text = str(said)
    choice = read_letter(text, options)
    if choice.letter is None:
        same = [
            o for o, words in zip(options, texts, strict=True) if words.strip().lower() == text.strip(" .").lower()
        ]
        if len(same) == 1:
            choice = Choice(same[0], SCORED, "text")
    return choice, as_llava(text, options)


def as_llava(text: str, options: str) -> str | None:
    """LLaVA's rule: a letter alone, "X. " at the beginning, or "The answer is X"; else nothing, which is wrong.

    Example:
        >>> as_llava("The answer is B.", "AB"), as_llava("B", "AB"), as_llava("(B)", "AB")
        ('B', 'B', None)
    """
    said = text.replace("\n", ". ")
    alone = said.strip() if said.strip() in tuple(options) else None
    first = re.match(r"([A-E])\. ", said)
    stated = re.search(r"The answer is ([A-E])", said)
    found = alone or (first and first[1]) or (stated and stated[1])
    return found if found and found in options else None


def _subsets(row: Answered) -> tuple[str, ...]:
    found = [SUBJECTS.get(str(row.get("subject")), "")]
    picture, hint = row.get("image"), row.get("hint")
    found += ["TXT"] if hint else []
    found += ["IMG"] if picture else []
    found += [] if hint or picture else ["NO"]
    if (grade := re.fullmatch(r"(?:grade)?\s*(\d+)", str(row.get("grade") or ""))) is not None:
        found.append("G1-6" if int(grade[1]) <= 6 else "G7-12")
    return tuple(name for name in found if name)


def score(items: Sequence[ScienceItem]) -> BenchmarkResult:
    """Accuracy of our reader and of LLaVA's, for all and by subject, context and grade."""
    script = [replace(item, chosen=item.script) for item in items]
    rows = by_subset(items)
    order = ["all", "NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12"]
    lower = {name: {"accuracy_all": row["accuracy_all"]} for name, row in by_subset(script).items()}
    return BenchmarkResult(
        "scienceqa",
        (
            Table("strict", "Our reader", {name: rows[name] for name in order if name in rows}, ACCURACY_NOTE),
            Table("script", "As LLaVA's script reads them", {name: lower[name] for name in order if name in lower},
                  "what it cannot read is wrong"),
        ),
        count_states(items),
        constant_answers(items),
        tuple(filter(None, (unread_note(items),))),
    )  # fmt: skip


ADAPTERS = (
    Benchmark(
        "scienceqa",
        "ScienceQA: multiple choice by subject, context and grade",
        "Lu et al., Learn to Explain: Multimodal Reasoning via Thought Chains for Science Question Answering, "
        "NeurIPS 2022 (arXiv:2209.09513)",
        {".json, .jsonl": "problems.json and answers (question_id, text; or outputs: id -> text or index)"},
        read,
        score,
        {"split": Option("", "split of the problems to score; empty = all")},
    ),
)
