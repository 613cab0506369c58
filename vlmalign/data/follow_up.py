"""What a user might say after an answer, as tokens: only the words themselves are scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlmalign.data.encode import EncodedResponse, added_tokens, reserved_tokens
from vlmalign.data.prompts import prompt_text, token_spans
from vlmalign.records import DataError, Message, user

_PLACE = "FOLLOW UP"


def encode_follow_up(
    processor: Any, prompt: Sequence[Message], answer: Sequence[Message], follow_up: str, *, record: str
) -> EncodedResponse:
    """Tokens of an answer and of the user turn after it, up to the turn's last word.

    The conversation is rendered whole by the chat template. The loss mask marks the tokens of the follow-up's own
    text: not those of the answer, nor the markers around the turn. A token that holds the end of a marker and the
    beginning of the text (a space before the first word) counts to the text.

    Args:
        processor: of the model; its tokenizer must tell which characters a token stands for.
        prompt: the turns before the answer.
        answer: the candidate's turns, which `encode_response` has accepted.
        follow_up: what the user says.
        record: id of the candidate, for errors.

    Raises:
        ValueError: a follow-up without text, or a tokenizer that does not tell places.
        DataError: the template rewrites earlier turns or the follow-up, or that spells a special token.
    """
    follow_up = follow_up.strip()
    if not follow_up:
        raise ValueError("a follow-up is empty, expected what a user would say: write it, or leave it out.")
    turns = [*prompt, *answer]
    before, after = _around(processor, turns, record)
    text = prompt_text(processor, [*turns, user(follow_up)], opened=False)
    if text != before + follow_up + after:
        raise DataError(
            f"the chat template does not render the follow-up {follow_up!r} as it is, between the same markers",
            "Use a template that leaves texts as they are, or write the follow-up as the template would.",
            record=record,
        )
    known, spans = token_spans(processor, prompt_text(processor, prompt)), token_spans(processor, text)
    added = added_tokens([token for token, _, _ in known], [token for token, _, _ in spans], record)
    first, last = len(before), len(before) + len(follow_up)
    mask = [start < last and end > first for _, start, end in spans[len(known) :]]
    own = {token for token, said in zip(added, mask, strict=True) if said}
    if not own or own & reserved_tokens(processor):
        raise DataError(
            f"the follow-up {follow_up!r} spells a special token, or none at all",
            "Write it in plain words.",
            record=record,
        )
    length = max(place for place, said in enumerate(mask) if said) + 1
    return EncodedResponse(tuple(added[:length]), tuple(mask[:length]))


def _around(processor: Any, turns: Sequence[Message], record: str) -> tuple[str, str]:
    """What the template puts before and after the text of a further user turn."""
    rendered = prompt_text(processor, [*turns, user(_PLACE)], opened=False)
    before, found, after = rendered.rpartition(_PLACE)
    if not found:
        raise DataError(
            "the chat template does not render a user turn after the answer",
            "Use a template that renders the turns of a conversation in order.",
            record=record,
        )
    return before, after
