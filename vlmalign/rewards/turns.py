"""The assistant's turns of a conversation, and what a score of each of them is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from PIL import Image

from vlmalign.data.encode import candidate_prompt
from vlmalign.records import Candidate, Case, Message


class Turn(NamedTuple):
    """The score of one turn, or why it has none.

    Attributes:
        score: None where the turn could not be scored.
        reason: why not; None where it was.
    """

    score: float | None
    reason: str | None


@dataclass(frozen=True)
class TurnScores:
    """Scores of the turns of N conversations.

    Attributes:
        turns: per conversation, one per assistant turn, in order.
        components: per conversation, further numbers by name.
        flops: operations that they took.
    """

    turns: Sequence[Sequence[Turn]]
    components: Sequence[Mapping[str, float]] = field(default_factory=list)
    flops: float = 0.0


class TurnScorer(Protocol):
    """Anything that scores the assistant's turns of conversations.

    Attributes:
        name: kind and a hash of all that decides its scores.
        needs_images: whether `images` must be given.
    """

    name: str
    needs_images: bool

    def score_turns(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> TurnScores:
        """Score the turns of N candidates; arguments as for `Reward.score`."""
        ...


def turn_places(candidate: Candidate) -> list[int]:
    """Where the assistant's turns stand among a candidate's messages."""
    return [place for place, message in enumerate(candidate.messages) if message.role == "assistant"]


def turn_ends(candidate: Candidate) -> list[int]:
    """The place after the last character of each assistant turn in `candidate.text`.

    Example:
        >>> from vlmalign.records import Sampling, assistant, user
        >>> talk = (assistant("Yes."), user("Why?"), assistant("It is dark."))
        >>> turn_ends(Candidate(id="c/0", case_id="c", messages=talk, policy="p", seed=0,
        ...                     sampling=Sampling(max_new_tokens=8)))
        [4, 16]
    """
    ends: list[int] = []
    for place in turn_places(candidate):
        ends.append(len(candidate.messages[place].text) + (ends[-1] + 1 if ends else 0))
    return ends


def prefixes(candidate: Candidate) -> list[Candidate]:
    """The conversation up to each assistant turn in order; the last one is the candidate itself."""
    places = turn_places(candidate)
    shorter = [
        candidate.model_copy(
            update={
                "id": f"{candidate.id}/turn{number}",
                "messages": candidate.messages[: place + 1],
                "logp": None,
                "tokens": None,
            }
        )
        for number, place in enumerate(places[:-1])
    ]
    return [*shorter, candidate]


def conversation(case: Case, candidate: Candidate) -> tuple[Message, ...]:
    """The prompt and what follows it, as one conversation."""
    return (*candidate_prompt(case, candidate), *candidate.messages)
