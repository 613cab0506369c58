"""What is watched of a round, as sums with their counts."""

from __future__ import annotations

import math
from typing import Any

from vlmalign.losses.ppo import explained_variance
from vlmalign.rewards import RewardOutput
from vlmalign.training.experience import Experience
from vlmalign.training.rollouts import Rollout
from vlmalign.training.shaping import ShapedScores

Sums = dict[str, tuple[Any, Any]]


def rollout_signals(rollout: Rollout, shaped: ShapedScores) -> Sums:
    """Of the answers: rewards of the valid ones, how many are valid and how many cut, lengths, entropy per token.

    `scored` is the share that the reward itself could score; `valid` that which takes part in the update, answers
    that the settings give a score (`shaping.cut`, `shaping.unscored`) among them, and `reward` the mean over the
    latter.
    `entropy` is minus the mean log-probability of the sampled tokens, which at temperature 1 estimates the
    policy's entropy. `cases_without_contrast` have no two valid answers of different score: advantages by group
    learn nothing from them. `confidence` is the mean of what answers state.
    """
    n, valid, scores = len(rollout.candidates), shaped.valid, shaped.scores
    stated = shaped.confidence[~shaped.confidence.isnan()]
    flat = 0
    for case in range(len(rollout.items)):
        own = scores[(rollout.prompt_of == case) & valid]
        flat += len(own) < 2 or bool(own.max() - own.min() < 1e-8)
    return {
        "reward": (scores[valid].sum(), valid.sum()),
        "shaped_reward": (shaped.token_rewards[valid].sum(), valid.sum()),
        "scored": (sum(reason is None for reason in shaped.reasons), n),
        "valid": (valid.sum(), n),
        "cut": (sum(not candidate.finished for candidate in rollout.candidates), n),
        "tokens": (rollout.lengths.sum(), n),
        "padded": ((~rollout.mask).sum(), rollout.mask.numel()),
        "entropy": (-sum(candidate.logp or 0.0 for candidate in rollout.candidates), rollout.lengths.sum()),
        "cases_without_contrast": (flat, len(rollout.items)),
        "confidence": (stated.sum(), len(stated)),
        "confidence_stated": (len(stated), n),
    }


def gold_signals(gold: RewardOutput) -> Sums:
    """The gold reward of the same answers."""
    known = [value for value, valid in zip(gold.mean, gold.valid, strict=True) if valid]
    return {"gold": (sum(known), len(known)), "gold_valid": (len(known), len(gold))}


def critic_signals(experience: Experience) -> Sums:
    """How well the critic foresaw the returns; nothing without a critic, or where all returns are the same."""
    if experience.returns is None or experience.old_values is None:
        return {}
    explained = explained_variance(experience.old_values[experience.mask], experience.returns[experience.mask])
    return {"explained_variance": (explained, 1) if math.isfinite(explained) else (0.0, 0)}


def answer_lines(rollout: Rollout, shaped: ShapedScores, step: int) -> list[dict[str, Any]]:
    """The answers for people to read, a line each, with the reward's own score, or why it has none.

    `counted_as` is the score that the settings gave to one without.
    """
    return [
        {
            "step": step,
            "case": candidate.case_id,
            "text": candidate.text,
            "score": float(shaped.scores[row]) if reason is None else None,
            "invalid_reason": reason,
            "counted_as": float(shaped.scores[row]) if reason is not None and shaped.valid[row] else None,
        }
        for row, (candidate, reason) in enumerate(zip(rollout.candidates, shaped.reasons, strict=True))
    ]
