"""What a judge says of answers: a score, a verdict, a ranking."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vlmalign.records.base import Record

Verdict = Literal["first", "second", "tie"]


class Judgement(Record):
    """A score of one candidate or a verdict on two; invalid is a state, never a number.

    Example:
        >>> Judgement(id="j1", case_id="c1", candidate_ids=("c1/0",), criterion="expert",
        ...           judge="expert_verified@1", valid=False, invalid_reason="no claim parsed").score is None
        True
    """

    case_id: str
    candidate_ids: tuple[str, ...] = Field(min_length=1, max_length=2)
    criterion: str = Field(min_length=1)
    score: float | None = None
    verdict: Verdict | None = None
    std: float | None = Field(None, ge=0)
    components: dict[str, float] = Field(default_factory=dict)
    critique: str | None = None
    step: int | None = Field(None, ge=0, description="which assistant turn, for process rewards")
    judge: str = Field(min_length=1, description="judge id and version")
    display_order: tuple[str, ...] | None = Field(None, description="candidate ids as they were shown")
    confidence: float | None = Field(None, ge=0, le=1)
    valid: bool = True
    invalid_reason: str | None = None

    @model_validator(mode="after")
    def _scored_or_invalid(self) -> Judgement:
        if self.valid and self.score is None and self.verdict is None:
            raise ValueError("valid is true but neither score nor verdict is given")
        if not self.valid and (self.score is not None or self.verdict is not None):
            raise ValueError("valid is false but a score or verdict is given: an unscored answer has none")
        if not self.valid and not self.invalid_reason:
            raise ValueError("valid is false but invalid_reason is empty")
        if self.verdict is not None and len(self.candidate_ids) != 2:
            raise ValueError("a verdict needs two candidate_ids")
        return self


class Ranking(Record):
    """K candidates of one case in order; equal ranks are ties.

    Example:
        >>> Ranking(id="r1", case_id="c1", candidate_ids=("a", "b"), ranks=(1, 2), scores=(0.9, 0.1)).ranks
        (1, 2)
    """

    case_id: str
    candidate_ids: tuple[str, ...] = Field(min_length=2)
    ranks: tuple[int, ...] = Field(description="1 is best; equal numbers are ties")
    scores: tuple[float | None, ...] | None = None

    @model_validator(mode="after")
    def _one_rank_each(self) -> Ranking:
        k = len(self.candidate_ids)
        if len(set(self.candidate_ids)) != k:
            raise ValueError("candidate_ids has a duplicate")
        if len(self.ranks) != k or (self.scores is not None and len(self.scores) != k):
            raise ValueError(f"ranks and scores must each have {k} entries, one per candidate")
        return self
