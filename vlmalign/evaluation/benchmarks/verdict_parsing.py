"""Which answer does a judge's text name: the published parser of VL-RewardBench, and a stricter one of ours.

The published rules (Li et al. 2024, arXiv:2411.17451; its scripts) are restated here so that published numbers can
be met; where they read a verdict that was not given, the strict parser does not.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SAID = re.compile(r"answer\s*(\d+)\s*is\s*(?:the\s*)?(?:slightly\s*)?better", re.IGNORECASE)
_START = re.compile(r"overall judgment|therefore", re.IGNORECASE)
_STRICT = re.compile(
    r"\banswer\s*(?P<one>\d+)\s+(?:(?P<not>(?:is\s+not|isn't|is\s+no)\s+)|is\s+)(?:the\s+)?"
    r"(?:(?:slightly|clearly|much|significantly|generally|overall)\s+)?better\b",
    re.IGNORECASE,
)
_EQUAL = re.compile(
    r"\b(?:both\s+(?:answers|responses)\s+are\s+(?:equally|the\s+same)|(?:it\s+is|it's)\s+a\s+tie|equally\s+good)\b",
    re.IGNORECASE,
)


class Said(NamedTuple):
    """What a text says: the number of the preferred answer, or None with the reason."""

    number: int | None
    reason: str = ""


def published_verdict(text: str) -> Said:
    """The published rule: the last "Answer N is better" after the first "Overall Judgment" or "Therefore".

    Line breaks and asterisks are removed first (so words on two lines run together), case is ignored, and "is
    the better", "is slightly better" are read, too. N may be any number: the caller's rule is that whatever is
    not the rejected answer's number agrees.

    Example:
        >>> published_verdict("**Overall Judgment** Answer 1 is better. No: Answer 2 is slightly better.").number
        2
        >>> published_verdict("Answer 1 is better.").number is None  # nothing introduces it
        True
    """
    flat = text.replace("\n", "").replace("*", "")
    start = _START.search(flat)
    found = None if start is None else next(iter(reversed(list(_SAID.finditer(flat, start.end())))), None)
    return Said(None, "no verdict in the published form") if found is None else Said(int(found[1]))


def strict_verdict(text: str) -> Said:
    """Our rule: the text names exactly one of answers 1 and 2 as better, and takes nothing back.

    Sentences after the last "Overall Judgment", or the whole text if there is none. "Answer 2 is not better", two
    different numbers, a number that was not shown, and a declared tie are no verdicts.

    Example:
        >>> strict_verdict("Therefore, Answer 2 is better.").number
        2
        >>> strict_verdict("Overall Judgment: Answer 1 is not better than Answer 2.").reason
        'it says only that an answer is not better'
        >>> strict_verdict("Therefore Answer 3 is better.").reason
        'it names answer 3, which was not shown'
    """
    flat = re.sub(r"\s+", " ", text.replace("*", ""))
    judged = re.split(r"overall judgment", flat, flags=re.IGNORECASE)[-1]
    found = list(_STRICT.finditer(judged))
    named = {int(match["one"]) for match in found if not match["not"]}
    if not found:
        return Said(None, "it declares a tie" if _EQUAL.search(judged) else "no verdict")
    if not named:
        return Said(None, "it says only that an answer is not better")
    if len(named) > 1:
        return Said(None, f"it names answers {' and '.join(map(str, sorted(named)))} as better")
    (number,) = named
    return Said(number) if number in (1, 2) else Said(None, f"it names answer {number}, which was not shown")
