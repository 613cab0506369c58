"""Answers written from an expert's findings alone: what one gets without any language model.

It is a reference line for evaluation. It says what the expert is sure of, and in a conversation says of
everything else that it cannot be assessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data_builders.knowledge import FindingFolders, knowledge_of
from vlmalign.clinical import Logic, question_text, render_answer, render_report
from vlmalign.records import Candidate, Case, DatasetBuild, Message, RecordFolder, Sampling, assistant, user
from vlmalign.records.hashing import derive_seed

POLICY = "expert_template@1"


def build_templates(
    cases: str | Path,
    findings: FindingFolders,
    out: str | Path,
    *,
    logic: Logic,
    seed: int = 0,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> Path:
    """Write a report and a conversation per case, as candidates.

    Args:
        cases: Case folder; references in it are never read.
        findings: Finding folder(s) of the expert.
        out: the Candidate folder.
        logic: the domain's clinical logic.
        seed: of the wording.
        min_probability: how sure a finding must be to be told.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `nothing_certain`: cases of which the expert is sure of nothing, and
        which so have no report.

    Raises:
        DataError: a folder is missing or of another kind.
    """
    folder = RecordFolder(cases, Case)
    knowledge = knowledge_of(logic, findings, min_probability=min_probability)
    config = {
        "builder": "templates",
        "cases": folder.sha256,
        "answers": knowledge.identity,
        "logic": logic.fingerprint,
        "seed": seed,
        "min_probability": min_probability,
    }
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "candidate", config, overwrite=overwrite, data_use=data_use) as build:
        for case in folder:
            if build.has(case.id):
                continue
            answers = knowledge(case).answers
            own = derive_seed(seed, "template", case.id)
            records = [_conversation(logic, case, answers, own)]
            if answers:
                records.insert(0, _report(logic, case, answers, own))
            build.commit(case.id, records, {"nothing_certain": int(not answers)})
    return Path(out)


def _report(logic: Logic, case: Case, answers: Mapping[str, str], seed: int) -> Candidate:
    messages = (assistant(render_report(logic, answers, seed=seed)),)
    return _candidate(case, "report", messages, seed, ())


def _conversation(logic: Logic, case: Case, answers: Mapping[str, str], seed: int) -> Candidate:
    messages: list[Message] = []
    for concept in logic.order:
        if messages:
            messages.append(user(question_text(logic, concept, seed=seed)))
        value = answers.get(concept, "not_assessed")
        messages.append(assistant(render_answer(logic, concept, value, seed=seed)))
    return _candidate(case, "conversation", tuple(messages), seed, logic.order)


def _candidate(
    case: Case, kind: str, messages: tuple[Message, ...], seed: int, concepts: tuple[str, ...]
) -> Candidate:
    return Candidate(
        id=f"{case.id}/{kind}/0",
        case_id=case.id,
        group_id=case.group_id,
        messages=messages,
        policy=POLICY,
        sampling=Sampling(temperature=0, max_new_tokens=1),
        seed=seed,
        finished=True,
        extra={"concepts": list(concepts)} if concepts else {},
    )
