"""From text to claims: what a text says of each concept, what it says beyond them, and what it does not say.

A sentence is matched against the lexicon (longest match wins), cut into clauses, and read clause by clause
(`clauses.py`). Anything that cannot be read is listed, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from vlmalign.clinical.clauses import Reading, read_clauses
from vlmalign.clinical.lexicon import lexicon_of, words
from vlmalign.clinical.paths import forced_values
from vlmalign.clinical.schema import CONTRADICTORY, HEDGED, Logic
from vlmalign.records.case import Message

_SENTENCE = re.compile(r"(?<=[.!?])(?:\s+|(?=[A-Z]))|\n+")
_HEADED = re.compile(r"\s*(?:impression|conclusion|summary|findings?|results?|opinion)\s*:\s*", re.I)
_PARTICLE_NEXT = frozenset({",", ";", ":", "there", "it", "they", "one", "none"})


@dataclass(frozen=True)
class Claim:
    """One statement about one concept."""

    concept: str
    value: str
    sentence: int
    text: str
    number: float | None = None


@dataclass(frozen=True)
class Unsupported:
    """A statement of a kind that no image of the domain supports."""

    kind: str
    sentence: int
    text: str


@dataclass(frozen=True)
class ParsedText:
    """What a text says.

    Attributes:
        claims: in order of the text; at most one per sentence, concept and value.
        unsupported: sentences of known unsupported kinds (they may hold claims as well).
        unrecognised: sentences with neither.
        sentences: all sentences, in order.
    """

    claims: tuple[Claim, ...]
    unsupported: tuple[Unsupported, ...]
    unrecognised: tuple[str, ...]
    sentences: tuple[str, ...]

    @property
    def answers(self) -> dict[str, str]:
        """Concept to value; `contradictory` where two claims of one concept disagree."""
        found: dict[str, str] = {}
        for claim in self.claims:
            value = found.setdefault(claim.concept, claim.value)
            if value != claim.value:
                found[claim.concept] = CONTRADICTORY
        return found


def split_sentences(text: str) -> tuple[str, ...]:
    """Sentences of a text, in order, without the empty ones.

    Example:
        >>> split_sentences("No leukocyte is seen.  Cover is 0.5 here!")
        ('No leukocyte is seen.', 'Cover is 0.5 here!')
    """
    parts = (part.strip() for part in _SENTENCE.split(text))
    return tuple(part for part in parts if any(letter.isalnum() for letter in part))


def parse_text(logic: Logic, text: str) -> ParsedText:
    """Claims, unsupported statements and unrecognised sentences of a text.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> parsed = parse_text(load_logic("peripheral_smear"), "No leukocyte is seen. Two platelets are seen.")
        >>> parsed.answers, parsed.claims[1].number
        ({'leukocyte': 'absent', 'platelets': 'few'}, 2.0)
    """
    return _collect(logic, ((sentence, None) for sentence in split_sentences(text)))


def parse_answer(logic: Logic, concept: str, text: str) -> str | None:
    """The value that an answer to the concept's question gives.

    `Yes` and `no` and answers without a subject ("Two are seen.") are read as being about the concept. An
    answer that speaks of other observed concepts counts only when it leaves this one a single value ("There
    is no leukocyte." when its kind is asked).

    Returns:
        A value of the concept, `uncertain`, `not_assessed`, `contradictory`, or None: nothing was recognised.

    Raises:
        ValueError: no such concept.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> logic = load_logic("peripheral_smear")
        >>> parse_answer(logic, "leukocyte", "Yes, one is present."), parse_answer(logic, "leukocyte", "Blue.")
        ('present', None)
    """
    return parse_turn(logic, concept, text).answers.get(concept)


def parse_turn(logic: Logic, concept: str, text: str) -> ParsedText:
    """Everything that an answer to the concept's question says; see `parse_answer`."""
    logic.concept(concept)
    parsed = _collect(logic, ((sentence, concept) for sentence in split_sentences(text)))
    said = parsed.answers
    if concept in said or not said or logic.concepts[concept].derived:
        return parsed
    value = forced_values(logic, {k: v for k, v in said.items() if v not in HEDGED}, (concept,)).get(concept)
    if value is None:
        return parsed
    claim = Claim(concept, value, 0, text)
    return ParsedText((*parsed.claims, claim), parsed.unsupported, parsed.unrecognised, parsed.sentences)


def question_concept(logic: Logic, text: str) -> str | None:
    """The concept that a question of the banks asks; None for any other text.

    Example:
        >>> from vlmalign.clinical import load_logic, question_text
        >>> logic = load_logic("peripheral_smear")
        >>> question_concept(logic, question_text(logic, "stain", seed=0))
        'stain'
    """
    return _questions(logic).get(tuple(words(text)))


def parse_conversation(logic: Logic, messages: Iterable[Message]) -> ParsedText:
    """What the assistant turns of a conversation say, each read as an answer to the user turn before it.

    A user turn that is no question of the banks leaves its answer to be read as a text. Sentences are numbered
    through the conversation.
    """
    claims: list[Claim] = []
    unsupported: list[Unsupported] = []
    unrecognised: list[str] = []
    sentences: list[str] = []
    concept: str | None = None
    for message in messages:
        if message.role != "assistant":
            concept = question_concept(logic, message.text) if message.role == "user" else concept
            continue
        turn = parse_text(logic, message.text) if concept is None else parse_turn(logic, concept, message.text)
        shift = len(sentences)
        claims += [Claim(c.concept, c.value, c.sentence + shift, c.text, c.number) for c in turn.claims]
        unsupported += [Unsupported(u.kind, u.sentence + shift, u.text) for u in turn.unsupported]
        unrecognised += turn.unrecognised
        sentences += turn.sentences
    return ParsedText(tuple(claims), tuple(unsupported), tuple(unrecognised), tuple(sentences))


@lru_cache(maxsize=64)
def _questions(logic: Logic) -> dict[tuple[str, ...], str]:
    return {tuple(words(text)): q.concept for q in logic.questions for text in q.bank.all}


@lru_cache(maxsize=64)
def _patterns(logic: Logic) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((kind, re.compile("|".join(u.patterns), re.I)) for kind, u in logic.unsupported.items())


def _collect(logic: Logic, sentences: Iterable[tuple[str, str | None]]) -> ParsedText:
    claims: list[Claim] = []
    unsupported: list[Unsupported] = []
    unrecognised: list[str] = []
    texts: list[str] = []
    for index, (sentence, concept) in enumerate(sentences):
        texts.append(sentence)
        kinds = [kind for kind, pattern in _patterns(logic) if pattern.search(sentence)]
        readings: tuple[Reading, ...] = ()
        if not sentence.endswith("?"):  # a question claims nothing
            readings = _read(logic, sentence, concept)
            if not readings and not _is_part(texts[:-1]):
                readings = _read_whole(logic, sentence, concept)
        claims += [Claim(r.concept, r.value, index, sentence, r.number) for r in readings]
        unsupported += [Unsupported(kind, index, sentence) for kind in kinds]
        if not kinds and not readings:
            unrecognised.append(sentence)
    return ParsedText(tuple(claims), tuple(unsupported), tuple(unrecognised), tuple(texts))


def _is_part(before: list[str]) -> bool:
    """Whether a sentence stands under the heading of a part ("Bones:"), and not of the report ("Impression:")."""
    return bool(before) and before[-1].endswith(":") and not _HEADED.fullmatch(before[-1])


def _read_whole(logic: Logic, sentence: str, asked: str | None) -> tuple[Reading, ...]:
    """What a sentence of its own means ("No finding."); where another concept is asked, it is about that one."""
    found = lexicon_of(logic).whole.get(tuple(words(_HEADED.sub("", sentence, count=1))))
    return (Reading(*found),) if found is not None and asked in (None, found[0]) else ()


@lru_cache(maxsize=16384)
def _read(logic: Logic, sentence: str, concept: str | None) -> tuple[Reading, ...]:
    tokens = words(sentence)
    readings: list[Reading] = []
    if (
        tokens
        and tokens[0] in ("yes", "no")
        and (len(tokens) == 1 or tokens[0] == "yes" or tokens[1] in _PARTICLE_NEXT)
    ):
        asked = logic.concepts[concept] if concept else None
        value = asked and (asked.yes if tokens[0] == "yes" else asked.no)
        if concept and value:
            readings.append(Reading(concept, value))
        del tokens[: 2 if tokens[1:2] == [","] else 1]
    readings += read_clauses(logic, tokens, lexicon_of(logic).match(tokens), concept)
    best: dict[tuple[str, str], Reading] = {}
    for reading in readings:  # one claim per concept and value; the one with a number says more
        key = (reading.concept, reading.value)
        if key not in best or best[key].number is None:
            best[key] = reading
    return tuple(best.values())
