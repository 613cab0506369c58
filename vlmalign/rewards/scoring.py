"""Scoring a folder of candidates: one judgement for each."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from PIL import Image

from vlmalign.records import Candidate, Case, DataError, DatasetBuild, Judgement, RecordFolder
from vlmalign.rewards.protocol import Reward, RewardOutput


def score_candidates(
    reward: Reward,
    cases: str | Path,
    candidates: str | Path,
    out: str | Path,
    *,
    criterion: str | None = None,
    cases_per_batch: int = 8,
    overwrite: bool = False,
) -> Path:
    """Write a judgement of every candidate, valid or not, in the order of the cases. Resumable.

    Counted in the manifest: `invalid` candidates, and `cases_without_candidates`.

    Args:
        reward: what scores.
        cases: folder of cases.
        candidates: folder of candidates to these cases.
        out: folder of judgements to write.
        criterion: what the score is of; default the reward's name without its version.
        cases_per_batch: cases whose candidates are scored together.
        overwrite: start anew.

    Returns:
        `out`.

    Raises:
        DataError: a candidate to a case that is not there; a folder that cannot be used.
    """
    opened = RecordFolder(cases, Case)
    answers = RecordFolder(candidates, Candidate)
    criterion = criterion or reward.name.partition("@")[0]
    config = {
        "stage": "score",
        "reward": reward.name,
        "criterion": criterion,
        "cases": opened.sha256,
        "candidates": answers.sha256,
        "cases_per_batch": cases_per_batch,
    }
    with DatasetBuild(out, "judgement", config, overwrite=overwrite) as build:
        if build.finished:
            return Path(out)
        records = list(opened)
        of_case = _by_case(answers, {case.id for case in records})
        for start in range(0, len(records), cases_per_batch):
            batch = records[start : start + cases_per_batch]
            if not build.has(batch[0].id):
                judged, counts = _judge(reward, criterion, opened, batch, of_case)
                build.commit(batch[0].id, judged, counts)
    return Path(out)


def _by_case(answers: RecordFolder[Candidate], known: set[str]) -> dict[str, list[Candidate]]:
    of_case: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in answers:
        if candidate.case_id not in known:
            raise DataError(
                f"the candidate answers case {candidate.case_id!r}, which is not in the folder of cases",
                "Pass the cases that the candidates were generated for.",
                file=answers.path,
                record=candidate.id,
                field="case_id",
            )
        of_case[candidate.case_id].append(candidate)
    return of_case


def _judge(
    reward: Reward,
    criterion: str,
    folder: RecordFolder[Case],
    cases: list[Case],
    of_case: dict[str, list[Candidate]],
) -> tuple[list[Judgement], dict[str, int]]:
    pairs = [(case, candidate) for case in cases for candidate in of_case.get(case.id, [])]
    empty = sum(not of_case.get(case.id) for case in cases)
    if not pairs:
        return [], {"invalid": 0, "cases_without_candidates": empty}
    images = None
    if reward.needs_images:
        decoded = {case.id: [folder.image(ref, record=case.id) for ref in case.images] for case in cases}
        images = [decoded[case.id] for case, _ in pairs]
    judged, invalid = judge_candidates(reward, criterion, [c for c, _ in pairs], [c for _, c in pairs], images)
    return judged, {"invalid": invalid, "cases_without_candidates": empty}


def judge_candidates(
    reward: Reward,
    criterion: str,
    cases: list[Case],
    candidates: list[Candidate],
    images: list[list[Image.Image]] | None,
) -> tuple[list[Judgement], int]:
    """Judgements of N candidates to N cases, and how many of them are invalid."""
    output = reward.score(cases, candidates, images)
    judged = [_judgement(reward.name, criterion, candidate, output, i) for i, candidate in enumerate(candidates)]
    return judged, output.valid.count(False)


def _judgement(judge: str, criterion: str, candidate: Candidate, output: RewardOutput, i: int) -> Judgement:
    std = output.std[i]
    return Judgement(
        id=f"{candidate.id}/{criterion}",
        case_id=candidate.case_id,
        candidate_ids=(candidate.id,),
        criterion=criterion,
        score=output.mean[i] if output.valid[i] else None,
        std=None if math.isnan(std) else std,
        components={name: v[i] for name, v in output.components.items() if not math.isnan(v[i])},
        critique=output.critiques[i] if output.critiques else None,
        step=None,
        display_order=None,
        confidence=None,
        judge=judge,
        valid=output.valid[i],
        invalid_reason=output.reasons[i],
    )
