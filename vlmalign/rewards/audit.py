"""The scoring half of the shortcut audit: one reward scores variants of the same pairs, a folder for each."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from vlmalign.records import DataError, DatasetBuild, Preference, RecordFolder
from vlmalign.records.scores import SIDES
from vlmalign.rewards.pair_scoring import as_pair_reward, pair_case, side_candidate
from vlmalign.rewards.protocol import Reward
from vlmalign.rewards.scoring import commit_judgements, expert_settings
from vlmalign.rewards.variants import (
    ANSWER_ONLY,
    BLANKED,
    CONCISE,
    MARKDOWN,
    SEEN,
    Variant,
    VariantFolder,
    swapped,
)

VARIANTS = ("seen", "blanked", "swapped", "answer_only", "concise", "markdown")


def audit_variants(
    pairs: RecordFolder[Preference], reward: Reward, names: Collection[str] = VARIANTS, *, seed: int = 0
) -> list[Variant]:
    """The variants to score, `seen` first. A reward that takes no pictures is spared those that change them alone.

    Args:
        pairs: folder of preferences.
        reward: what is audited.
        names: which of `VARIANTS`; `seen` always belongs to them, and each style to the other.
        seed: of `swapped`.

    Raises:
        ValueError: an unknown variant.
        DataError: a pair without a picture, or no other group whose pictures could be shown.
    """
    wanted = {"seen", *names}
    if wanted & {"concise", "markdown"}:
        wanted |= {"concise", "markdown"}
    if unknown := wanted - set(VARIANTS):
        raise ValueError(f"variants {sorted(unknown)} are unknown: choose among {', '.join(VARIANTS)}")
    for pair in pairs:
        if not pair.images:
            raise DataError(
                "the pair has no picture, and the audit asks what pictures are worth",
                "Give pairs with pictures.",
                file=pairs.path,
                record=pair.id,
                field="images",
            )
    makers: dict[str, Callable[[], Variant]] = {
        variant.name: lambda variant=variant: variant  # type: ignore[misc]
        for variant in (SEEN, BLANKED, ANSWER_ONLY, CONCISE, MARKDOWN)
    }
    makers["swapped"] = lambda: swapped(pairs, seed=seed, source=pairs.path)
    blind = set() if reward.needs_images else {"blanked", "swapped"}
    return [makers[name]() for name in VARIANTS if name in wanted - blind]


def score_variant(
    reward: Reward,
    pairs: str | Path,
    variant: Variant,
    out: str | Path,
    *,
    seed: int = 0,
    pairs_per_batch: int = 16,
    overwrite: bool = False,
) -> Path:
    """Write a judgement of both sides of every pair as the variant shows them. Resumable.

    Candidate ids are those of `score_pairs`, so that the folders of two variants are compared pair by pair.

    Args:
        reward: what scores.
        pairs: folder of preferences.
        variant: what is changed.
        out: folder of judgements to write.
        seed: that the variant was made with.
        pairs_per_batch: pairs that are scored together.
        overwrite: start anew.

    Returns:
        `out`.

    Raises:
        DataError: a folder that cannot be used.
    """
    folder = VariantFolder(pairs, variant)
    criterion = reward.name.partition("@")[0]
    config = {
        "stage": "score_variant",
        "variant": variant.name,
        "seed": seed if variant.name == "swapped" else None,
        "reward": reward.name,
        "criterion": criterion,
        "pairs": folder.sha256,
        "pairs_per_batch": pairs_per_batch,
        **expert_settings(reward),
    }
    notes = {"variant": f"{variant.about}: for an audit, not for use"}
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "judgement", config, overwrite=overwrite, notes=notes, data_use=data_use) as build:
        if not build.finished:
            commit_judgements(
                build, as_pair_reward(reward), criterion, folder, pairs_per_batch,
                lambda pair: [(pair_case(pair), side_candidate(pair, side)) for side in SIDES],
            )  # fmt: skip
    return Path(out)
