"""Scoring a folder of preference pairs: one judgement for each side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from vlmalign.records import (
    Candidate,
    Case,
    DataError,
    DatasetBuild,
    Demonstration,
    Message,
    Preference,
    RecordFolder,
    Sampling,
)
from vlmalign.records.scores import MARGIN_STD, SIDES, side_id
from vlmalign.rewards.protocol import MarginReward, Reward, RewardOutput
from vlmalign.rewards.scoring import commit_judgements, expert_settings


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

    The judgements' candidate ids are `<pair id>/chosen` and `<pair id>/rejected`. Of a reward that knows the doubt
    in a difference (`MarginReward`), both have the component `margin_std`. Pairs without an image are invalid.

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
        **expert_settings(reward),
    }
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "judgement", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:
            commit_judgements(
                build, as_pair_reward(reward), criterion, folder, pairs_per_batch,
                lambda pair: [(seen_case(pair), side_candidate(pair, side)) for side in SIDES],
            )  # fmt: skip
    return Path(out)


def seen_case(pair: Preference | Demonstration) -> Case | None:
    """As `pair_case`; None where there is no image."""
    return pair_case(pair) if pair.images else None


def pair_case(pair: Preference | Demonstration) -> Case:
    """The prompt of a pair, or of a demonstration, as a case.

    Raises:
        DataError: it has no image, and so is none.
    """
    if not pair.images:
        raise DataError(
            "the record has no image: rewards judge what is said of one",
            "Leave it out.",
            record=pair.id,
            field="images",
        )
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


def as_pair_reward(reward: Reward) -> Reward:
    """The reward, to be given both sides of each pair beside each other: it then tells the doubt in each
    difference.

    One that knows nothing of differences stays as it is.
    """
    return _PairReward(reward) if isinstance(reward, MarginReward) else reward


class _PairReward:
    """Scores both sides of pairs, which stand beside each other, as pairs."""

    def __init__(self, reward: MarginReward) -> None:
        self.reward, self.name, self.needs_images = reward, reward.name, reward.needs_images

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Scores in the order of the candidates."""
        shown = None if images is None else images[::2]
        found = self.reward.score_margins(cases[::2], candidates[::2], candidates[1::2], shown)
        stds = [std for std in found.std for _ in SIDES]
        return found.firsts.interleaved(found.seconds).with_component(MARGIN_STD, stds)
