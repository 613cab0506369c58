"""Chat messages -> tokens: what the model reads as the prompt, and what it should say.

The tokens of a response are exactly those that the processor's chat template adds for the assistant's
turns: the template is rendered with and without each turn, and the longer token sequence must begin with
the shorter one. Nothing is ever truncated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from vlmalign.data.prompts import Prompt, check_places, image_tokens, prompt_text, text_tokens
from vlmalign.records import Candidate, Case, DataError, Demonstration, Message, Preference


@dataclass(frozen=True)
class EncodedResponse:
    """Tokens after the prompt, and which of them the assistant says.

    Attributes:
        token_ids: all tokens, user turns in between included; the last one ends the answer.
        loss_mask: True for tokens that the assistant says, its end tokens included.
    """

    token_ids: tuple[int, ...]
    loss_mask: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True)
class Example:
    """One prompt with its K responses (chosen first), ready to be collated.

    Attributes:
        id: of the record.
        prompt: the processor's output for this prompt alone; token entries are (1, P).
        responses: one for a demonstration, (chosen, rejected) for a pair.
        weight: factor of the example's loss.
        margin: score(chosen) - score(rejected) where it is known.
        ratings: of the responses, None where one has none; () where nothing is rated.
        group: of the record.
    """

    id: str
    prompt: Prompt
    responses: tuple[EncodedResponse, ...]
    weight: float = 1.0
    margin: float | None = None
    ratings: tuple[float | None, ...] = ()
    group: str = ""


def encode_response(
    processor: Any,
    prompt: Sequence[Message],
    response: Sequence[Message],
    *,
    record: str,
    stops: Collection[int] | None = None,
) -> EncodedResponse:
    """Tokens of a response to a prompt, with a mask of those that the assistant says.

    Each assistant turn must end on a stop token: what the template adds after it (a line break) is not
    learnt, and is dropped after the last turn. If the template ends the last turn without one, the
    tokenizer's end token is added; between two turns that is refused.

    Args:
        processor: of the model.
        prompt: the turns before.
        response: assistant turns with user turns between them.
        record: id, for errors.
        stops: ids that end a turn; default the tokenizer's end token.

    Raises:
        DataError: the template is not prefix-stable, a turn has no end, a user turn of the response
            holds an image, or a text spells a special token.
    """
    tokenizer = processor.tokenizer
    stops = frozenset(stops or {tokenizer.eos_token_id})
    special = reserved_tokens(processor)
    turns = list(prompt)
    known = text_tokens(processor, prompt_text(processor, turns))
    token_ids: list[int] = []
    loss_mask: list[bool] = []
    for number, turn in enumerate(response):
        if turn.n_images:
            raise DataError(
                "an image stands after the first answer", "Move all images to the prompt.", record=record
            )
        if turn.role == "assistant":
            opened = text_tokens(processor, prompt_text(processor, turns))
            between = added_tokens(known, opened, record)
            if image_tokens(processor).intersection(between):
                raise DataError(
                    "a user turn after the first answer spells an image placeholder",
                    "Remove it from the text; images belong to the prompt.",
                    record=record,
                )
            known = text_tokens(processor, prompt_text(processor, [*turns, turn], opened=False))
            said = added_tokens(opened, known, record)
            length = _spoken_length(said, stops, special, record, last=number == len(response) - 1)
            token_ids += between + said
            loss_mask += [False] * len(between) + [True] * length + [False] * (len(said) - length)
        turns.append(turn)
    return _ended(token_ids, loss_mask, stops, tokenizer.eos_token_id, record)


def reserved_tokens(processor: Any) -> frozenset[int]:
    """Ids that no answer may hold but at its end: special tokens and image placeholders."""
    tokenizer = processor.tokenizer
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special = {token for token, value in added.items() if value.special}
    return frozenset({*tokenizer.all_special_ids, *special} | image_tokens(processor))


def added_tokens(before: list[int], after: list[int], record: str) -> list[int]:
    """The tokens that a longer rendering of a conversation adds to a shorter one.

    Raises:
        DataError: the longer one does not begin with the shorter one.
    """
    if after[: len(before)] != before:
        raise DataError(
            "the chat template is not prefix-stable: rendering a further turn changes the tokens before it",
            "Use a template that only appends (no merged role markers, no dropped reasoning).",
            record=record,
        )
    return after[len(before) :]


def _spoken_length(
    said: list[int], stops: frozenset[int], special: frozenset[int], record: str, *, last: bool
) -> int:
    """How many of a turn's tokens are to be learnt: up to and with the stop token."""
    end = next((i for i, token in enumerate(said) if token in stops), None)
    body = said if end is None else said[:end]
    after = [] if end is None else said[end + 1 :]
    if special.intersection(body) or stops.intersection(after):
        raise DataError(
            "the answer's text spells a special token", "Remove the token's text from the answer.", record=record
        )
    if end is None and not last:
        raise DataError(
            "the chat template does not end an assistant turn before the next user turn",
            "Use a template that closes assistant turns with the tokenizer's end token.",
            record=record,
        )
    return len(said) if end is None else end + 1


