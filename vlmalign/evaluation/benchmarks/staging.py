"""Stage and referral out of a forced answer or a report: confusion matrix, F1, and answers that name no class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlmalign.clinical import Logic, answers_from_findings, load_logic, parse_answer, parse_text
from vlmalign.evaluation.benchmarks.answer_files import Answered, read_answered
from vlmalign.evaluation.benchmarks.marks import ACCURACY_NOTE, ClosedItem, Figures, accuracy_of, constant_answers
from vlmalign.evaluation.benchmarks.protocol import SCORED, Benchmark, BenchmarkResult, Option, Table, count_states
from vlmalign.evaluation.benchmarks.ratios import mean_of_shares, share_of_sums
from vlmalign.evaluation.benchmarks.unread import why_unread
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.records import Case, DataError

INVALID = "invalid"
#: a case whose findings do not tell its class
TRUTH_UNKNOWN = "truth_unknown"


@dataclass(frozen=True, kw_only=True)
class StagedItem(ClosedItem):
    """An image with its class (`truth`) and the one that was answered (`chosen`)."""


def read(files: Sequence[Path], logic: str = "amd_oct", concept: str = "stage") -> list[StagedItem]:
    """Rows (id, prediction, label or a column of the concept's name), or folders of cases and candidates.

    An answer is read as one to the concept's question first, then as a report. What names no class, or two, is in
    the state `invalid`.

    Raises:
        ValueError: the logic has no such concept.
        DataError: a label is no value of it.
    """
    domain = load_logic(logic)
    domain.concept(concept)
    rows = read_answered(files, truth=(concept, "label", "truth"), answers=("text", "answer", "report"))
    return [_item(row, domain, concept) for row in rows]


def _item(row: Answered, domain: Logic, concept: str) -> StagedItem:
    truth = _truth(row, domain, concept)
    values = tuple(domain.concepts[concept].values)
    if truth is None:
        return StagedItem(row.id, row.group(), (), TRUTH_UNKNOWN, truth="", options=values)
    said = row.text()
    chosen = None if said is None else read_class(domain, concept, said)
    state = SCORED if chosen is not None else why_unread(said)
    state = INVALID if state == "unparsed" else state
    return StagedItem(row.id, row.group(), (), state, truth=truth, chosen=chosen, options=values)


def _truth(row: Answered, domain: Logic, concept: str) -> str | None:
    """The class by column, or from a case's findings; None where a case does not tell."""
    values = domain.concepts[concept].values
    case = row.row.get("case")
    given: Any = row.get(concept) if isinstance(case, Case) else row.need(concept, "label", "truth")
    if given is None and isinstance(case, Case):
        findings = () if case.reference is None else case.reference.findings
        found = answers_from_findings(domain, findings).answers.get(concept) if findings else None
        return found if found in values else None
    label = str(given).strip()
    found = label if label in values else read_class(domain, concept, label)
    if found is None:
        raise DataError(f"the label is {label!r}, expected one of {', '.join(values)}", "Correct the row.",
                        file=row.file, record=row.id, field=concept)  # fmt: skip
    return found


def read_class(domain: Logic, concept: str, text: str) -> str | None:
    """The class that an answer names, or a whole report; None for none or two.

    Example:
        >>> amd = load_logic("amd_oct")
        >>> read_class(amd, "stage", "Intermediate."), read_class(amd, "stage", "Invalid response")
        ('intermediate', None)
    """
    values = domain.concepts[concept].values
    bare = "_".join(text.lower().replace("-", " ").strip(" .").split())
    if bare in values:
        return bare
    for found in (parse_answer(domain, concept, text), parse_text(domain, text).answers.get(concept)):
        if found is not None:
            return found if found in values else None
    return None


def score(items: Sequence[StagedItem]) -> BenchmarkResult:
    """Accuracy, F1 (micro, macro, weighted, of the positive classes), each class, and the confusion matrix."""
    states = count_states(items)
    items = [item for item in items if item.state != TRUTH_UNKNOWN]
    if not items:
        raise DataError("of no case the class is known", "Give cases with findings that tell it.")
    classes = [value for value in items[0].options if any(value in (i.truth, i.chosen) for i in items)]
    rows: dict[str, Figures] = {"all": figures(items, classes, items[0].options[0])}
    each = {value: _of_class(items, [value]) for value in classes}
    note = (
        f"{ACCURACY_NOTE}. F1 counts an invalid answer as a miss of its class; micro_f1_positive: pooled over all "
        f"classes but {items[0].options[0]}; weighted by how often a class is true"
    )
    return BenchmarkResult(
        "staging",
        (
            Table("classes", "All classes", rows, note),
            Table("each", "Each class", each),
            Table(
                "confusion",
                "Confusion: rows are true, columns answered (share of the row)",
                _confusion(items, classes),
            ),
        ),
        states,
        _baselines(items, classes),
        (f"{sum(i.state == INVALID for i in items)} of {len(items)} answers name no class, or several",),
    )


def figures(items: Sequence[StagedItem], classes: Sequence[str], negative: str) -> Figures:
    """The columns of the table of all classes."""
    groups = [item.group for item in items]
    true, said, there = _indicators(items, classes)
    positive = [value for value in classes if value != negative]
    weights = there.sum(axis=0) / max(there.sum(), 1)
    return accuracy_of([item.hit for item in items], groups) | {
        "micro_f1": _of_class(items, classes)["f1"],
        "micro_f1_positive": _of_class(items, positive)["f1"],
        "macro_f1": mean_of_shares(2 * true, said + there, groups),
        "weighted_f1": mean_of_shares(2 * true, said + there, groups, weights=weights),
    }


def _indicators(items: Sequence[StagedItem], classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    said = np.array([[float(item.chosen == value) for value in classes] for item in items])
    there = np.array([[float(item.truth == value) for value in classes] for item in items])
    return said * there, said, there


def _of_class(items: Sequence[StagedItem], classes: Sequence[str]) -> Figures:
    groups = [item.group for item in items]
    if not classes:
        return {name: cluster_estimate([], []) for name in ("f1", "precision", "recall")}
    true, said, there = (table.sum(axis=1) for table in _indicators(items, classes))
    return {
        "f1": share_of_sums(2 * true, said + there, groups),
        "precision": share_of_sums(true, said, groups),
        "recall": share_of_sums(true, there, groups),
    }


def _confusion(items: Sequence[StagedItem], classes: Sequence[str]) -> dict[str, Figures]:
    rows: dict[str, Figures] = {}
    for truth in classes:
        chosen = [item for item in items if item.truth == truth]
        if not chosen:
            continue
        groups = [item.group for item in chosen]
        rows[truth] = {
            name: cluster_estimate([float((item.chosen or "unread") == name) for item in chosen], groups)
            for name in (*classes, "unread")
        }
    return rows


def _baselines(items: Sequence[StagedItem], classes: Sequence[str]) -> Table:
    rows = {name: dict(row) for name, row in constant_answers(items).rows.items()}
    often = Counter(item.truth for item in items).most_common(1)[0][0]
    said = [StagedItem(**{**vars(item), "chosen": often, "state": SCORED}) for item in items]
    found = figures(said, classes, items[0].options[0])
    rows[f"most frequent ({often})"] |= {name: found[name] for name in ("micro_f1_positive", "macro_f1")}
    return Table("baselines", "Answers without a look at the image", rows)


ADAPTERS = (
    Benchmark(
        "staging",
        "Stage or referral: F1 and confusion with invalid answers as a class of their own",
        "Holland et al., Specialist vision-language models for clinical ophthalmology, 2024 (arXiv:2407.08410)",
        {".jsonl, .json, .csv, .tsv": "id, prediction, the class in `label` or in a column of its name, "
        "patient_id",
         "folders": "our cases with findings, and candidates"},
        read,
        score,
        {"logic": Option("amd_oct", "clinical logic, with its policy: amd_oct@beckman"),
         "concept": Option("stage", "concept whose values are the classes, e.g. referral")},
    ),
)  # fmt: skip
