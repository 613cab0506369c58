"""Answers on disk -> scores per item: every arm of a demo goes through this one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from data_builders import HIDDEN_STATEMENTS
from vlmalign.cli.answers import KINDS, MODES
from vlmalign.cli.demo_plan import IN_SCOPE, LOGIC
from vlmalign.clinical import Logic, answers_from_findings, load_logic
from vlmalign.clinical.paths import forced_values
from vlmalign.evaluation import CaseTruth, ItemScore, score_conversation, score_report
from vlmalign.records import Candidate, Case, read_records


def truths_of(cases: Iterable[Case], logic: Logic, seed: int | None = None) -> dict[str, CaseTruth]:
    """What is known of each case, by case id; cases without findings are left out.

    Derived concepts are included, and what follows from the findings (no leukocyte, so no kind), the latter
    only for concepts that the source assesses somewhere: where it never does, nothing is known of them.
    """
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for case in cases:
        if case.reference is not None and case.reference.findings:
            answers = answers_from_findings(logic, case.reference.findings).answers
            found[case.id] = (case.group_id, dict(answers))
    assessed = {concept for _, answers in found.values() for concept in answers}
    return {
        case_id: CaseTruth(case_id, group, {**answers, **forced_values(logic, answers, assessed)}, seed)
        for case_id, (group, answers) in found.items()
    }


def score_candidates_folder(
    folder: Path, truths: dict[str, CaseTruth], logic: Logic, in_scope: Sequence[str] = IN_SCOPE
) -> list[ItemScore]:
    """Scores of the candidates of one folder; a candidate to a case without known truth is left out."""
    items = []
    for candidate in read_records(folder, Candidate):
        truth = truths.get(candidate.case_id)
        if truth is not None:
            items.append(score_one(candidate, truth, logic, in_scope))
    return items


def score_one(candidate: Candidate, truth: CaseTruth, logic: Logic, in_scope: Sequence[str]) -> ItemScore:
    """One candidate's figures: a conversation names the concepts it was asked in `extra["concepts"]`."""
    asked = candidate.extra.get("concepts")
    if asked:
        return score_conversation(logic, candidate, truth, asked=asked)
    return score_report(logic, candidate, truth, in_scope=in_scope, hidden_statements=HIDDEN_STATEMENTS)


def score_arm(
    answers: Path, truths: dict[str, CaseTruth], mode: str, logic: Logic | None = None
) -> list[ItemScore]:
    """All items of one arm in one mode (greedy or sampled), reports and conversations."""
    logic = logic or load_logic(LOGIC)
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: choose one of {list(MODES)}")
    items: list[ItemScore] = []
    for kind in KINDS:
        items += score_candidates_folder(answers / f"{mode}_{kind}", truths, logic)
    return items
