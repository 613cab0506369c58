"""Candidates in a row that answer the same prompt share it: it is computed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from vlmalign.data.blank import blank_image
from vlmalign.data.encode import EncodedResponse, Example, candidate_prompt, encode_response
from vlmalign.data.prompts import encode_prompt
from vlmalign.records import Candidate, Case, Message

#: what is to be run after the prompt for one candidate: its answer, or the answer with several continuations
Encode = Callable[[Case, Candidate], Sequence[EncodedResponse]]


def answers_of(processor: Any, stops: Collection[int]) -> Encode:
    """The encoder of plain answers: one response per candidate.

    Args:
        processor: of the model.
        stops: ids that end a turn.
    """

    def encode(case: Case, candidate: Candidate) -> Sequence[EncodedResponse]:
        prompt = candidate_prompt(case, candidate)
        return (encode_response(processor, prompt, candidate.messages, record=candidate.id, stops=stops),)

    return encode


def shared_prompts(
    processor: Any,
    cases: Sequence[Case],
    candidates: Sequence[Candidate],
    images: Sequence[Sequence[Image.Image]],
    encode: Encode,
    *,
    blank: bool = False,
) -> Iterator[Example]:
    """One example per run of candidates to the same prompt.

    Only neighbours share: the responses of all examples together are those of the candidates, in order.

    Args:
        processor: of the model.
        cases: the case of each candidate, N.
        candidates: N answers.
        images: the images of each candidate's case, N.
        encode: makes the responses of one candidate.
        blank: show grey pictures instead of the images.
    """
    current: Example | None = None
    last: tuple[str, tuple[Message, ...]] | None = None
    for case, candidate, pictures in zip(cases, candidates, images, strict=True):
        messages = candidate_prompt(case, candidate)
        if current is None or last != (case.id, messages):
            if current is not None:
                yield current
            shown = [blank_image(picture) for picture in pictures] if blank else pictures
            current = Example(case.id, encode_prompt(processor, messages, shown, record=case.id), ())
            last = (case.id, messages)
        current = replace(current, responses=(*current.responses, *encode(case, candidate)))
    if current is not None:
        yield current
