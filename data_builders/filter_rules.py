"""By which rules pairs and demonstrations are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vlmalign.records import Message

Unscored = Literal["keep", "drop"]


OPTIONS = ("unscored", "length_limits")  # how rules are applied, not rules


class _Rules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def given(self) -> list[str]:
        """Names of the rules that are set."""
        fields = type(self).model_fields
        return [name for name in fields if name not in OPTIONS and getattr(self, name) is not None]

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if not self.given:
            rules = [name for name in type(self).model_fields if name not in OPTIONS]
            raise ValueError(f"no rule is given: set one or more of {', '.join(rules)}")
        return self


class PairRules(_Rules):
    """Which pairs are kept; each rule that is given must be met."""

    min_margin: float | None = Field(
        None,
        description="drop pairs of a lower reward margin; 0 drops those that it decides otherwise",
    )
    min_certainty: float | None = Field(None, gt=0, description="drop pairs whose |margin| / std is lower")
    max_std: float | None = Field(None, ge=0, description="drop pairs whose margin's std is higher")
    max_length_ratio: float | None = Field(
        None, gt=0, description="drop pairs whose chosen answer has more words than this times the rejected one's"
    )
    max_extra_words: int | None = Field(
        None, ge=0, description="drop pairs whose chosen answer has more words than the rejected one and these"
    )
    length_limits: Literal["any", "all"] = Field(
        "any",
        description="with both limits of length, drop what exceeds any, or only what exceeds all",
    )
    top_share: float | None = Field(
        None, gt=0, le=1, description="of the scored pairs that are left keep this share, widest margins first"
    )
    unscored: Unscored = Field("drop", description="what becomes of pairs that the reward could not score")

    @property
    def by_reward(self) -> list[str]:
        """Names of the rules that need judgements."""
        return [name for name in self.given if name not in ("max_length_ratio", "max_extra_words")]


class DemonstrationRules(_Rules):
    """Which demonstrations are kept; each rule that is given must be met."""

    min_score: float | None = Field(None, description="drop demonstrations whose score is lower")
    drop_lowest: float | None = Field(
        None, gt=0, lt=1, description="of the scored ones drop this share, lowest scores first"
    )
    max_std: float | None = Field(None, ge=0, description="drop demonstrations whose score's std is higher")
    unscored: Unscored = Field("drop", description="what becomes of those that the reward could not score")


def words(turns: Sequence[Message]) -> int:
    """Words of the assistant's turns."""
    return sum(len(turn.text.split()) for turn in turns if turn.role == "assistant")


def too_long(chosen: int, rejected: int, rules: PairRules) -> bool:
    """Whether the chosen answer is longer than the rejected one beyond the limits.

    The length constraint of IXC-2.5-Reward (Zang et al. 2025, arXiv:2501.12368), whose threshold is not published.

    Args:
        chosen: its words.
        rejected: its words.
        rules: with their limits.

    Example:
        >>> too_long(30, 10, PairRules(max_length_ratio=2.0)), too_long(10, 30, PairRules(max_length_ratio=2.0))
        (True, False)
    """
    exceeded = []
    if rules.max_length_ratio is not None:
        exceeded.append(chosen > rules.max_length_ratio * rejected and chosen > rejected)
    if rules.max_extra_words is not None:
        exceeded.append(chosen > rejected + rules.max_extra_words)
    return bool(exceeded) and (all(exceeded) if rules.length_limits == "all" else any(exceeded))
