"""Scoring a folder of demonstrations: one judgement of each answer that is to be imitated."""

from __future__ import annotations

from pathlib import Path

from vlmalign.records import Candidate, DatasetBuild, Demonstration, RecordFolder, Sampling
from vlmalign.rewards.pair_scoring import seen_case
from vlmalign.rewards.protocol import Reward
from vlmalign.rewards.scoring import commit_judgements, expert_settings


def score_demonstrations(
    reward: Reward,
    demonstrations: str | Path,
    out: str | Path,
    *,
    criterion: str | None = None,
    batch_size: int = 32,
    overwrite: bool = False,
) -> Path:
    """Write a judgement of every demonstration's answer. Resumable.

    The judgements' candidate ids are the ids of the demonstrations. `vlmalign data filter` drops the low ones:
    cleaning supervised data by a reward's score (IXC-2.5-Reward, Zang et al. 2025, arXiv:2501.12368).

    Args:
        reward: what scores.
        demonstrations: folder of demonstrations.
        out: folder of judgements to write.
        criterion: what the score is of; default the reward's name without its version.
        batch_size: demonstrations that are scored together.
        overwrite: start anew.

    Returns:
        `out`.

    Raises:
        DataError: a folder that cannot be used.
    """
    folder = RecordFolder(demonstrations, Demonstration)
    criterion = criterion or reward.name.partition("@")[0]
    config = {
        "stage": "score_demonstrations",
        "reward": reward.name,
        "criterion": criterion,
        "demonstrations": folder.sha256,
        "batch_size": batch_size,
        **expert_settings(reward),
    }
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "judgement", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            commit_judgements(
                build, reward, criterion, folder, batch_size,
                lambda record: [(seen_case(record), demonstrated(record))],
            )  # fmt: skip
    return Path(out)


def demonstrated(record: Demonstration) -> Candidate:
    """The answer of a demonstration as a candidate."""
    return Candidate(
        id=record.id,
        case_id=record.case_id,
        group_id=record.group_id,
        messages=record.response,
        policy="demonstration",
        sampling=Sampling(max_new_tokens=1),
        seed=0,
    )
