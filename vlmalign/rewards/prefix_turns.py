"""Turns of a conversation scored by any reward of the conversation so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from vlmalign.records import Candidate, Case
from vlmalign.rewards.protocol import Reward, experts_behind
from vlmalign.rewards.registry import load_reward
from vlmalign.rewards.turns import Turn, TurnScores, prefixes


class PrefixTurns:
    """The score that a reward gives to the conversation up to each turn, as if it ended there.

    With a scalar reward model trained on pairs whose rejected conversation breaks one step, this is a trained
    process reward.

    Args:
        reward: the reward, or its name.
        settings: of a reward that is named.
        sigmoid: turn scores into 1 / (1 + exp(-score)), between 0 and 1, as a product of scores needs them.
    """

    def __init__(
        self, reward: Reward | str, *, settings: Mapping[str, Any] | None = None, sigmoid: bool = False
    ) -> None:
        if isinstance(reward, str):
            self.reward = load_reward(reward, **(settings or {}))
        else:
            if settings:
                raise ValueError("settings is given and reward is made already: name the reward, or drop settings")
            self.reward = reward
        self.sigmoid = sigmoid
        self.needs_images = self.reward.needs_images
        self.experts = experts_behind(self.reward)
        self.name = f"prefix:{self.reward.name}" + (":sigmoid" if sigmoid else "")

    def score_turns(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> TurnScores:
        """Score the turns of N candidates; one that the reward finds invalid has no score, and its reason."""
        parts = [prefixes(candidate) for candidate in candidates]
        owner = [i for i, own in enumerate(parts) for _ in own]
        output = self.reward.score(
            [cases[i] for i in owner],
            [part for own in parts for part in own],
            None if images is None else [images[i] for i in owner],
        )
        found = iter(zip(output.mean, output.valid, output.reasons, strict=True))
        turns = [[self._turn(*next(found)) for _ in own] for own in parts]
        return TurnScores(turns, [{} for _ in parts], output.flops)

    def _turn(self, mean: float, valid: bool, reason: str | None) -> Turn:
        if not valid:
            return Turn(None, reason)
        return Turn(0.5 * (1 + math.tanh(mean / 2)) if self.sigmoid else mean, None)
