"""Does a reply refuse, or stand for a call that failed: then whatever number is stored beside it is no rating."""

from __future__ import annotations

import re

from vlmalign.evaluation.benchmarks.protocol import FAILED, REFUSED

FILTERED = "filtered"
_FILTERED = re.compile(
    r"content_filter|content management policy|ResponsibleAIPolicy|safety system", re.IGNORECASE
)
_FAILED = re.compile(r"^\s*(error\b|traceback|exception|timeout|request timed out|api error)", re.IGNORECASE)
_REFUSED = re.compile(
    r"^\W*(?:as\s+an\s+ai\b[^.,]*,?\s*)?(?:i['’]m\s+afraid\s+)?"
    r"(?:i\s+(?:apologi[sz]e|must\s+decline)|i['’]m\s+(?:sorry|not\s+able|unable)|sorry\b|my\s+apologies"
    r"|i\s+am\s+(?:sorry|unable|not\s+able)|i\s+(?:cannot|can['’]t|can\s+not|won['’]t|will\s+not)\b"
    r"|i\s+(?:do\s+not|don['’]t)\s+feel\s+comfortable|unfortunately,?\s+i\b"
    r"|it\s+would\s+(?:not\s+be\s+(?:appropriate|ethical)|be\s+(?:inappropriate|unethical))\b[^.]*\bto\b)",
    re.IGNORECASE,
)


def state_of_reply(text: object) -> str | None:
    """`refused`, `filtered` (the service withheld the reply), `failed`, or None for a reply like any other.

    Only the reply's beginning counts for a refusal: "Image 1 is better, though I cannot see its edge" is none.

    Example:
        >>> state_of_reply("I apologize, but I cannot rate people.")
        'refused'
        >>> state_of_reply("Rating: 4. I cannot see more.") is None
        True
        >>> state_of_reply("Error code: 400 - {'code': 'content_filter'}"), state_of_reply(None)
        ('filtered', None)
    """
    if not isinstance(text, str):
        return None
    if _FILTERED.search(text):
        return FILTERED
    if _FAILED.search(text):
        return FAILED
    return REFUSED if _REFUSED.search(text) else None
