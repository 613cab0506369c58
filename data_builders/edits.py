"""Records from edited answers: the policy's own words, with an expert's claims written in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_builders.candidate_pairs import Grounding, Known, candidates_by_case, load_inputs, score_candidate
from data_builders.editing import Edit, edit_answer
from data_builders.knowledge import ExpertKnowledge, FindingFolders
from data_builders.loop import commit_each
from data_builders.pairing import PairingConfig
from data_builders.reading import prompt_of
from data_builders.scoring import ScoreWeights
from vlmalign.clinical import Logic
from vlmalign.clinical.schema import BankName
from vlmalign.records import (
    Candidate,
    Case,
    ChangedClaim,
    DatasetBuild,
    Demonstration,
    Preference,
    Record,
)
from vlmalign.records.hashing import derive_seed
from vlmalign.records.manifest import Kind

JUDGE = "expert_edit@1"
Writer = Callable[[Case, Candidate, Known, Edit, Counter[str]], Record | None]


def build_edits(
    cases: str | Path,
    candidates: str | Path,
    findings: FindingFolders,
    out: str | Path,
    *,
    logic: Logic,
    per_case: int = 1,
    seed: int = 0,
    bank: BankName = "train",
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> Path:
    """Write Demonstrations of edited answers (`source="edited"`).

    Args:
        cases: Case folder; references in it are never read.
        candidates: Candidate folder sampled from these cases.
        findings: Finding folder(s) of the expert; the first that has findings of a case decides.
        out: the Demonstration folder.
        logic: the domain's clinical logic.
        per_case: how many candidates per case and prompt, the first sampled first; only those that the token
            limit did not cut.
        seed: of the wording of what is written in.
        bank: which paraphrases.
        min_probability: how sure a finding must be to be written in.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts `candidates`, `unfinished` (cut by the token limit; left out),
        `edited`, `unchanged` (right as they were, kept), `not_editable` (nothing readable, or the edit would
        not read back; left out), `claims_changed`, `statements_cut`, `cases_without_candidates`,
        `cases_without_knowledge` and `uncertain_concepts`.

    Raises:
        ValueError: per_case below 1.
        DataError: a folder is missing or of another kind, or a candidate's case is not there.
    """
    inputs = _Inputs(cases, candidates, findings, logic, per_case, seed, bank, min_probability)
    return inputs.write(out, "demonstration", {"builder": "edits@2"}, _demonstration, overwrite)


def build_edit_pairs(
    cases: str | Path,
    candidates: str | Path,
    findings: FindingFolders,
    out: str | Path,
    *,
    logic: Logic,
    weights: ScoreWeights | None = None,
    per_case: int = 1,
    seed: int = 0,
    bank: BankName = "train",
    min_probability: float = 0.8,
    overwrite: bool = False,
) -> Path:
    """Write Preferences of each edited answer over the answer it was made from (`source="expert"`).

    `changed_claim` is set where exactly one concept changed and nothing was cut. An answer that needed no
    edit gives no pair (`unchanged`), and neither does one from which a question had to be dropped
    (`other_questions`): both sides must answer the same. The margin is the difference of both scores by
    `weights`; it is None where the original could not be scored. Other arguments and counts as for
    `build_edits`.
    """
    weights = weights or ScoreWeights()
    inputs = _Inputs(cases, candidates, findings, logic, per_case, seed, bank, min_probability)
    config = {"builder": "edit_pairs@2", "weights": weights.model_dump()}
    return inputs.write(out, "preference", config, _pair_writer(inputs.expert, logic, weights), overwrite)


class _Inputs:
    """The folders that both builders read, and their common loop."""

    def __init__(
        self,
        cases: str | Path,
        candidates: str | Path,
        findings: FindingFolders,
        logic: Logic,
        per_case: int,
        seed: int,
        bank: BankName,
        min_probability: float,
    ) -> None:
        if per_case < 1:
            raise ValueError(f"per_case is {per_case}: at least 1 is required")
        self.cases, self.candidates = load_inputs(cases, candidates)
        self.expert = ExpertKnowledge(logic, findings, min_probability=min_probability)
        self.logic = logic
        self.per_case = per_case
        self.seed = seed
        self.bank: BankName = bank
        self.config: dict[str, Any] = {
            "cases": self.cases.sha256,
            "candidates": self.candidates.sha256,
            "findings": self.expert.identity,
            "logic": logic.fingerprint,
            "per_case": per_case,
            "seed": seed,
            "bank": bank,
            "min_probability": min_probability,
        }

    def write(self, out: str | Path, kind: Kind, config: dict[str, Any], writer: Writer, overwrite: bool) -> Path:
        config = {**self.config, **config}
        data_use = self.cases.manifest.data_use
        with DatasetBuild(out, kind, config, overwrite=overwrite, data_use=data_use) as build:
            if build.finished:
                return build.path
            grouped = candidates_by_case(self.candidates, self.cases)
            commit_each(build, self.cases, lambda case: self._records(case, grouped.get(case.id, []), writer))
        return build.path

    def _records(
        self, case: Case, candidates: list[Candidate], writer: Writer
    ) -> tuple[list[Record], Counter[str]]:
        if not candidates:
            return [], Counter(cases=1, cases_without_candidates=1)
        known = self.expert(case)
        counts: Counter[str] = Counter(cases=1, **known.left_open)
        if not known.answers:
            counts["cases_without_knowledge"] = 1
            return [], +counts
        records: list[Record] = []
        whole = [candidate for candidate in candidates if candidate.finished]
        counts["unfinished"] = len(candidates) - len(whole)
        for candidate in self._first_of_each_prompt(case, whole):
            counts["candidates"] += 1
            prompt = prompt_of(case, candidate)
            wording = derive_seed(self.seed, candidate.id)
            edit = edit_answer(self.logic, prompt, candidate.messages, known.answers, seed=wording, bank=self.bank)
            if edit is None:
                counts["not_editable"] += 1
                continue
            counts["unchanged" if edit.unchanged else "edited"] += 1
            counts["claims_changed"] += len(edit.changed)
            counts["statements_cut"] += sum(edit.cut.values())
            record = writer(case, candidate, known, edit, counts)
            if record is not None:
                records.append(record)
        return records, +counts

    def _first_of_each_prompt(self, case: Case, candidates: list[Candidate]) -> list[Candidate]:
        taken: Counter[tuple[Any, ...]] = Counter()
        kept = []
        for candidate in candidates:
            prompt = prompt_of(case, candidate)
            taken[prompt] += 1
            if taken[prompt] <= self.per_case:
                kept.append(candidate)
        return kept


def _provenance(candidate: Candidate, known: Known, edit: Edit) -> dict[str, Any]:
    return {
        "candidate": candidate.id,
        "policy": candidate.policy,
        "known": dict(sorted(known.answers.items())),
        "uncertain": sorted(known.uncertain),
        "changed": {c: list(values) for c, values in edit.changed.items()},
        "cut": dict(edit.cut),
    }


def _demonstration(case: Case, candidate: Candidate, known: Known, edit: Edit, counts: Counter[str]) -> Record:
    return Demonstration(
        id=candidate.id,
        case_id=case.id,
        group_id=case.group_id,
        split=case.split,
        images=case.images,
        prompt=edit.prompt,
        response=edit.messages,
        source="edited",
        provenance={**_provenance(candidate, known, edit), "expert_ids": list(known.experts)},
    )


def _pair_writer(expert: ExpertKnowledge, logic: Logic, weights: ScoreWeights) -> Writer:
    grounding = Grounding(logic, "expert", JUDGE, expert, weights, PairingConfig())

    def pair(case: Case, candidate: Candidate, known: Known, edit: Edit, counts: Counter[str]) -> Record | None:
        if edit.unchanged or edit.messages == candidate.messages:
            return None
        if edit.prompt != prompt_of(case, candidate) or len(edit.messages) != len(candidate.messages):
            counts["other_questions"] += 1
            return None
        edited = candidate.model_copy(update={"messages": edit.messages, "tokens": None})
        scores = [score_candidate(case, answer, known, grounding) for answer in (edited, candidate)]
        better, worse = (scored.score.value for scored in scores)
        lengths = {"chosen_words": scores[0].words, "rejected_words": scores[1].words}
        return Preference(
            id=candidate.id,
            case_id=case.id,
            group_id=case.group_id,
            split=case.split,
            images=case.images,
            prompt=edit.prompt,
            chosen=edit.messages,
            rejected=candidate.messages,
            margin=None if better is None or worse is None else round(better - worse, 9),
            changed_claim=_only_change(edit),
            source="expert",
            expert_ids=known.experts,
            judge_ids=(JUDGE,),
            provenance={**_provenance(candidate, known, edit), "length": lengths},
        )

    return pair


def _only_change(edit: Edit) -> ChangedClaim | None:
    if len(edit.changed) != 1 or edit.cut:
        return None
    ((concept, (before, after)),) = edit.changed.items()
    return ChangedClaim(concept=concept, chosen=after, rejected=before)
