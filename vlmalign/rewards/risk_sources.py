"""What a policy and its weak sources say of the same cases, read from folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vlmalign.clinical import Logic
from vlmalign.clinical.schema import RESERVED
from vlmalign.records import Candidate, Case, DataError, Finding, RecordFolder
from vlmalign.records.answered_case import check_case_is_there
from vlmalign.rewards.claim_reward import parse_candidate
from vlmalign.rewards.weak_sources import majority_answers, settled_answers

#: case id -> concept -> value
Source = Mapping[str, Mapping[str, str]]


class AnsweredCases(NamedTuple):
    """A folder of cases with whole answers to them.

    Attributes:
        folder: of the cases.
        cases: the case of each answer, N; a case stands once for each of its answers.
        candidates: the answers, N.
        said: the clear claims of each, N: concept -> value.
    """

    folder: RecordFolder[Case]
    cases: list[Case]
    candidates: list[Candidate]
    said: list[dict[str, str]]


def read_answered(logic: Logic, cases: str | Path, candidates: str | Path) -> AnsweredCases:
    """Answers with their cases; those that the token limit cut are left out.

    Raises:
        DataError: a candidate to a case that is not there, no whole answer, or a folder that cannot be used.
    """
    folder, answers = RecordFolder(cases, Case), RecordFolder(candidates, Candidate)
    by_id = {case.id: case for case in folder}
    for candidate in answers:
        check_case_is_there(candidate, by_id, answers.path)
    whole = [candidate for candidate in answers if candidate.finished]
    if not whole:
        raise DataError("it holds no whole answer", "Give answers to the cases.", file=answers.path)
    asked = [by_id[candidate.case_id] for candidate in whole]
    said = [_said(logic, case, answer) for case, answer in zip(asked, whole, strict=True)]
    return AnsweredCases(folder, asked, whole, said)


def findings_by_expert(folders: Sequence[str | Path]) -> dict[str, list[Finding]]:
    """Findings of several folders by who made them, in the order of their names."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for path in folders:
        for finding in RecordFolder(path, Finding):
            found[finding.expert].append(finding)
    return dict(sorted(found.items()))


def expert_sources(
    logic: Logic,
    answered: Sequence[AnsweredCases],
    by_expert: Mapping[str, Sequence[Finding]],
    *,
    min_probability: float,
) -> Iterator[Source]:
    """What each expert's findings settle."""
    cases = list(_cases(answered).values())
    for findings in by_expert.values():
        settled = settled_answers(logic, cases, findings, min_probability=min_probability)
        yield {case.id: answers for case, answers in zip(cases, settled, strict=True)}


def model_sources(
    logic: Logic, answered: Sequence[AnsweredCases], folders: Sequence[str | Path]
) -> Iterator[Source]:
    """What each other model claims: of several answers to a case what most of them do.

    Raises:
        DataError: an answer by a policy whose answers are scored or learnt from, or a folder with no answer to the
            cases.
    """
    own = {candidate.policy for part in answered for candidate in part.candidates}
    cases = _cases(answered)
    said: dict[str, dict[str, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for path in folders:
        folder = RecordFolder(path, Candidate)
        for answer in folder:
            if answer.policy in own:
                raise DataError(
                    f"it is by {answer.policy}, whose answers are scored: that is its own word",
                    "Give answers of other models as sources.",
                    file=folder.path,
                    record=answer.id,
                    field="policy",
                )
            if answer.case_id in cases and answer.finished:
                said[answer.policy][answer.case_id].append(_said(logic, cases[answer.case_id], answer))
        if not any(answer.case_id in cases for answer in folder):
            raise DataError(
                "no candidate answers one of the cases", "Give answers to these very cases.", file=folder.path
            )
    for policy in sorted(said):
        yield {case: majority_answers(answers) for case, answers in said[policy].items()}


def refuse_shared_pictures(folder: RecordFolder[Case]) -> None:
    """Refuse a picture that is in two groups: parts of different groups would share it."""
    first_with: dict[str, Case] = {}
    for case in folder:
        for ref in case.images:
            first = first_with.setdefault(ref.sha256, case)
            if first.group_id != case.group_id:
                raise DataError(
                    f"it is of group {case.group_id!r} and shows the same picture as case {first.id!r} of group "
                    f"{first.group_id!r}: an answer would be scored by what was learnt from its own picture",
                    "Remove one of the two, or correct the groups.",
                    file=folder.path,
                    record=case.id,
                    field="images",
                )


def _cases(answered: Sequence[AnsweredCases]) -> dict[str, Case]:
    """All cases by id.

    Raises:
        DataError: two folders have a case of one id, so that answers to it could be to either.
    """
    found: dict[str, Case] = {}
    for part in answered:
        own = {case.id: case for case in part.cases}
        for name in own.keys() & found.keys():
            raise DataError(
                "a case to learn from and one to score have this id",
                "Give each case its own id.",
                file=part.folder.path,
                record=name,
                field="id",
            )
        found |= own
    return found


def _said(logic: Logic, case: Case, answer: Candidate) -> dict[str, str]:
    answers = parse_candidate(logic, case, answer).answers
    return {concept: value for concept, value in answers.items() if value not in RESERVED}
