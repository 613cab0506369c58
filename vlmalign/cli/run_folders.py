"""Folders of candidates and of judgements as items that can be paired, and the subgroups of their cases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_builders import HIDDEN_STATEMENTS
from vlmalign.cli.given_truth import GivenCases, score_against, task_of
from vlmalign.clinical import Logic
from vlmalign.evaluation import mark_report
from vlmalign.evaluation.report_metrics import Span
from vlmalign.evaluation.run_items import RunItem, items_of_judgements, items_of_scores
from vlmalign.evaluation.subgroups import ATTRIBUTES, label_of
from vlmalign.records import Candidate, Case, DataError, Judgement, RecordFolder
from vlmalign.records.manifest import read_manifest

Say = Callable[[RunItem], list[Span]]


@dataclass(frozen=True)
class ReadRun:
    """One folder of candidates or judgements.

    Attributes:
        items: what it says of each item.
        counts: of its records, and what was left out.
        sha256: of the folder's records.
        say: what it says of an item, for showing it.
        words: of each candidate's own turns, by record id; of judgements none.
    """

    items: list[RunItem]
    counts: dict[str, Any]
    sha256: str
    say: Say
    words: Mapping[str, int] = field(default_factory=dict)


def kind_of_both(folders: tuple[Path, Path], remedy: str) -> str:
    """The kind of records of two folders.

    Raises:
        DataError: they are of different kinds; it ends on the remedy.
    """
    first, second = (read_manifest(folder).kind for folder in folders)
    if first != second:
        raise DataError(f"it holds {second} records, {folders[0]} {first} records", remedy, file=folders[1])
    return first


def read_candidates(
    folder: Path, given: GivenCases, logic: Logic, scope: Sequence[str], answered: Path | None = None
) -> ReadRun:
    """Scored candidates of a folder.

    Raises:
        DataError: see `score_against`.
    """
    scored, counts = score_against(folder, given, logic, scope, answered)
    opened = RecordFolder(folder, Candidate)
    ids: dict[tuple[Hashable, ...], str] = {}
    texts = {}
    for candidate in opened:
        ids[None, candidate.case_id, candidate.sampling.sample, task_of(candidate)] = candidate.id
        texts[candidate.id] = candidate
    words = {
        name: sum(len(turn.text.split()) for turn in candidate.messages if turn.role == "assistant")
        for name, candidate in texts.items()
    }

    def say(item: RunItem) -> list[Span]:
        return spans_of(texts[item.record], logic, item.truth)

    return ReadRun(items_of_scores(scored, ids), dict(counts), opened.sha256, say, words)


def spans_of(candidate: Candidate, logic: Logic, truth: Mapping[str, str]) -> list[Span]:
    """What a candidate says, for showing it: a report with its claims marked, a conversation turn by turn."""
    if len(candidate.messages) > 1:
        return [Span(f"{turn.role}: {turn.text}\n", "plain") for turn in candidate.messages]
    return mark_report(logic, candidate.text, truth, HIDDEN_STATEMENTS)


def read_judgements(folder: Path, groups: Mapping[str, str] | None) -> ReadRun:
    """Judgements of a folder as items; without groups, by case id, each case is its own cluster.

    Raises:
        DataError: see `items_of_judgements`.
    """
    items, reasons = items_of_judgements(folder, groups)
    opened = RecordFolder(folder, Judgement)
    said = {judgement.id: judgement for judgement in opened}

    def say(item: RunItem) -> list[Span]:
        judgement = said[item.record]
        told = [f"{judgement.criterion}: {item.category}"]
        return [Span(text, "plain") for text in (*told, judgement.critique or judgement.invalid_reason) if text]

    counts = {"judgements": len(items), "invalid": sum(reasons.values()), "invalid_reasons": reasons}
    return ReadRun(items, counts, opened.sha256, say)


def split_names(given: Sequence[str] | None) -> list[str] | None:
    """An option that may be repeated, or hold several names with commas between them.

    Example:
        >>> split_names(["sex,age_band", "site"]), split_names(None)
        (['sex', 'age_band', 'site'], None)
    """
    if given is None:
        return None
    return [name.strip() for text in given for name in text.split(",")]


def check_attributes(by: Sequence[str] | None) -> None:
    """Refuse an attribute that no case can have."""
    for attribute in by or ():
        if attribute not in ATTRIBUTES:
            raise ValueError(f"--by {attribute!r} is not known: choose from {', '.join(ATTRIBUTES)}")


def subgroup_labels(
    cases: Collection[Case], by: Sequence[str] | None
) -> tuple[dict[str, dict[str, str | None]], dict[str, list[str]]]:
    """Attribute -> case -> subgroup, and the subgroups that the given cases know, compared or not."""
    labels = {name: {c.id: label_of(c, name) for c in cases} for name in by or ATTRIBUTES}
    known = {name: sorted({v for v in found.values() if v is not None}) for name, found in labels.items()}
    for name in by or ():
        if not known[name]:
            raise ValueError(f"--by {name}: none of the {len(cases)} given cases tells its {name}")
    kept = [name for name in labels if known[name]]
    return {name: labels[name] for name in kept}, {name: known[name] for name in kept}
