"""The wording of a logic as a trie over words, built once per logic; longest match wins.

A phrase that ends on a full stop ("no finding.") means its value only where it is the whole sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from vlmalign.clinical.english import CUES, NUMBER_WORDS
from vlmalign.clinical.schema import Logic
from vlmalign.records.errors import DataError

_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[,;:()%]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_WORD_VALUES = {word: float(value) for value, word in enumerate(NUMBER_WORDS)}
ANY_NUMBER = "{n}"
_BEYOND = frozenset({"more", "less", "fewer", "above", "below", "over", "under", "higher", "lower"})
# cues that a logic may use in its own wording; the others would change what a sentence denies or doubts
_WEAK_CUES = frozenset({"verb", "exist", "have", "affirm"})


@dataclass(frozen=True)
class Entry:
    """What a run of words means: a cue, a mention, a phrase, a term or a number."""

    kind: str
    readings: tuple[tuple[str, str], ...] = ()  # (concept, value); value is "" for mentions and numbers

    @property
    def concept(self) -> str:
        """The concept of a mention, phrase or number."""
        return self.readings[0][0]


@dataclass(frozen=True)
class Match:
    """An entry found at words [start, end)."""

    start: int
    end: int
    entry: Entry
    number: float | None = None


@dataclass
class _Node:
    next: dict[str, _Node] = field(default_factory=dict)
    entry: Entry | None = None


def words(text: str) -> list[str]:
    """Lower-case words, numbers and clause punctuation of a text.

    Example:
        >>> words("The leukocyte isn't red-rimmed; 0.5 %")
        ['the', 'leukocyte', 'is', 'not', 'red', 'rimmed', ';', '0.5', '%']
    """
    text = text.lower().replace("\u2019", "'")
    text = text.replace("(-)", " negative ").replace("(\u2212)", " negative ").replace("(+)", " present ")
    text = text.replace("can't", "cannot").replace("can not", "cannot").replace("won't", "will not")
    text = text.replace("n't", " not").replace("'s", "").replace("s'", "s")
    return _WORD.findall(text)


def as_number(word: str) -> float | None:
    """The number that a word or numeral says, if any.

    Example:
        >>> as_number("two"), as_number("0.5"), as_number("few")
        (2.0, 0.5, None)
    """
    if word[:1].isdecimal() and _NUMBER.fullmatch(word):
        return float(word)
    return _WORD_VALUES.get(word)


class Lexicon:
    """All wording of one logic.

    Raises:
        DataError: one wording has two meanings.
    """

    def __init__(self, logic: Logic) -> None:
        self._root = _Node()
        self.whole: dict[tuple[str, ...], tuple[str, str]] = {}  # words of a sentence -> (concept, value)
        self._places: dict[tuple[str, ...], str] = {}
        for kind, phrases in CUES.items():
            self._add_all(phrases, Entry(kind), "the general English cues")
        for added in type(logic.cues).model_fields:
            self._add_all(getattr(logic.cues, added), Entry(added), f"cues.{added}")
        for name, concept in logic.concepts.items():
            place = f"concepts.{name}"
            mentions = tuple(dict.fromkeys(form for m in concept.mentions for form in (m, _plural(m))))
            self._add_all(mentions, Entry("mention", ((name, ""),)), f"{place}.mentions")
            for value, wording in concept.values.items():
                where = f"{place}.values.{value}"
                self._add_all(
                    (phrase for phrase in wording.phrases if not phrase.endswith(".")),
                    Entry("phrase", ((name, value),)),
                    f"{where}.phrases",
                )
                for phrase in wording.phrases:
                    if phrase.endswith("."):
                        self._add_whole(phrase, (name, value), f"{where}.phrases")
                self._add_all(wording.terms, Entry("term", ((name, value),)), f"{where}.terms")
            if concept.numbers:
                forms = [
                    form.replace("{mention}", m)
                    for form in concept.numbers.forms
                    for m in (mentions if "{mention}" in form else ("",))
                ]
                self._add_all(forms, Entry("number", ((name, ""),)), f"{place}.numbers.forms")

    def _add_all(self, phrases: Iterable[str], entry: Entry, place: str) -> None:
        for phrase in phrases:
            self._add(phrase, entry, place)

    def _add(self, phrase: str, entry: Entry, place: str) -> None:
        key = tuple(ANY_NUMBER if part == "n" else part for part in words(phrase.replace("{n}", " n ")))
        if not key:
            raise DataError(f"{phrase!r} holds no word", "Delete it.", field=place)
        node = self._root
        for word in key:
            node = node.next.setdefault(word, _Node())
        if node.entry is not None:
            entry = self._merge(node.entry, entry, phrase, place, self._places[key])
        node.entry = entry
        self._places[key] = place

    def _add_whole(self, phrase: str, reading: tuple[str, str], place: str) -> None:
        key = tuple(words(phrase))
        if self.whole.setdefault(key, reading) != reading:
            rule = f"{phrase!r} would be ambiguous: as a sentence it already means {' = '.join(self.whole[key])}"
            raise DataError(rule, "Keep it in one place.", field=place)

    def _merge(self, old: Entry, new: Entry, phrase: str, place: str, old_place: str) -> Entry:
        if old == new or old.kind in _WEAK_CUES and old_place.startswith("the general"):
            return new
        if old.kind == new.kind == "term" and new.concept not in {concept for concept, _ in old.readings}:
            return Entry("term", old.readings + new.readings)
        raise DataError(
            f"{phrase!r} would be ambiguous: it is already in {old_place}",
            "Keep it in one place, or make it longer.",
            field=place,
        )

    def match(self, tokens: list[str]) -> list[Match]:
        """Non-overlapping matches from left to right, the longest at each word."""
        found: list[Match] = []
        position = 0
        while position < len(tokens):
            best = self._longest(tokens, position)
            if best is None:
                number = as_number(tokens[position])
                if number is not None:
                    found.append(Match(position, position + 1, Entry("loose_number"), number))
                position += 1
            else:
                found.append(best)
                position = best.end
        return found

    def _longest(self, tokens: list[str], start: int) -> Match | None:
        best: Match | None = None
        states: list[tuple[_Node, float | None]] = [(self._root, None)]
        for index in range(start, len(tokens)):
            word = tokens[index]
            states = _step(states, word)
            if not states:
                break
            for node, number in states:
                if node.entry is not None and not _is_range(node.entry, tokens, index):
                    best = Match(start, index + 1, node.entry, number)
        return best


def _is_range(entry: Entry, tokens: list[str], last: int) -> bool:
    """Whether the number that ends a match is half of a range ("are 5 to 19 %") or a bound ("or more")."""
    if entry.kind != "number" or as_number(tokens[last]) is None and tokens[last] not in ("%", "percent"):
        return False
    after = [word for word in tokens[last + 1 : last + 4] if word not in ("%", "percent")]
    if not after:
        return False
    if after[0] in ("to", "or", "and") and len(after) > 1:
        return after[1] in _BEYOND or as_number(after[1]) is not None
    return as_number(after[0]) is not None


def _step(states: list[tuple[_Node, float | None]], word: str) -> list[tuple[_Node, float | None]]:
    """Follow one word; where both fit, its own edge comes last and so wins over `any number`."""
    after: list[tuple[_Node, float | None]] = []
    value = as_number(word)
    for node, number in states:
        if value is not None and ANY_NUMBER in node.next:
            after.append((node.next[ANY_NUMBER], value))
        if word in node.next:
            after.append((node.next[word], number))
    return after


def _plural(noun: str) -> str:
    return noun if noun.endswith("s") else noun + "s"


@lru_cache(maxsize=64)
def lexicon_of(logic: Logic) -> Lexicon:
    """The lexicon of a logic, built once."""
    return Lexicon(logic)
