"""Which of the given cases a folder of candidates answered: checked before anything is scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_builders import HIDDEN_STATEMENTS
from vlmalign.clinical import Logic, answers_from_findings
from vlmalign.clinical.paths import forced_values
from vlmalign.evaluation import CaseTruth, ItemScore, score_conversation, score_report
from vlmalign.evaluation.answer_scores import Task
from vlmalign.records import Candidate, Case, DataError, RecordFolder

#: where a folder of cases made from other cases keeps their hashes
SOURCES = ("source_sha256", "cases")


@dataclass(frozen=True)
class GivenCases:
    """The cases to score against, from one or several folders.

    Attributes:
        folders: where they lie.
        cases: by id.
        truths: what is known, by case id; a case of which nothing is known is missing.
        hashes: of the folders.
        sources: of the folders that those were made from.
    """

    folders: tuple[Path, ...]
    cases: dict[str, Case]
    truths: dict[str, CaseTruth]
    hashes: frozenset[str]
    sources: frozenset[str]

    @property
    def experts(self) -> frozenset[str]:
        """Whose findings say what is true."""
        known = [case.reference.findings for case in self.cases.values() if case.reference is not None]
        return frozenset(finding.expert for findings in known for finding in findings)

    @property
    def groups(self) -> dict[str, str]:
        """The group of each case, by case id."""
        return {case.id: case.group_id for case in self.cases.values()}

    @property
    def names(self) -> str:
        """The folders, for messages."""
        return ", ".join(map(str, self.folders))


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


def read_cases(folders: Sequence[Path], logic: Logic, seed: int | None = None) -> GivenCases:
    """Read folders of cases.

    Args:
        folders: of cases.
        logic: the clinical logic that reads their findings.
        seed: the seed of the run that they belong to, where several runs are scored together.

    Raises:
        DataError: a folder cannot be read, or a case is in two of them.
    """
    cases: dict[str, Case] = {}
    truths: dict[str, CaseTruth] = {}
    hashes: set[str] = set()
    sources: set[str] = set()
    for folder in folders:
        opened = RecordFolder(folder, Case)
        records = list(opened)
        for case in records:
            if case.id in cases:
                raise DataError("the case is in more than one of the folders given with --cases",
                                "Give each case once.", file=folder, record=case.id)  # fmt: skip
            cases[case.id] = case
        truths.update(truths_of(records, logic, seed))
        hashes.add(opened.sha256)
        for key in SOURCES:
            made_from = opened.manifest.config.get(key) or ()
            sources.update([made_from] if isinstance(made_from, str) else made_from)
    if truths and not any(truth.answers for truth in truths.values()):
        raise DataError(f"no finding of these cases is of a concept of the clinical logic {logic.name}",
                        "Name the logic of these cases with --logic.",
                        file=", ".join(map(str, folders)))  # fmt: skip
    return GivenCases(tuple(folders), cases, truths, frozenset(hashes), frozenset(sources))


def score_against(
    folder: Path, given: GivenCases, logic: Logic, in_scope: Sequence[str], answered: Path | None = None
) -> tuple[list[ItemScore], dict[str, int]]:
    """Scores of a folder of candidates, and how many candidates were scored, and not, and why.

    The folder's manifest holds the hash of the cases that were answered. They must be the given ones, or those
    that the given ones were split from, or `answered`, whose pictures are then compared one by one.

    Args:
        folder: the candidates.
        given: what they are scored against.
        logic: the clinical logic.
        in_scope: concepts that an expert can verify.
        answered: the cases that were answered, where they are other folders than the given ones.

    Raises:
        DataError: the candidates answered other cases, or none whose truth is known.
    """
    opened = RecordFolder(folder, Candidate)
    candidates = list(opened)
    may_be_outside = _check_origin(opened, candidates, given, answered)
    outside = [c for c in candidates if c.case_id not in given.cases]
    if outside and not may_be_outside:
        n = f"{len(outside)} of {len(candidates)}"
        raise DataError(f"{n} candidates answer cases that are not in {given.names}",
                        "Give their cases, too: --cases may be repeated.",
                        file=folder, record=outside[0].id, field="case_id")  # fmt: skip
    items = [
        _score(candidate, given.truths[candidate.case_id], logic, in_scope)
        for candidate in candidates
        if candidate.case_id in given.truths
    ]
    counts = {
        "candidates": len(candidates), "scored": len(items), "excluded_other_case": len(outside),
        "excluded_truth_unknown": len(candidates) - len(items) - len(outside),
    }  # fmt: skip
    if not items:
        raise DataError(f"nothing to score: of {len(candidates)} candidates {len(outside)} answer cases that are "
                        f"not in {given.names}, and of {counts['excluded_truth_unknown']} the case has no finding",
                        "Give cases whose reference holds findings.", file=folder)  # fmt: skip
    return items, counts


def task_of(candidate: Candidate) -> Task:
    """What was asked: a conversation names its concepts in `extra["concepts"]`, a report none."""
    return "conversation" if candidate.extra.get("concepts") else "report"


def _score(candidate: Candidate, truth: CaseTruth, logic: Logic, in_scope: Sequence[str]) -> ItemScore:
    """One candidate's figures."""
    if task_of(candidate) == "conversation":
        return score_conversation(logic, candidate, truth, asked=candidate.extra["concepts"])
    return score_report(logic, candidate, truth, in_scope=in_scope, hidden_statements=HIDDEN_STATEMENTS)


def _check_origin(
    opened: RecordFolder[Candidate], candidates: Sequence[Candidate], given: GivenCases, answered: Path | None
) -> bool:
    """Refuse candidates to other cases; whether some may answer cases that were not given."""
    origin = opened.manifest.config.get("cases")
    if not isinstance(origin, str):  # made elsewhere: only the group tells whether the case is the same
        for candidate in candidates:
            case = given.cases.get(candidate.case_id)
            if case is not None and candidate.group_id not in (None, case.group_id):
                raise DataError(f"its case is of group {case.group_id} in {given.names}, not {candidate.group_id}",
                                "Give the cases that were answered.",
                                file=opened.path, record=candidate.id, field="group_id")  # fmt: skip
        return False
    if origin in given.hashes:
        return False
    if origin in given.sources:
        return True
    if answered is None:
        raise DataError(
            f"the candidates answer cases of hash {origin[:12]}; {given.names} is of hash "
            f"{', '.join(sorted(h[:12] for h in given.hashes))} and was not split from them",
            "Give the cases that were answered; or name those with --answered, and their pictures are compared.",
            file=opened.path, field="config.cases",
        )  # fmt: skip
    _check_pictures(RecordFolder(answered, Case), origin, {c.case_id for c in candidates}, given)
    return True


def _check_pictures(answered: RecordFolder[Case], origin: str, asked: set[str], given: GivenCases) -> None:
    if answered.sha256 != origin:
        raise DataError(f"the candidates answer cases of hash {origin[:12]}, and this is {answered.sha256[:12]}",
                        "Name with --answered the folder that they were generated for.",
                        file=answered.path)  # fmt: skip
    for case in answered:
        mine = given.cases.get(case.id)
        if case.id in asked and mine is not None:
            if [image.sha256 for image in mine.images] != [image.sha256 for image in case.images]:
                raise DataError(f"the case shows other pictures there than in {given.names}",
                                "Give cases with the pictures that were answered.",
                                file=answered.path, record=case.id, field="images")  # fmt: skip
