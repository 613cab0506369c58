"""A process reward: every turn of a conversation has a score, and the conversation has what they come to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, get_args

from PIL import Image

from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.records.suggestions import unknown
from vlmalign.rewards.logic_turns import LogicTurns
from vlmalign.rewards.prefix_turns import PrefixTurns
from vlmalign.rewards.protocol import RewardOutput, check_aligned, experts_behind
from vlmalign.rewards.registry import make
from vlmalign.rewards.rollout_turns import RolloutTurns
from vlmalign.rewards.turns import Turn, TurnScorer, TurnScores, turn_ends

Aggregate = Literal["min", "product", "mean", "last"]
Unscored = Literal["invalid", "skip"]
SCORERS: dict[str, Any] = {"logic": LogicTurns, "reward": PrefixTurns, "rollouts": RolloutTurns}


def aggregate_turns(scores: Sequence[float], aggregate: Aggregate) -> float:
    """One number from the scores of turns.

    min: a conversation is as good as its worst turn, and product: all turns are right, if each is so with its
    probability (both in Lightman et al. 2023, arXiv:2305.20050, and Math-Shepherd); last: what the end is worth.

    Args:
        scores: of the turns in order; one at least.
        aggregate: how.

    Raises:
        ValueError: no score, or for a product one that is no probability.

    Example:
        >>> [aggregate_turns([1.0, 0.5, 0.5], how) for how in ("min", "product", "mean", "last")]
        [0.5, 0.25, 0.6666666666666666, 0.5]
    """
    if not scores:
        raise ValueError("there is no score to aggregate: leave the conversation out.")
    if aggregate == "product":
        for score in scores:
            if not 0 <= score <= 1:
                raise ValueError(
                    f"a turn has the score {score}, expected a number from 0 to 1 for aggregate 'product': use "
                    "'min', or scores in that range (sigmoid: true, of a reward on prefixes)."
                )
        return math.prod(scores)
    if aggregate == "mean":
        return fmean(scores)
    return min(scores) if aggregate == "min" else scores[-1]


class ProcessReward:
    """Scores of the assistant's turns of a conversation, and one of them all; `steps` has each scored turn.

    Components: `turns`, `unscored_turns`, and `worst_turn`, the number (from 0) of the first turn with the least
    score, beside what the scorer counts. No standard deviation is known.

    Args:
        turns: what scores a turn: `logic`, `reward` (any reward, of the conversation so far), `rollouts`, or a
            scorer of one's own.
        settings: of the scorer: see `LogicTurns`, `PrefixTurns`, `RolloutTurns`.
        aggregate: `min`, `product`, `mean` or `last`.
        unscored: what a turn without a score does. `invalid`: its conversation has none either, with the turn's
            reason. `skip`: the others decide (of `last`, the last one with a score), and a policy may learn to say
            nothing that can be checked.

    Raises:
        ValueError: unknown names, or settings that the scorer refuses.
    """

    def __init__(
        self,
        turns: str | TurnScorer,
        *,
        settings: Mapping[str, Any] | None = None,
        aggregate: Aggregate = "min",
        unscored: Unscored = "invalid",
    ) -> None:
        for kind, value, choices in (
            ("aggregate", aggregate, get_args(Aggregate)),
            ("unscored rule", unscored, get_args(Unscored)),
        ):
            if value not in choices:
                raise ValueError(unknown(kind, str(value), choices))
        if isinstance(turns, str):
            if turns not in SCORERS:
                raise ValueError(unknown("turn scorer", turns, SCORERS))
            self.scorer: TurnScorer = make(f"turns {turns!r}", SCORERS[turns], dict(settings or {}))
        elif settings:
            raise ValueError("settings is given and turns is made already: name the scorer, or drop settings")
        else:
            self.scorer = turns
        self.aggregate, self.unscored = aggregate, unscored
        self.needs_images = self.scorer.needs_images
        self.experts = experts_behind(self.scorer)
        self.name = f"process@{config_hash([self.scorer.name, aggregate, unscored])[:8]}"

    def score_turns(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> TurnScores:
        """The scores of the turns of N candidates, unscored ones with their reasons; see `Reward.score`.

        Raises:
            ValueError: no images, where the scorer looks at them.
        """
        check_aligned(cases, candidates, images)
        if self.needs_images and images is None:
            raise ValueError("images is None: this process reward looks at the images, give those of every case")
        return self.scorer.score_turns(cases, candidates, images if self.needs_images else None)

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`.

        Raises:
            ValueError: no images where they are looked at, or scores that the aggregate cannot take.
        """
        found = self.score_turns(cases, candidates, images)
        scores, reasons, steps, components = [], [], [], []
        for candidate, turns, counts in zip(candidates, found.turns, found.components, strict=True):
            reason = self._why_invalid(turns)
            known = [turn.score for turn in turns if turn.score is not None]
            scores.append(aggregate_turns(known, self.aggregate) if reason is None else None)
            reasons.append(reason)
            ends = zip(turn_ends(candidate), turns, strict=True)
            steps.append(
                tuple((end, turn.score) for end, turn in ends if turn.score is not None)
                if reason is None
                else None
            )
            own = {"turns": float(len(turns)), "unscored_turns": float(len(turns) - len(known))}
            if known:
                own["worst_turn"] = float([turn.score for turn in turns].index(min(known)))
            components.append({**counts, **own})
        return RewardOutput.of(scores, reasons=reasons, components=components, steps=steps, flops=found.flops)

    def _why_invalid(self, turns: Sequence[Turn]) -> str | None:
        first = next((n for n, turn in enumerate(turns) if turn.score is None), None)
        if first is None:
            return None
        if self.unscored == "invalid":
            return f"turn {first}: {turns[first].reason}"
        if all(turn.score is None for turn in turns):
            return f"no turn has a score; turn {first}: {turns[first].reason}"
        return None