def _ended(
    token_ids: list[int], loss_mask: list[bool], stops: frozenset[int], eos: int | None, record: str
) -> EncodedResponse:
    while loss_mask and not loss_mask[-1]:
        token_ids.pop(), loss_mask.pop()
    if not token_ids or token_ids[-1] not in stops:
        if eos is None:
            raise DataError(
                "neither template nor tokenizer ends an answer", "Set tokenizer.eos_token.", record=record
            )
        token_ids.append(eos)
        loss_mask.append(True)
    return EncodedResponse(tuple(token_ids), tuple(loss_mask))


def _check_prompt(processor: Any, record: Demonstration | Preference) -> None:
    text = prompt_text(processor, record.prompt)
    check_places(processor, record.prompt, len(record.images), text, record=record.id)


def _refuse_silence(turns: Sequence[Message], record: str, field: str) -> None:
    if not all(turn.text.strip() for turn in turns if turn.role == "assistant"):
        raise DataError(
            "the answer is empty: the model would be taught to say nothing",
            "Write the answer or leave the record out.",
            record=record,
            field=field,
        )


def encode_demonstration(
    processor: Any, record: Demonstration, prompt: Prompt, stops: Collection[int] | None = None
) -> Example:
    """A demonstration with its processed prompt as an example with one response."""
    _check_prompt(processor, record)
    _refuse_silence(record.response, record.id, "response")
    response = encode_response(processor, record.prompt, record.response, record=record.id, stops=stops)
    return Example(record.id, prompt, (response,), weight=record.weight)


def encode_preference(
    processor: Any, record: Preference, prompt: Prompt, stops: Collection[int] | None = None
) -> Example:
    """A pair with its processed prompt as an example with two responses, the chosen one first.

    The rejected answer may be empty: its end token alone then becomes less likely.
    """
    _check_prompt(processor, record)
    _refuse_silence(record.chosen, record.id, "chosen")
    responses = tuple(
        encode_response(processor, record.prompt, turns, record=record.id, stops=stops)
        for turns in (record.chosen, record.rejected)
    )
    return Example(
        record.id,
        prompt,
        responses,
        weight=record.weight,
        margin=record.margin,
        ratings=(record.chosen_rating, record.rejected_rating),
        group=record.group_id,
    )


def candidate_prompt(case: Case, candidate: Candidate) -> tuple[Message, ...]:
    """The turns that a candidate answers: the case's.

    A candidate of a conversation that began with a question of its own carries it in `extra["first_question"]`:
    it then stands in the place of the case's last user turn.
    """
    question = candidate.extra.get("first_question")
    if question is None:
        return case.messages
    last = case.messages[-1]
    images = tuple(part for part in last.content if part.type == "image")
    asked = Message.model_validate({"role": "user", "content": [*images, {"type": "text", "text": question}]})
    return (*case.messages[:-1], asked)
