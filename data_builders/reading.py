"""Reading an answer, report or conversation alike: its claims, and which concepts it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlmalign.clinical import Logic, ParsedText
from vlmalign.clinical.parser import parse_conversation, question_concept
from vlmalign.records import Candidate, Case, Message, user


@dataclass(frozen=True)
class Reading:
    """What an answer says.

    Attributes:
        parsed: claims, unsupported statements and unreadable sentences of all assistant turns.
        words: words of the assistant turns.
        asked: the concept of each assistant turn's question (None where the question is not the logic's),
            or None when no question of the logic was asked: then the answer is a report.
    """

    parsed: ParsedText
    words: int
    asked: tuple[str | None, ...] | None


def conversation_prompt(case: Case, question: str) -> tuple[Message, ...]:
    """The prompt of a conversation: the case's images with the first question, as `vlmalign generate` asks it."""
    return (user(question, images=len(case.images)),)


def prompt_of(case: Case, candidate: Candidate) -> tuple[Message, ...]:
    """The prompt that a candidate answers: a conversation's first question, else the case's own prompt."""
    question = candidate.extra.get("first_question")
    return case.messages if question is None else conversation_prompt(case, question)


def read_answer(logic: Logic, prompt: Sequence[Message], messages: Sequence[Message]) -> Reading:
    """Read the assistant turns of an answer to a prompt.

    Args:
        logic: the domain's clinical logic.
        prompt: what was asked; its last turn is the first question of a conversation.
        messages: assistant turns, with the further user turns between.

    Returns:
        The Reading; a turn that answers a question of the logic is read as that question's answer ("Yes.").

    Example:
        >>> from vlmalign.clinical import load_logic, question_text
        >>> from vlmalign.records import assistant, user
        >>> logic = load_logic("peripheral_smear")
        >>> question = user(question_text(logic, "leukocyte", seed=0), images=1)
        >>> read_answer(logic, (question,), (assistant("Yes."),)).parsed.answers
        {'leukocyte': 'present'}
    """
    turns = (prompt[-1], *messages)
    asked: list[str | None] = []
    concept: str | None = None
    for turn in turns:
        if turn.role == "assistant":
            asked.append(concept)
        else:
            concept = question_concept(logic, turn.text)
    words = sum(len(m.text.split()) for m in messages if m.role == "assistant")
    return Reading(parse_conversation(logic, turns), words, tuple(asked) if any(asked) else None)
