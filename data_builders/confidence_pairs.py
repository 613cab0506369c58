"""Pairs that teach a reward to like a right answer that is sure of itself, and a wrong one that is not (PPO-M)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from data_builders.loop import commit_each
from vlmalign.records import DatasetBuild, Message, Preference, RecordFolder, assistant
from vlmalign.records.hashing import derive_seed

HIGH, LOW = (7, 10), (0, 3)
FORMAT = (
    "After your answer, write one more line that says how sure you are of it, from 0 (not at all) to 10 "
    "(certain):\n"
    "Confidence: <number>"
)


def build_confidence_pairs(
    preferences: str | Path, out: str | Path, *, plain: bool = True, seed: int = 0, overwrite: bool = False
) -> Path:
    """Write two pairs for each pair: the chosen answer sure over unsure, and the rejected one unsure over sure.

    Bradley-Terry on them is the loss of PPO-M, -log sigmoid(r(chosen, high) - r(chosen, low)) - log
    sigmoid(r(rejected, low) - r(rejected, high)) (Leng et al. 2024, arXiv:2410.09724, section 3.2), to be trained
    from a reward model that knows the answers already; with `plain` the pair itself is kept beside them, its
    combined variant. Confidence is 7 to 10 or 0 to 3, drawn for each answer. The prompt asks for the line in all
    of them.

    Args:
        preferences: Preference folder.
        out: the new Preference folder.
        plain: keep each pair itself, without confidence.
        seed: of the drawn confidence.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: `preferences` is not a complete Preference folder, or `out` holds something else.
    """
    folder = RecordFolder(preferences, Preference)
    config = {"builder": "confidence_pairs@1", "preferences": folder.sha256, "plain": plain, "seed": seed}
    data_use = folder.manifest.data_use
    with DatasetBuild(out, "preference", config, overwrite=overwrite, data_use=data_use) as build:
        if not build.finished:

            def pairs_of(pair: Preference) -> tuple[list[Preference], dict[str, int]]:
                return ([pair] if plain else []) + confidence_pairs(pair, seed=seed), {}

            commit_each(build, folder, pairs_of)
    return build.path


def confidence_pairs(pair: Preference, *, seed: int) -> list[Preference]:
    """Both sides of a pair, each as a pair of its own, which differs in stated confidence alone."""
    rng = random.Random(derive_seed("confidence", seed, pair.id))
    found = []
    for side, likes_high in (("chosen", True), ("rejected", False)):
        answer: Sequence[Message] = getattr(pair, side)
        high, low = (sure_of(answer, rng.randint(*bounds)) for bounds in (HIGH, LOW))
        found.append(
            pair.model_copy(
                update={
                    "id": f"{pair.id}/{side}-confidence",
                    "prompt": asking(pair.prompt),
                    "chosen": high if likes_high else low,
                    "rejected": low if likes_high else high,
                    "margin": None,
                    "chosen_rating": None,
                    "rejected_rating": None,
                    "chosen_critique": None,
                    "rejected_critique": None,
                    "changed_claim": None,
                    "provenance": {**pair.provenance, "confidence_of": {"pair": pair.id, "side": side}},
                }
            )
        )
    return found


def sure_of(answer: Sequence[Message], confidence: int) -> tuple[Message, ...]:
    r"""An answer whose last turn states a confidence from 0 to 10.

    Example:
        >>> sure_of([assistant("No leukocyte is seen.")], 9)[0].text
        'No leukocyte is seen.\nConfidence: 9'
    """
    return (*answer[:-1], assistant(f"{answer[-1].text}\nConfidence: {confidence}"))


def asking(prompt: Sequence[Message]) -> tuple[Message, ...]:
    """A prompt that asks for the line of confidence too."""
    last = prompt[-1]
    text = {"type": "text", "text": FORMAT}
    asked = Message.model_validate({"role": last.role, "content": [*last.content, text]})
    return (*prompt[:-1], asked)
