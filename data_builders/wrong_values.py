"""What a changed claim means for the claims beside it, and where a new one belongs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from data_builders.editing import corrected_answers
from data_builders.reading import read_answer
from data_builders.statements import Statement
from vlmalign.clinical import Logic
from vlmalign.clinical.schema import RESERVED
from vlmalign.records import Message


def followed_by(
    logic: Logic, prompt: Sequence[Message], messages: Sequence[Message], changed: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    """Stated concepts that take another value when some claims are taken for true: (before, after).

    Derived concepts follow from the changed claims; what cannot stand beside them takes the one value that is
    left, or None where there are several.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> from vlmalign.records import assistant, user
        >>> said = (assistant("The nucleus of the leukocyte is round. No leukocyte is seen."),)
        >>> logic = load_logic("peripheral_smear")
        >>> followed_by(logic, (user("Describe it."),), said, {"leukocyte": "absent"})
        {'leukocyte_kind': ('mononuclear', 'not_applicable')}
    """
    said = read_answer(logic, prompt, messages).parsed.answers
    target = corrected_answers(logic, said, changed)
    return {
        concept: (said[concept], target.get(concept))
        for concept in logic.order
        if concept in said
        and concept not in changed
        and said[concept] not in RESERVED
        and target.get(concept) != said[concept]
    }


def place_of(logic: Logic, concept: str, said: Sequence[Statement]) -> tuple[int, int | None]:
    """Where a report would speak of a concept: turn and character, or None for the end of the turn.

    Before the first sentence whose concepts all come later in canonical order.
    """
    rank = {name: k for k, name in enumerate(logic.order)}
    for statement in said:
        if statement.claims and all(rank[c] > rank[concept] for c in statement.claims):
            return statement.turn, statement.start
    return said[-1].turn, None
