"""A preference pair, and a supervised example: what training reads."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from vlmalign.records.base import Part, Record
from vlmalign.records.case import Message, Split, check_prompt
from vlmalign.records.image import ImageRef

Source = Literal["judge", "symbolic", "expert", "reward", "metric", "reader", "human", "import"]


class Dyad(NamedTuple):
    """Two groups that one item depends on, in order; items that share either are not independent."""

    first: str
    second: str


class ChangedClaim(Part):
    """The one claim in which chosen and rejected differ, where that is known."""

    concept: str
    chosen: str | None = None
    rejected: str | None = None


class Preference(Record):
    """Of two answers to one prompt, the first is better.

    Example:
        >>> from vlmalign.records import assistant, user
        >>> pair = Preference(
        ...     id="p1", case_id="c1", group_id="9f0c", split="train",
        ...     images=(ImageRef(path="images/x.png", sha256="0" * 64),),
        ...     prompt=(user("Describe the field.", images=1),),
        ...     chosen=(assistant("No leukocyte is seen."),),
        ...     rejected=(assistant("A leukocyte is present."),),
        ...     margin=1.0, source="expert")
        >>> pair.weight
        1.0
    """

    case_id: str
    group_id: str = Field(min_length=1)
    split: Split
    images: tuple[ImageRef, ...] = Field(description="in the order of their places; () for text alone")
    prompt: tuple[Message, ...] = Field(min_length=1)
    chosen: tuple[Message, ...] = Field(min_length=1)
    rejected: tuple[Message, ...] = Field(min_length=1)
    margin: float | None = Field(
        None, allow_inf_nan=False, description="score(chosen) - score(rejected), in the judge's units"
    )
    chosen_rating: float | None = Field(
        None, allow_inf_nan=False, description="the judge's score of the chosen answer alone"
    )
    rejected_rating: float | None = Field(
        None, allow_inf_nan=False, description="that of the rejected one, in the same units"
    )
    weight: float = Field(1.0, ge=0)
    chosen_critique: str | None = None
    rejected_critique: str | None = None
    changed_claim: ChangedClaim | None = None
    source: Source
    expert_ids: tuple[str, ...] = Field((), description="experts whose findings decided the pair")
    judge_ids: tuple[str, ...] = Field((), description="judges or rules that decided the pair")
    provenance: dict[str, Any] = Field(
        default_factory=dict, description="candidate ids, policy, lengths, and whatever else made the pair"
    )

    @property
    def cluster(self) -> str | Dyad:
        """What intervals cluster by: its group, or of a role-swapped pair the groups of both pictures."""
        groups = self.provenance.get("groups")
        return Dyad(*sorted(map(str, groups))) if isinstance(groups, list) and len(groups) == 2 else self.group_id

    @model_validator(mode="after")
    def _two_different_answers(self) -> Preference:
        check_prompt(self.prompt, len(self.images))
        if self.chosen == self.rejected:
            raise ValueError("chosen equals rejected: a pair needs two different answers")
        for name, turns in (("chosen", self.chosen), ("rejected", self.rejected)):
            if turns[0].role != "assistant" or turns[-1].role != "assistant":
                raise ValueError(f"{name} must start and end on an assistant turn")
        return self


class Demonstration(Record):
    """One supervised example: a prompt and the answer to imitate (assistant turns only are learnt)."""

    case_id: str
    group_id: str = Field(min_length=1)
    split: Split
    images: tuple[ImageRef, ...] = Field(description="in the order of their places; () for text alone")
    prompt: tuple[Message, ...] = Field(min_length=1)
    response: tuple[Message, ...] = Field(min_length=1)
    weight: float = Field(1.0, ge=0)
    source: str = Field(min_length=1, description="what wrote the answer: labels, findings, best_of_n ...")
    provenance: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _answer_follows_prompt(self) -> Demonstration:
        check_prompt(self.prompt, len(self.images))
        if self.response[0].role != "assistant" or self.response[-1].role != "assistant":
            raise ValueError("response must start and end on an assistant turn")
        return self
