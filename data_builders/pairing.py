"""From the scored candidates of one case to pairs: which answer is preferred to which, and which pairs not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_builders.scoring import Score
from vlmalign.records import Candidate

EPSILON = 1e-9  # scores are sums of fractions: differences below this are rounding


class PairingConfig(BaseModel):
    """Which pairs of one case's candidates are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["best_worst", "all"] = Field(
        "best_worst", description="one pair per case (best over worst), or every pair with the margin"
    )
    min_margin: float = Field(0.25, gt=0, description="smallest score(chosen) - score(rejected); less is a tie")
    max_pairs: int | None = Field(None, gt=0, description="with mode 'all': at most so many, widest margins first")
    max_length_ratio: float | None = Field(
        None, gt=0, description="skip pairs whose chosen answer is longer than this times the rejected one"
    )
    match_unverified: bool = Field(
        False,
        description="with mode 'best_worst': among pairs with nearly the widest margin take the one whose "
        "unchecked claims differ least, so that what nobody checked is not preferred by chance",
    )
    near_margin: float = Field(0.34, ge=0, description="how much margin `match_unverified` may give up")
    invalid_as_rejected: bool = Field(
        False, description="when no valid pair is left, reject an invalid candidate below the best valid one"
    )

    @model_validator(mode="after")
    def _options_agree(self) -> PairingConfig:
        if self.mode == "best_worst" and self.max_pairs is not None:
            raise ValueError(
                "max_pairs is for mode 'all': 'best_worst' makes one pair per case. Remove one of them."
            )
        if self.mode == "all" and self.match_unverified:
            raise ValueError("match_unverified chooses one pair per case: use it with mode 'best_worst'.")
        return self


@dataclass(frozen=True)
class Scored:
    """A candidate with its score and what pairing needs to know of its text.

    Attributes:
        candidate: the answer.
        score: its score.
        words: its length in words.
        unrecognised: sentences that the logic could not read.
    """

    candidate: Candidate
    score: Score
    words: int
    unrecognised: int = 0

    @property
    def length(self) -> int:
        """Length in tokens where it was recorded, else in words."""
        return self.words if self.candidate.tokens is None else self.candidate.tokens


@dataclass(frozen=True)
class Pair:
    """One decided pair; `margin` is None when the rejected side is invalid and so has no score."""

    chosen: Scored
    rejected: Scored
    margin: float | None
    unverified_difference: int


def make_pairs(scored: Sequence[Scored], config: PairingConfig) -> tuple[list[Pair], Counter[str]]:
    """Decide the pairs of one case.

    Args:
        scored: the case's candidates in sampling order; which of two equal ones is taken depends on it only.
        config: the rules.

    Returns:
        The pairs, and how much was left out and why: `candidates`, `duplicates` (same text as another
        candidate; a valid one is kept), `invalid` and `invalid:<reason>`, `ties` (two valid
        candidates closer than the margin), `too_long` (pairs refused for length), `cases_without_pair`.
    """
    counts: Counter[str] = Counter(candidates=len(scored))
    different = _without_duplicates(scored, counts)
    valid = [s for s in different if s.score.valid]
    invalid = [s for s in different if not s.score.valid]
    for s in invalid:
        counts["invalid"] += 1
        counts[f"invalid:{s.score.reason}"] += 1
    possible = _with_margin(valid, config, counts)
    allowed = [pair for pair in possible if _length_allowed(pair, config)]
    counts["too_long"] += len(possible) - len(allowed)
    pairs = _select(allowed, config)
    if not pairs and config.invalid_as_rejected and valid and invalid:
        best = max(valid, key=_value)
        fallback = Pair(best, invalid[0], None, unverified_difference(best, invalid[0]))
        if _length_allowed(fallback, config):
            pairs = [fallback]
            counts["pairs_with_invalid"] += 1
        else:
            counts["too_long"] += 1
    counts["cases_without_pair"] += not pairs
    return pairs, +counts


def unverified_difference(one: Scored, other: Scored) -> int:
    """In how many unchecked things two answers differ: unverified claims, and unreadable sentences.

    Sentences that the logic cannot read are unchecked as well, so a difference in their number counts.
    """
    a, b = one.score.unverified, other.score.unverified
    claims = sum(a.get(concept) != b.get(concept) for concept in {*a, *b})
    return claims + abs(one.unrecognised - other.unrecognised)


def _without_duplicates(scored: Sequence[Scored], counts: Counter[str]) -> list[Scored]:
    kept: dict[tuple[str, ...], Scored] = {}
    for s in scored:
        text = tuple(" ".join(m.text.split()).lower() for m in s.candidate.messages)
        if text in kept:
            counts["duplicates"] += 1
        if text not in kept or s.score.valid and not kept[text].score.valid:  # the same words, but whole
            kept[text] = s
    return list(kept.values())


def _value(s: Scored) -> float:
    return -math.inf if s.score.value is None else s.score.value


def _with_margin(valid: Sequence[Scored], config: PairingConfig, counts: Counter[str]) -> list[Pair]:
    pairs = []
    for one, other in combinations(valid, 2):
        chosen, rejected = (one, other) if _value(one) >= _value(other) else (other, one)
        margin = _value(chosen) - _value(rejected)
        if margin < config.min_margin - EPSILON:
            counts["ties"] += 1
        else:
            pairs.append(Pair(chosen, rejected, margin, unverified_difference(chosen, rejected)))
    return pairs


def _length_allowed(pair: Pair, config: PairingConfig) -> bool:
    if config.max_length_ratio is None:
        return True
    return pair.chosen.length <= config.max_length_ratio * pair.rejected.length


def _select(pairs: list[Pair], config: PairingConfig) -> list[Pair]:
    if not pairs:
        return []
    ordered = sorted(pairs, key=lambda p: -(p.margin or 0.0))  # stable: sampling order among equals
    if config.mode == "all":
        return ordered[: config.max_pairs]
    if not config.match_unverified:
        return ordered[:1]
    least = (ordered[0].margin or 0.0) - config.near_margin - EPSILON
    near = [p for p in ordered if (p.margin or 0.0) >= least]
    return [min(near, key=lambda p: p.unverified_difference)]
