"""What a policy answered to a case."""

from __future__ import annotations

from pydantic import Field, model_validator

from vlmalign.records.base import Part, Record
from vlmalign.records.case import Message


class Sampling(Part):
    """How an answer was drawn. Temperature 0 is greedy."""

    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_new_tokens: int = Field(gt=0, description="per assistant turn")
    sample: int = Field(0, ge=0, description="which of the case's samples this is")


class Candidate(Record):
    """One answer: one assistant turn, or a conversation with the user turns between.

    Example:
        >>> from vlmalign.records import assistant
        >>> Candidate(id="c1/0", case_id="c1", messages=(assistant("No leukocyte is seen."),),
        ...           policy="sft@1a2b", sampling=Sampling(max_new_tokens=64), seed=0).text
        'No leukocyte is seen.'
    """

    case_id: str
    group_id: str | None = Field(None, description="of the case, for intervals clustered by group")
    messages: tuple[Message, ...] = Field(min_length=1, description="starts and ends on an assistant turn")
    policy: str = Field(min_length=1, description="policy id: run name and hash of its weights")
    sampling: Sampling
    seed: int
    logp: float | None = Field(None, description="sum of the answer's log-probabilities, in nats")
    tokens: int | None = Field(None, ge=0, description="answer length in tokens, without user turns")
    finished: bool = Field(True, description="False when the token limit cut the answer")

    @property
    def text(self) -> str:
        """The assistant's turns, joined by line breaks."""
        return "\n".join(m.text for m in self.messages if m.role == "assistant")

    @model_validator(mode="after")
    def _assistant_at_both_ends(self) -> Candidate:
        ends = (self.messages[0].role, self.messages[-1].role)
        if ends != ("assistant", "assistant"):
            raise ValueError(f"the turns start and end on {ends}; both must be 'assistant'")
        return self
