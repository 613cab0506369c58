"""A judge's own confidence, read from its reply and from nowhere else."""

from __future__ import annotations

import re

_STATED = re.compile(r"confidence\s*[:=]\s*(.*)", re.IGNORECASE)
_VALUE = re.compile(r"(\d+(?:\.\d+)?)\s*(%|/\s*10)?\.?")


def is_confidence(line: str) -> bool:
    """Whether a line of a reply states a confidence, readable or not."""
    return _STATED.match(line) is not None


def read_confidence(lines: list[str]) -> float | None:
    """The confidence that a reply states, in [0, 1].

    `7`, `7/10` and `70%` are 0.7. None where none is stated, where the number is out of range (it is not brought
    into range by guessing), where it is no number, or where two lines differ: a missing confidence is not one
    half.

    Args:
        lines: of the reply, plain.

    Example:
        >>> [read_confidence([f"Confidence: {stated}"]) for stated in ("10", "10%", "70", "high")]
        [1.0, 0.1, None, None]
    """
    found = {_value(match.group(1)) for line in lines if (match := _STATED.match(line))}
    return found.pop() if len(found) == 1 else None


def _value(stated: str) -> float | None:
    match = _VALUE.fullmatch(stated.strip())
    if match is None:
        return None
    value = float(match.group(1)) / (100 if match.group(2) == "%" else 10)
    return value if value <= 1 else None
