"""Scores of turns as records: one judgement for each, to train a process reward model from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vlmalign.records import Candidate, Case, Judgement
from vlmalign.rewards.process import ProcessReward
from vlmalign.rewards.scoring import CUT, score_candidates
from vlmalign.rewards.turns import Turn, turn_places


def score_steps(
    reward: ProcessReward,
    cases: str | Path,
    candidates: str | Path,
    out: str | Path,
    *,
    criterion: str | None = None,
    cases_per_batch: int = 8,
    overwrite: bool = False,
) -> Path:
    """Write a judgement of every assistant turn of every candidate, valid or not. Resumable.

    Its `step` is the turn's number, from 0, and its id `<candidate id>/<criterion>/<step>`. How the reward would
    put turns together does not matter. Arguments, counts and errors as for `score_candidates`; `invalid` counts
    turns.
    """
    return score_candidates(
        reward, cases, candidates, out, criterion=criterion, cases_per_batch=cases_per_batch,
        overwrite=overwrite, judge=judge_turns, stage="score_steps",
    )  # fmt: skip


def judge_turns(
    reward: Any,
    criterion: str,
    cases: list[Case],
    candidates: list[Candidate],
    images: list[list[Image.Image]] | None,
) -> tuple[list[Judgement], int]:
    """Judgements of all turns of N candidates, and how many are invalid; all those of a candidate that was cut."""
    whole = [i for i, candidate in enumerate(candidates) if candidate.finished]
    turns_of: dict[int, Sequence[Turn]] = {}
    if whole:
        shown = None if images is None else [images[i] for i in whole]
        found = reward.score_turns([cases[i] for i in whole], [candidates[i] for i in whole], shown)
        turns_of = dict(zip(whole, found.turns, strict=True))
    judged = []
    for i, candidate in enumerate(candidates):
        turns = turns_of.get(i, [Turn(None, CUT)] * len(turn_places(candidate)))
        for step, turn in enumerate(turns):
            judged.append(
                Judgement(
                    id=f"{candidate.id}/{criterion}/{step}",
                    case_id=candidate.case_id,
                    candidate_ids=(candidate.id,),
                    criterion=criterion,
                    score=turn.score,
                    step=step,
                    judge=reward.name,
                    valid=turn.score is not None,
                    invalid_reason=turn.reason,
                )
            )
    return judged, sum(not judgement.valid for judgement in judged)
