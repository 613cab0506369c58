"""Findings of chest X-ray reports: F1 of fourteen findings, read by our claim parser or from label columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vlmalign.evaluation.benchmarks.answer_files import Answered, read_answered
from vlmalign.evaluation.benchmarks.claim_agreement import NAME as GREEN
from vlmalign.evaluation.benchmarks.claim_agreement import agreement_table
from vlmalign.evaluation.benchmarks.finding_states import (
    CHEXPERT,
    FIVE,
    FindingState,
    states_of_answers,
    states_of_columns,
    states_of_text,
)
from vlmalign.evaluation.benchmarks.marks import Figures, unread_note
from vlmalign.evaluation.benchmarks.protocol import (
    SCORED,
    Benchmark,
    BenchmarkResult,
    Item,
    Option,
    Table,
    count_states,
)
from vlmalign.evaluation.benchmarks.ratios import mean_of_shares, share_of_sums
from vlmalign.evaluation.benchmarks.text_metrics import LIBRARIES, text_metrics
from vlmalign.evaluation.benchmarks.unread import why_unread
from vlmalign.records import Case, DataError
from vlmalign.records.suggestions import unknown

NOTHING_READ = "nothing_read"


@dataclass(frozen=True, kw_only=True)
class ReportItem(Item):
    """A report with what it says, and what is true.

    Attributes:
        said: finding -> state; all blank where nothing was read.
        truth: finding -> state.
        text: the report; None where there is none.
        reference: the reference report, where there is one.
    """

    said: Mapping[str, FindingState]
    truth: Mapping[str, FindingState]
    text: str | None = None
    reference: str | None = None


def read(files: Sequence[Path], logic: str = "chest_xray") -> list[ReportItem]:
    """Reports with a reference: a report, CheXpert's columns, or a case with findings.

    Raises:
        DataError: a reference has none of these.
    """
    from vlmalign.clinical import load_logic

    domain = load_logic(logic)
    if lacking := [concept for concept in CHEXPERT if concept not in domain.concepts]:
        raise ValueError(
            f"logic {logic!r} has no {', '.join(lacking[:3])} ...: give one with the fourteen findings"
        )
    columns = ("reference", "reference_report", "gt", "ground_truth", "target", *CHEXPERT.values())
    rows = read_answered(files, truth=columns, answers=("text", "report", "answer"),
                         predictions=("prediction", "generated", "hypothesis", "response", "pred"))  # fmt: skip
    items = []
    for row in rows:
        reference = row.get(*columns[:5])
        truth = _truth(row, reference, domain)
        text = row.text()
        found = states_of_text(domain, text or "")
        state = SCORED if found.read else why_unread(text)
        state = NOTHING_READ if state == "unparsed" else state
        items.append(ReportItem(
            row.id, row.group(), (), state, said=found.states, truth=truth, text=text,
            reference=None if reference is None else str(reference),
        ))  # fmt: skip
    return items


def _truth(row: Answered, reference: object, domain: object) -> Mapping[str, FindingState]:
    from vlmalign.clinical import Logic, answers_from_findings

    assert isinstance(domain, Logic)
    found = states_of_columns(row.row, {"file": row.file, "record": row.id})
    if found is not None:
        return found
    case = row.row.get("case")
    if isinstance(case, Case) and case.reference is not None and case.reference.findings:
        return states_of_answers(answers_from_findings(domain, case.reference.findings).answers)
    if reference is None:
        raise DataError("it has no reference", "Give a reference report, CheXpert's columns, or findings.",
                        file=row.file, record=row.id)  # fmt: skip
    return states_of_text(domain, str(reference)).states


class Counts(NamedTuple):
    """Per item and finding (n, K): true positives, positives said, positives there, and cells that were scored."""

    true: np.ndarray
    said: np.ndarray
    there: np.ndarray
    scored: np.ndarray


def count_cells(items: Sequence[ReportItem], *, uncertain: str, blank: str) -> Counts:
    """Which findings are positive in report and truth.

    A truth that contradicts itself is not scored. A report that contradicts itself is wrong: positive where the
    truth is negative, negative where it is positive.

    Args:
        items: the reports.
        uncertain: positive (CheXbert's convention, U-Ones), negative (U-Zeros) or exclude.
        blank: of the truth: negative (the convention) or exclude (only what the reference speaks of is scored).
    """
    shape = (len(items), len(CHEXPERT))
    true, said, there, scored = (np.zeros(shape) for _ in range(4))
    for i, item in enumerate(items):
        for j, concept in enumerate(CHEXPERT):
            wanted = _positive(item.truth[concept], uncertain, blank)
            given = _positive(item.said[concept], uncertain, "negative")
            if item.said[concept] == "contradictory" and wanted is not None:
                given = not wanted
            if wanted is None or given is None:
                continue
            scored[i, j], said[i, j], there[i, j], true[i, j] = 1, given, wanted, given and wanted
    return Counts(true, said, there, scored)


def _positive(state: FindingState, uncertain: str, blank: str) -> bool | None:
    if state == "contradictory":
        return None
    if state == "uncertain":
        return None if uncertain == "exclude" else uncertain == "positive"
    return None if state == "blank" and blank == "exclude" else state == "positive"


def score(
    items: Sequence[ReportItem], uncertain: str = "positive", blank: str = "negative", metrics: str = "",
    logic: str = "chest_xray",
) -> BenchmarkResult:  # fmt: skip
    """F1 of the findings (micro, macro, of five, each), and text metrics where they are asked for."""
    given = [item for item in items if item.text is not None]
    out = len(items) - len(given)
    wanted = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in wanted:
        if name not in (GREEN, *LIBRARIES):
            raise ValueError(unknown("text metric", name, (GREEN, *LIBRARIES)))
    compared = [(i.text or "", i.reference, i.group) for i in given]
    texts = text_metrics(",".join(name for name in wanted if name != GREEN), compared, excluded=out)
    counts = count_cells(given, uncertain=uncertain, blank=blank)
    groups = [item.group for item in given]
    each = {
        column: _of_columns(counts, [j], groups, out) | {"prevalence": share_of_sums(
            counts.there[:, j], counts.scored[:, j], groups, excluded=out)}
        for j, column in enumerate(CHEXPERT.values())
    }  # fmt: skip
    tables = [
        Table("findings", "Findings of the reports", {"all": overall(counts, groups, out)},
              f"uncertain counts as {uncertain}; findings that the reference does not speak of: {blank}; a "
              "finding that the report does not speak of is negative: one of which nothing is read misses all"),
        Table("each", "Each finding", each, "macro F1 leaves out findings that neither side ever has"),
    ]  # fmt: skip
    if texts:
        tables.append(
            Table("texts", "Text metrics", {"all": texts}, "mean over reports; see the notes", share=False)
        )
    if GREEN in wanted:
        tables.append(agreement_table(compared, logic, excluded=out))
    unread = sum(item.state != SCORED for item in given)
    notes = [
        "labels are read by vlmalign's claim parser, not by CheXbert: compare only figures of the same reader",
        _tell_states(given),
        f"{len(given)} of {len(items)} reports are scored; of {unread} of these nothing was read"
        if unread
        else "",
        unread_note([item for item in items if item.text is None]),
    ]
    return BenchmarkResult(
        "report-findings", tuple(tables), count_states(items), _baselines(given, uncertain, blank, out),
        tuple(filter(None, notes)),
    )  # fmt: skip


def overall(counts: Counts, groups: Sequence[object], excluded: int) -> Figures:
    """Micro and macro F1 of fourteen and of five findings, with micro precision and recall."""
    every = list(range(len(CHEXPERT)))
    five = [list(CHEXPERT).index(concept) for concept in FIVE]
    found = _of_columns(counts, every, groups, excluded)
    both = counts.said + counts.there
    return {
        "micro_f1": found["f1"],
        "macro_f1": mean_of_shares(2 * counts.true, both, groups, excluded=excluded),  # type: ignore[arg-type]
        "micro_precision": found["precision"],
        "micro_recall": found["recall"],
        "micro_f1_of_5": _of_columns(counts, five, groups, excluded)["f1"],
        "macro_f1_of_5": mean_of_shares(
            2 * counts.true[:, five], both[:, five], groups, excluded=excluded  # type: ignore[arg-type]
        ),
    }  # fmt: skip


def _of_columns(counts: Counts, columns: Sequence[int], groups: Sequence[object], excluded: int) -> Figures:
    true, said, there = (table[:, list(columns)].sum(axis=1) for table in counts[:3])
    return {
        name: share_of_sums(hits, totals, groups, excluded=excluded)  # type: ignore[arg-type]
        for name, hits, totals in (
            ("f1", 2 * true, said + there), ("precision", true, said), ("recall", true, there)
        )
    }  # fmt: skip


def _tell_states(items: Sequence[ReportItem]) -> str:
    def told(states: Counter[str]) -> str:
        return ", ".join(f"{n} {state}" for state, n in states.most_common()) or "none"

    said, truth = (Counter(state for item in items for state in of(item)) for of in (
        lambda item: item.said.values(), lambda item: item.truth.values()))  # fmt: skip
    return f"states of the findings, in the reports: {told(said)}; in the references: {told(truth)}"


def _baselines(items: Sequence[ReportItem], uncertain: str, blank: str, excluded: int) -> Table:
    """A report without findings, and one that states what most references have."""
    truth = count_cells(items, uncertain=uncertain, blank=blank)
    groups = [item.group for item in items]
    often = truth.there.sum(axis=0) * 2 > np.maximum(truth.scored.sum(axis=0), 1)
    normal = np.array([concept == "no_finding" for concept in CHEXPERT])
    rows = {}
    for name, constant in (("always normal", normal), ("most frequent", often), ("everything", ~normal)):
        said = truth.scored * constant
        rows[name] = overall(Counts(said * truth.there, said, truth.there, truth.scored), groups, excluded)
    return Table("baselines", "Reports without a look at the image", rows)


ADAPTERS = (
    Benchmark(
        "report-findings",
        "Chest X-ray reports: F1 of fourteen findings",
        "Irvin et al., CheXpert, AAAI 2019; Smit et al., CheXbert, EMNLP 2020 (labels and averages); our reader",
        {".jsonl, .json, .csv, .tsv": "id, prediction and reference (reports), or CheXpert's columns; patient_id",
         "folders": "our cases (findings, or a reference text) and candidates"},
        read,
        score,
        {"logic": Option("chest_xray", "clinical logic with the fourteen findings"),
         "uncertain": Option("positive", "what an uncertain finding counts as",
                             ("positive", "negative", "exclude")),
         "blank": Option("negative", "what a finding counts as of which the reference does not speak",
                         ("negative", "exclude")),
         "metrics": Option("", "text metrics, between commas: green (by claims), and of the metrics extra "
                                "bleu, rouge, bertscore, radgraph, chexbert")},
    ),
)  # fmt: skip
