"""From places in an answer's text to its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def token_ends(tokenizer: Any, token_ids: Sequence[int], ends: Sequence[int]) -> list[int]:
    """For places in an answer's text, the first token with which the text reaches as far.

    Args:
        tokenizer: of the model.
        token_ids: of the answer.
        ends: places after a character, ascending; one beyond the text is reached by the last token.
    """
    places, token, reached = [], 0, len(tokenizer.decode(token_ids[:1], skip_special_tokens=True))
    for end in ends:
        while reached < end and token < len(token_ids) - 1:
            token += 1
            reached = len(tokenizer.decode(token_ids[: token + 1], skip_special_tokens=True))
        places.append(token)
    return places
