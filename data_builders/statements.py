"""Where an answer says what: each sentence with its place and claims, edited without touching the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vlmalign.clinical import Logic, ParsedText, parse_text
from vlmalign.clinical.parser import parse_turn, question_concept
from vlmalign.clinical.schema import CONTRADICTORY
from vlmalign.records import Message, assistant


@dataclass(frozen=True)
class Statement:
    """One sentence of an answer.

    Attributes:
        turn: place of its message in the answer.
        start: where the sentence begins in the message's text.
        end: where it ends.
        text: the sentence.
        claims: concept to the values that it says of it.
        asked: the concept that its turn was asked for, if any.
        numbers: concept to the number that it says of it.
    """

    turn: int
    start: int
    end: int
    text: str
    claims: Mapping[str, tuple[str, ...]]
    asked: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


def statements_of(logic: Logic, prompt: Sequence[Message], messages: Sequence[Message]) -> tuple[Statement, ...]:
    """The sentences of an answer, in order, with what each says.

    Args:
        logic: the domain's clinical logic.
        prompt: what was asked; its last turn may be a question of the logic.
        messages: assistant turns, with further user turns between.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> from vlmalign.records import user
        >>> said = (assistant("The field is sharp. No leukocyte is seen."),)
        >>> for s in statements_of(load_logic("peripheral_smear"), (user("Describe it."),), said):
        ...     print(s.start, s.end, dict(s.claims))
        0 19 {'focus': ('sharp',)}
        20 41 {'leukocyte': ('absent',)}
    """
    found: list[Statement] = []
    for turn, parsed, asked in read_turns(logic, prompt, messages):
        text, end = messages[turn].text, 0
        for number, sentence in enumerate(parsed.sentences):
            start = text.index(sentence, end)
            end = start + len(sentence)
            own = [claim for claim in parsed.claims if claim.sentence == number]
            claims: dict[str, tuple[str, ...]] = {}
            for claim in own:
                claims[claim.concept] = (*claims.get(claim.concept, ()), claim.value)
            numbers = {claim.concept: claim.number for claim in own if claim.number is not None}
            found.append(Statement(turn, start, end, sentence, claims, asked, numbers))
    return tuple(found)


def read_turns(
    logic: Logic, prompt: Sequence[Message], messages: Sequence[Message]
) -> list[tuple[int, ParsedText, str | None]]:
    """Each assistant turn: its place, what it says, and the concept that it was asked for."""
    found = []
    asked = question_concept(logic, prompt[-1].text)
    for place, message in enumerate(messages):
        if message.role != "assistant":
            asked = question_concept(logic, message.text)
            continue
        said = parse_text(logic, message.text) if asked is None else parse_turn(logic, asked, message.text)
        found.append((place, said, asked))
    return found


def with_text(messages: Sequence[Message], turn: int, text: str) -> tuple[Message, ...]:
    """The answer with another text in one of its turns."""
    return (*messages[:turn], assistant(text), *messages[turn + 1 :])


def replaced(messages: Sequence[Message], statement: Statement, text: str) -> tuple[Message, ...]:
    """The answer with one sentence replaced, every other character as it was."""
    old = messages[statement.turn].text
    return with_text(messages, statement.turn, old[: statement.start] + text + old[statement.end :])


def without(messages: Sequence[Message], statement: Statement) -> tuple[Message, ...]:
    """The answer without one sentence and the white space that parts it from the next, or else the last, one."""
    old = messages[statement.turn].text
    before, after = old[: statement.start], old[statement.end :]
    rest = before + after.lstrip() if after.strip() else before.rstrip() + after
    return with_text(messages, statement.turn, rest)


def inserted(messages: Sequence[Message], turn: int, place: int | None, text: str) -> tuple[Message, ...]:
    """The answer with a sentence more: before character `place` of a turn, or at its end."""
    old = messages[turn].text
    new = f"{old} {text}" if place is None else f"{old[:place]}{text} {old[place:]}"
    return with_text(messages, turn, new)


@dataclass(frozen=True)
class Difference:
    """In what two answers to the same questions differ.

    Attributes:
        claims: concept to (value in the first, value in the second), None where it is not spoken of; a value is
            `contradictory` where sentences disagree.
        numbers: concepts of the same value whose numbers differ.
        unsupported: kinds of statements that no image supports, how many more the second has of each.
        unrecognised: how many more sentences of the second say nothing that could be read.
    """

    claims: Mapping[str, tuple[str | None, str | None]]
    numbers: tuple[str, ...]
    unsupported: Mapping[str, int]
    unrecognised: int

    @property
    def only_claims(self) -> bool:
        """Whether nothing but values of concepts differs."""
        return not (self.numbers or self.unsupported or self.unrecognised)


def difference(
    logic: Logic, prompt: Sequence[Message], first: Sequence[Message], second: Sequence[Message]
) -> Difference:
    """What the second answer says otherwise than the first, as the parser reads both.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> from vlmalign.records import user
        >>> texts = ("No leukocyte is seen.", "A leukocyte is seen. Two platelets are seen.")
        >>> found = difference(load_logic("peripheral_smear"), (user("Go."),), *((assistant(t),) for t in texts))
        >>> found.claims
        {'leukocyte': ('absent', 'present'), 'platelets': (None, 'few')}
    """
    one, other = (_content(logic, prompt, messages) for messages in (first, second))
    names = [name for name in logic.order if name in one.answers or name in other.answers]
    claims = {
        name: (one.answers.get(name), other.answers.get(name))
        for name in names
        if one.answers.get(name) != other.answers.get(name)
    }
    numbers = tuple(
        name for name in names if name not in claims and one.numbers.get(name) != other.numbers.get(name)
    )
    kinds = {k: n for k in one.kinds | other.kinds if (n := other.kinds[k] - one.kinds[k])}
    return Difference(claims, numbers, kinds, other.unread - one.unread)


@dataclass(frozen=True)
class _Content:
    answers: Mapping[str, str]
    numbers: Mapping[str, Counter[float]]
    kinds: Counter[str]
    unread: int


def _content(logic: Logic, prompt: Sequence[Message], messages: Sequence[Message]) -> _Content:
    answers: dict[str, str] = {}
    numbers: dict[str, Counter[float]] = {}
    kinds: Counter[str] = Counter()
    unread = 0
    for _, parsed, _ in read_turns(logic, prompt, messages):
        for claim in parsed.claims:
            if answers.setdefault(claim.concept, claim.value) != claim.value:
                answers[claim.concept] = CONTRADICTORY
            if claim.number is not None:
                numbers.setdefault(claim.concept, Counter())[claim.number] += 1
        kinds.update(statement.kind for statement in parsed.unsupported)
        unread += len(parsed.unrecognised)
    return _Content(answers, numbers, kinds, unread)
