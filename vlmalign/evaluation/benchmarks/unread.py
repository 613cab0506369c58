"""Why an answer could not be read: there is none, the model declined, the call failed, or it says nothing."""

from __future__ import annotations

import re

from vlmalign.evaluation.benchmarks.protocol import FAILED, MISSING, REFUSED, UNPARSED
from vlmalign.evaluation.benchmarks.refusals import state_of_reply

_FAILED = re.compile(r"failed to obtain answer via api", re.IGNORECASE)
_REFUSED = re.compile(
    r"\b(?:cannot|can't) (?:determine|answer|process)\b"
    r"|\b(?:unable|not able) to (?:determine|answer|process|view)\b",
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
    return state_of_reply(text) or (REFUSED if _REFUSED.search(text.replace("’", "'")[:300]) else UNPARSED)
