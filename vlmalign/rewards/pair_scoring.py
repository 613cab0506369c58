"""Scoring a folder of preference pairs: one judgement for each side."""

from __future__ import annotations

from pathlib import Path

from vlmalign.records import (
    Candidate,
    Case,
    DatasetBuild,
    Demonstration,
    Message,
    Preference,
    RecordFolder,
    Sampling,
)
from vlmalign.records.scores import SIDES, side_id
from vlmalign.rewards.protocol import Reward
from vlmalign.rewards.scoring import commit_judgements


def score_pairs(
    reward: Reward,
    pairs: str | Path,
    out: str | Path,
    *,
    criterion: str | None = None,
    pairs_per_batch: int = 16,
    overwrite: bool = False,
) -> Path:
    """Write a judgement of the chosen and of the rejected answer of every pair. Resumable.

    The judgements' candidate ids are `<pair id>/chosen` and `<pair id>/rejected`.

    Args:
        reward: what scores; it never learns which side was chosen.
        pairs: folder of preferences.
        out: folder of judgements to write.
        criterion: what the score is of; default the reward's name without its version.
        pairs_per_batch: pairs that are scored together.
        overwrite: start anew.

    Returns:
        `out`.

    Raises:
        DataError: a folder that cannot be used.
    """
    folder = RecordFolder(pairs, Preference)
    criterion = criterion or reward.name.partition("@")[0]
    config = {
        "stage": "score_pairs",
        "reward": reward.name,
        "criterion": criterion,
        "pairs": folder.sha256,
        "pairs_per_batch": pairs_per_batch,
    }
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "judgement", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            commit_judgements(
                build, reward, criterion, folder, pairs_per_batch,
                lambda pair: [(pair_case(pair), side_candidate(pair, side)) for side in SIDES],
            )  # fmt: skip
    return Path(out)


def pair_case(pair: Preference | Demonstration) -> Case:
    """The prompt of a pair, or of a demonstration, as a case."""
    return Case(
        id=pair.case_id,
        images=pair.images,
        messages=pair.prompt,
        domain="any",
        split=pair.split,
        group_id=pair.group_id,
        group_kind="any",
    )


def side_candidate(pair: Preference, side: str) -> Candidate:
    """One side of a pair as a candidate."""
    turns: tuple[Message, ...] = getattr(pair, side)
    return Candidate(
        id=side_id(pair.id, side),
        case_id=pair.case_id,
        group_id=pair.group_id,
        messages=turns,
        policy="pair",
        sampling=Sampling(max_new_tokens=1),
        seed=0,
    )
