"""Scoring a folder of candidates: one judgement for each."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from vlmalign.records import (
    Candidate,
    Case,
    DatasetBuild,
    Demonstration,
    Judgement,
    Preference,
    RecordFolder,
)
from vlmalign.records.answered_case import check_case_is_there
from vlmalign.records.manifest import strictest
from vlmalign.rewards.protocol import Reward, RewardOutput, experts_behind

CUT = "unfinished: cut by the token limit"
NO_IMAGE = "there is no image: rewards judge what is said of one"

Asked = TypeVar("Asked", Case, Preference, Demonstration)
#: reward, criterion, cases, candidates, images -> judgements, and how many are invalid
Judge = Callable[
    [Reward, str, list[Case], list[Candidate], list[list[Image.Image]] | None], tuple[list[Judgement], int]
]


def score_candidates(
    reward: Reward,
    cases: str | Path,
    candidates: str | Path,
    out: str | Path,
    *,
    criterion: str | None = None,
    cases_per_batch: int = 8,
    overwrite: bool = False,
    judge: Judge | None = None,
    stage: str = "score",
) -> Path:
    """Write a judgement of every candidate, valid or not, in the order of the cases. Resumable.

    Counted in the manifest: `invalid` candidates (cut by the token limit, or not scored by the reward), and
    `cases_without_candidates`.

    Args:
        reward: what scores.
        cases: folder of cases.
        candidates: folder of candidates to these cases.
        out: folder of judgements to write.
        criterion: what the score is of; default the reward's name without its version.
        cases_per_batch: cases whose candidates are scored together.
        overwrite: start anew.
        judge: what makes the judgements of a batch; default `judge_candidates`, one per candidate.
        stage: its name, in the manifest.

    Returns:
        `out`.

    Raises:
        DataError: a candidate to a case that is not there; a folder that cannot be used.
    """
    opened = RecordFolder(cases, Case)
    answers = RecordFolder(candidates, Candidate)
    criterion = criterion or reward.name.partition("@")[0]
    config = {
        "stage": stage,
        "reward": reward.name,
        "criterion": criterion,
        "cases": opened.sha256,
        "candidates": answers.sha256,
        "cases_per_batch": cases_per_batch,
        **expert_settings(reward),
    }
    data_use = strictest([opened.manifest.data_use, answers.manifest.data_use])
    with DatasetBuild(out, "judgement", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            of_case = _by_case(answers, {case.id for case in opened})
            commit_judgements(
                build, reward, criterion, opened, cases_per_batch,
                lambda case: [(case, candidate) for candidate in of_case.get(case.id, [])],
                without_answers="cases_without_candidates", judge=judge,
            )  # fmt: skip
    return Path(out)


def expert_settings(reward: Reward) -> dict[str, list[str]]:
    """The entry `experts` of what builds a folder of judgements; none where no expert is behind the reward.

    Whoever makes training data of the judgements writes them on, so that no expert grades what it has taught.
    """
    experts = experts_behind(reward)
    return {"experts": list(experts)} if experts else {}


def _by_case(answers: RecordFolder[Candidate], known: set[str]) -> dict[str, list[Candidate]]:
    of_case: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in answers:
        check_case_is_there(candidate, known, answers.path)
        of_case[candidate.case_id].append(candidate)
    return of_case


def commit_judgements(
    build: DatasetBuild,
    reward: Reward,
    criterion: str,
    folder: RecordFolder[Asked],
    batch_size: int,
    answers_to: Callable[[Asked], Sequence[tuple[Case | None, Candidate]]],
    *,
    without_answers: str | None = None,
    judge: Judge | None = None,
) -> None:
    """Commit a judgement of every answer, one unit per batch; a build that continues skips what it has.

    Args:
        build: the folder of judgements, open.
        reward: what scores.
        criterion: what the score is of.
        folder: cases or pairs, which hold the images.
        batch_size: how many of them are scored together.
        answers_to: the answers of one of them, each with the case it is scored for; None where there is no image,
            and so no case: the answer is invalid.
        without_answers: name of the count of those that have none; default not counted.
        judge: what makes the judgements of a batch; default `judge_candidates`.
    """
    records = list(folder)
    for start in range(0, len(records), batch_size):
        batch = records[start : start + batch_size]
        if build.has(batch[0].id):
            continue
        answers = {record.id: answers_to(record) for record in batch}
        asked = [
            (name, case, answer) for name, each in answers.items() for case, answer in each if case is not None
        ]
        cases, candidates = [case for _, case, _ in asked], [answer for _, _, answer in asked]
        images = None
        if reward.needs_images and candidates:
            shown = {record.id: [folder.image(ref, record=record.id) for ref in record.images] for record in batch}
            images = [shown[name] for name, _, _ in asked]
        judged, invalid = (judge or judge_candidates)(reward, criterion, cases, candidates, images)
        unseen = [answer for each in answers.values() for case, answer in each if case is None]
        if unseen:
            nothing = RewardOutput.of([None] * len(unseen), reasons=[NO_IMAGE] * len(unseen))
            judged += [_judgement(reward.name, criterion, c, nothing, i) for i, c in enumerate(unseen)]
        counts = {"invalid": invalid + len(unseen)}
        if without_answers is not None:
            counts[without_answers] = sum(not each for each in answers.values())
        build.commit(batch[0].id, judged, counts)


def judge_candidates(
    reward: Reward,
    criterion: str,
    cases: list[Case],
    candidates: list[Candidate],
    images: list[list[Image.Image]] | None,
) -> tuple[list[Judgement], int]:
    """Judgements of N candidates to N cases, and how many of them are invalid.

    What the token limit cut is invalid and never shown to the reward, whichever it is: what such an answer
    leaves out it may have been about to say.
    """
    output = score_whole(reward, cases, candidates, images)
    judged = [_judgement(reward.name, criterion, candidate, output, i) for i, candidate in enumerate(candidates)]
    return judged, sum(not judgement.valid for judgement in judged)


def score_whole(
    reward: Reward,
    cases: Sequence[Case],
    candidates: Sequence[Candidate],
    images: Sequence[Sequence[Image.Image]] | None,
) -> RewardOutput:
    """Scores of N candidates, those that the token limit cut invalid whatever the reward would say.

    Args:
        reward: what scores; it sees whole candidates only.
        cases: the case of each candidate, N.
        candidates: N answers.
        images: the images of each candidate's case, N; None for rewards that look at none.
    """
    whole = [i for i, candidate in enumerate(candidates) if candidate.finished]
    if not whole:
        return RewardOutput.of([None] * len(candidates), reasons=[CUT] * len(candidates))
    if len(whole) == len(candidates):
        return reward.score(cases, candidates, images)
    shown = None if images is None else [images[i] for i in whole]
    output = reward.score([cases[i] for i in whole], [candidates[i] for i in whole], shown)
    return output.spread(whole, len(candidates), reason=CUT)


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
