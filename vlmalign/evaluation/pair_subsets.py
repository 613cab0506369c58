"""By what pairs are split into subsets: where they came from, what they differ in, how they were asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlmalign.clinical import Logic
from vlmalign.clinical.parser import question_concept
from vlmalign.records import Preference

NOT_STATED = "not stated"
PROVENANCE = "provenance."
REPORT, QUESTION, CONVERSATION = "report", "question", "conversation"


def subset_of(key: str, logic: Logic | None = None) -> Callable[[Preference], str]:
    """The function that names the subset of a pair.

    Args:
        key: `source`; `concept` (of the one changed claim); `question` (its kind: `report`, `conversation`, or
            with a logic the concept that it asks, else `question` for a prompt that ends on a question mark); or
            `provenance.NAME`, dots going deeper.
        logic: recognises the questions of its banks.

    Raises:
        ValueError: another key.

    Example:
        >>> subset_of("colour")
        Traceback (most recent call last):
        ...
        ValueError: by is 'colour', expected source, concept, question or provenance.NAME: choose one of these
    """
    if key == "source":
        return lambda pair: pair.source
    if key == "concept":
        return lambda pair: NOT_STATED if pair.changed_claim is None else pair.changed_claim.concept
    if key == "question":
        return lambda pair: question_kind(pair, logic)
    if key.startswith(PROVENANCE) and key != PROVENANCE:
        return lambda pair: _named(pair.provenance, key.removeprefix(PROVENANCE).split("."))
    raise ValueError(f"by is {key!r}, expected source, concept, question or provenance.NAME: choose one of these")


def question_kind(pair: Preference, logic: Logic | None = None) -> str:
    """What kind of question a pair answers; see `subset_of`."""
    if len(pair.chosen) > 1 or any(turn.role == "assistant" for turn in pair.prompt):
        return CONVERSATION
    asked = pair.prompt[-1].text.strip()
    concept = None if logic is None else question_concept(logic, asked)
    if concept is not None:
        return concept
    return QUESTION if asked.endswith("?") else REPORT


def _named(provenance: Any, names: list[str]) -> str:
    found = provenance
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return NOT_STATED
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)
