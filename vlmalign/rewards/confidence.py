"""What an answer says of its own confidence, in the two-line format of Reward-Calibration."""

from __future__ import annotations

import re
from typing import NamedTuple

_STATED = re.compile(r"\s*\bconfidence\s*:\s*(\d+(?:\.\d+)?)\s*(?:/\s*10)?[.\s]*$", re.IGNORECASE)


class Stated(NamedTuple):
    """An answer's text without its statement of confidence, and that.

    Attributes:
        text: the rest.
        confidence: in [0, 1]; None where none is stated, or one that is no number from 0 to 10.
    """

    text: str
    confidence: float | None


def stated_confidence(text: str) -> Stated:
    """Take the last line `Confidence: 7` (0 to 10) off an answer.

    Only the answer is read, never the prompt, which shows the format; and a number out of range is no confidence:
    it is not brought into range by guessing (Leng et al. 2024, arXiv:2410.09724, do both in their code).

    Args:
        text: of the answer.

    Example:
        >>> stated_confidence("No leukocyte is seen. Confidence: 7")
        Stated(text='No leukocyte is seen.', confidence=0.7)
        >>> stated_confidence("Confidence: 70 is what I have.").confidence is None
        True
    """
    found = _STATED.search(text)
    if found is None:
        return Stated(text, None)
    value = float(found.group(1))
    rest = text[: found.start()]
    return Stated(rest, value / 10 if value <= 10 else None)
