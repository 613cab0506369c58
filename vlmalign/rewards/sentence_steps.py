"""An answer's sentences as steps, and which of its tokens belong to each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from vlmalign.clinical.parser import split_sentences
from vlmalign.data.encode import EncodedResponse
from vlmalign.data.token_ends import token_ends
from vlmalign.records import Candidate


class TokenStep(NamedTuple):
    """One sentence of one turn.

    Attributes:
        end: the place after its last character in the candidate's text.
        start: its first token in the encoded response.
        stop: the token after its last one.
    """

    end: int
    start: int
    stop: int


def sentence_steps(tokenizer: Any, candidate: Candidate, response: EncodedResponse) -> tuple[TokenStep, ...]:
    """Divide the assistant's tokens into sentences; every one of them belongs to exactly one step.

    A token that spans two sentences belongs to the first. What stands after the last sentence of a turn (its end
    token) belongs to that; a turn without any sentence ("...", or nothing) is one step.

    Args:
        tokenizer: of the model.
        candidate: one answer, or a conversation.
        response: its tokens.

    Raises:
        ValueError: tokens of another number of turns than the candidate has.
    """
    turns = [message.text for message in candidate.messages if message.role == "assistant"]
    spoken = list(_spoken_runs(response.loss_mask))
    if len(turns) != len(spoken):
        raise ValueError(
            f"candidate {candidate.id!r} has {len(turns)} answers and its tokens {len(spoken)}: encode it again."
        )
    steps: list[TokenStep] = []
    begins = 0
    for text, (first, after) in zip(turns, spoken, strict=True):
        ends = _sentence_ends(text)
        places = token_ends(tokenizer, response.token_ids[first:after], ends)
        stops = [first + place + 1 for place in places[:-1]] + [after]
        starts = [first, *stops[:-1]]
        steps += [
            TokenStep(begins + end, start, stop) for end, start, stop in zip(ends, starts, stops, strict=True)
        ]
        begins += len(text) + 1  # turns are joined by a line break
    return tuple(steps)


def _spoken_runs(mask: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Where the assistant speaks: first token and the one after the last, turn by turn."""
    start = None
    for place, spoken in enumerate((*mask, False)):
        if spoken and start is None:
            start = place
        elif not spoken and start is not None:
            yield start, place
            start = None


def _sentence_ends(text: str) -> list[int]:
    """Places after the last character of each sentence; of a text without sentences, its length."""
    ends, end = [], 0
    for sentence in split_sentences(text):
        end = text.index(sentence, end) + len(sentence)
        ends.append(end)
    return ends or [len(text)]
