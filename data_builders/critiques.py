"""Critiques of both answers of preference pairs, by clinical logic from what is known of their cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from data_builders.knowledge import FindingFolders, knowledge_of
from data_builders.loop import commit_each
from data_builders.reading import Reading, read_answer
from vlmalign.clinical import Logic
from vlmalign.clinical.critique import write_critique
from vlmalign.records import Case, DataError, DatasetBuild, Preference, RecordFolder

WRITER = "clinical_critique@1"


def build_critiques(
    pairs: str | Path,
    cases: str | Path,
    out: str | Path,
    *,
    logic: Logic,
    answers: FindingFolders | Literal["reference"] = "reference",
    concepts: Collection[str] | None = None,
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> Path:
    """Write the pairs with a critique of each answer: which claims are right, which wrong, what is left out.

    A pair whose case nothing is known of is left out and counted, as its critiques would judge nothing. Critiques
    that the pairs had are replaced.

    Args:
        pairs: Preference folder.
        cases: Case folder with the pairs' cases.
        out: the new Preference folder.
        logic: the domain's clinical logic.
        answers: "reference", or the Finding folder(s) of an expert; then references are never read.
        concepts: only these are held against what is known; claims of others are unverified. None: all.
        min_probability: how sure an expert's finding must be.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. `provenance["critiques"]` names who wrote them. The manifest counts
        `pairs_without_knowledge` (left out) and `answers_without_claims` (their critique says so).

    Raises:
        DataError: a folder is missing or of another kind, or a pair's case is not there.
        ValueError: the logic has no such concept.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> build_critiques("/no/pairs", "/no/cases", "/no/out", logic=load_logic("peripheral_smear"))
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: /no/pairs: no such folder. Check the path.
    """
    folder, case_folder = RecordFolder(pairs, Preference), RecordFolder(cases, Case)
    for name in concepts or ():
        logic.concept(name)
    knowledge = knowledge_of(logic, answers, min_probability=min_probability)
    by_id = {case.id: case for case in case_folder}
    config = {
        "builder": WRITER,
        "pairs": folder.sha256,
        "cases": case_folder.sha256,
        "answers": knowledge.identity,
        "logic": logic.fingerprint,
        "concepts": None if concepts is None else sorted(concepts),
        "min_probability": min_probability,
    }

    def become(pair: Preference) -> tuple[Sequence[Preference], Mapping[str, int]]:
        if pair.case_id not in by_id:
            raise DataError(
                f"case_id {pair.case_id!r} is not in the case folder",
                "Pass the cases that the pairs were built from.",
                file=folder.path, record=pair.id, field="case_id",
            )  # fmt: skip
        known = knowledge(by_id[pair.case_id])
        truth = {name: value for name, value in known.answers.items() if concepts is None or name in concepts}
        if not truth:
            return [], {"pairs_without_knowledge": 1}
        readings = [read_answer(logic, pair.prompt, turns) for turns in (pair.chosen, pair.rejected)]
        chosen, rejected = (_critique(logic, reading, truth) for reading in readings)
        changes = {
            "chosen_critique": chosen,
            "rejected_critique": rejected,
            "expert_ids": tuple(sorted({*pair.expert_ids, *known.experts})),
            "provenance": {**pair.provenance, "critiques": WRITER},
        }
        silent = sum(not reading.parsed.claims for reading in readings)
        return [pair.model_copy(update=changes)], +Counter(answers_without_claims=silent)

    data_use = folder.manifest.data_use
    with DatasetBuild(out, "preference", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            commit_each(build, folder, become)
    return build.path


def _critique(logic: Logic, reading: Reading, known: Mapping[str, str]) -> str:
    """A conversation leaves out only what it was asked."""
    asked = None if reading.asked is None else [concept for concept in reading.asked if concept is not None]
    return write_critique(logic, reading.parsed, known, asked=asked)
