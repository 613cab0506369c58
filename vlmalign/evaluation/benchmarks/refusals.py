"""Telling why an answer could not be read: the model declined, the call failed, or neither."""

from __future__ import annotations

import re

from vlmalign.evaluation.benchmarks.protocol import FAILED, MISSING, REFUSED, UNPARSED

_FAILED = re.compile(r"failed to obtain answer via api|^\s*(?:api )?error\b", re.IGNORECASE)
_REFUSED = re.compile(
    r"\b(?:i'?m|i am) (?:sorry|unable|not able)\b|\bsorry, (?:but )?i\b"
    r"|\bi (?:can ?not|can'?t|won'?t|am not able to) "
    "(?:help|assist|provide|process|answer|determine|view|see|make)"
    r"|\bas an ai\b|\bcannot determine\b|\bunable to (?:determine|answer|provide|view|process)",
    re.IGNORECASE,
)


def why_unread(text: str | None) -> str:
    """State of an answer in which nothing was found that could be scored.

    Example:
        >>> why_unread(None), why_unread("I'm sorry, I can't help with that."), why_unread("A dog or a cat.")
        ('missing', 'refused', 'unparsed')
    """
    if text is None:
        return MISSING
    if _FAILED.search(text):
        return FAILED
    return REFUSED if _REFUSED.search(text.replace("’", "'")[:300]) else UNPARSED
