"""Which option an answer chose: the extraction ladder of VLMEvalKit without its guess, and stricter readers."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from vlmalign.evaluation.benchmarks.protocol import FAILED, MISSING, REFUSED, SCORED, UNPARSED
from vlmalign.evaluation.benchmarks.unread import why_unread


class Choice(NamedTuple):
    """What was read.

    Attributes:
        letter: the option, or None.
        state: `scored`, or why there is no letter.
        rule: which step of the reader found it, or "".
    """

    letter: str | None
    state: str
    rule: str = ""


_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_FAILURE = "Failed to obtain answer via API"
_STATED = re.compile(r"\b(?:correct\s+)?answer\s+is\s*:?\s*[(\[]?([A-D])\b")


def ladder(text: str | None, options: Mapping[str, str]) -> Choice:
    """VLMEvalKit's extraction without its last two steps, a language model and a random option.

    (1) a failed call; (2) four phrases of refusal; (3) exactly one option letter among the words, whose first
    place is among the last four; (4) "(correct) answer is X", A to D; (5) in an answer of at most twice the length
    of all options, exactly one option text. What is left is `unparsed`: there the original asks a model and then
    draws an option at random, so that a model that says nothing earns its share.

    Args:
        text: the answer.
        options: letter -> text of the option.

    Example:
        >>> dogs = {"A": "a dog", "B": "two dogs"}
        >>> ladder("The answer is B.", dogs).rule, ladder("I see two dogs", dogs).letter
        ('letter', 'B')
        >>> ladder("Either of them", dogs).state
        'unparsed'
    """
    if text is None:
        return Choice(None, MISSING)
    if _FAILURE in text:
        return Choice(None, FAILED)
    if any(phrase in text for phrase in _REFUSALS):
        return Choice(None, REFUSED)
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()
    found = [letter for letter in options if letter in words]
    if len(found) == 1 and words.index(found[0]) > len(words) - 5:
        return Choice(found[0], SCORED, "letter")
    if not found and "Z" in words:
        return Choice(None, REFUSED)
    stated = _STATED.search(text)
    if stated and stated[1] in options:
        return Choice(stated[1], SCORED, "stated")
    said = text.lower()
    if len(said) <= 2 * sum(len(option) for option in options.values()):
        named = [letter for letter, option in options.items() if option.lower() in said]
        if len(named) == 1:
            return Choice(named[0], SCORED, "text")
    return Choice(None, why_unread(text))


#: species whose genus is often shortened to a letter that may be an option's: E. coli, C. difficile
_SPECIES = (
    r"(?:coli|difficile|albicans|fragilis|cereus|burgdorferi|diphtheriae|perfringens|botulinum|faecalis|faecium|"
    r"histolytica|duodenale|trachomatis|baumannii)\b"
)
_MARK = (
    r"(?:[(\[]\s*({0})\s*[)\]]|\b({0})\s*[)\]:]"
    rf"|(?:^|[\n.!?]\s*)({{0}})\.(?=\s|$)(?!\s*{_SPECIES})|\*\*\s*({{0}})\s*\*\*)"
)
_SAID = r"\b(?:answer|option|choice|choose|select|pick)(?:\s+(?:is|would be|should be))?\s*:?\s*(?:option\s+)?"


def read_letter(text: str | None, letters: Collection[str]) -> Choice:
    """Our reader: an option letter that is marked as one, and no other.

    In this order, the first step that finds any letter deciding: the whole answer is a letter ("b", "(B)"); a
    stated one ("the answer is B", "option B"); marked ones ("B)", "(B)", "B:", "**B**"); capitals that stand
    alone, but for an article "A", a pronoun "I", names (hepatitis B) and what follows "not". A step that finds two
    letters is `unparsed`.

    Example:
        >>> [read_letter(said, "AB").letter for said in ("(A)", "b", "A dog is seen", "It is B", "A or B")]
        ['A', 'B', None, 'B', None]
    """
    if text is None:
        return Choice(None, MISSING)
    said = text.strip()
    one = "|".join(re.escape(letter) for letter in letters)
    if whole := re.fullmatch(rf"\W*({one})\W*", said, re.IGNORECASE):
        return Choice(whole[1].upper(), SCORED, "whole")
    denied = re.compile(rf"(?:\bnot|n't|\bneither|\bnor)\s+(?:option\s+)?[(\[]?(?:{one})\b[)\]]?")
    clear = denied.sub(" ", said)
    steps = {
        "stated": rf"(?i:{_SAID})[*(\[]*({one})\b",
        "marked": _MARK.format(one),
        "alone": rf"(?<![\w'])({one})(?![\w'])",
    }
    for rule, pattern in steps.items():
        found = set()
        for match in re.finditer(pattern, clear):
            letter = next(part for part in match.groups() if part)
            if rule == "alone" and _is_word(letter, clear[: match.start()], clear[match.end() :]):
                continue
            found.add(letter)
        if len(found) == 1:
            return Choice(found.pop(), SCORED, rule)
        if found:
            return Choice(None, UNPARSED, "several")
    return Choice(None, why_unread(text))


_NAMES = frozenset("vitamin hepatitis influenza type group grade class stage haemophilia hemophilia zone".split())


def _is_word(letter: str, before: str, after: str) -> bool:
    """Whether a capital that stands alone is an article, a pronoun, or part of a name (hepatitis B)."""
    previous, following = re.search(r"([\w-]+)\s+$", before), re.match(r"\s+([\w-]+)", after)
    if (
        letter == "I"
        or re.match(rf"\.\s*{_SPECIES}", after)
        or (previous is not None and previous[1].lower() in _NAMES)
    ):
        return True
    return letter == "A" and following is not None and following[1].lower() not in ("and", "or", "is", "because")


def alone_among_words(text: str | None) -> Choice:
    """The multiple-choice reader of MediConfusion: A or B alone between blanks, both or none being invalid.

    It takes the article "A" for option A, and finds nothing in "(A)", "A)" or "a".

    Example:
        >>> [alone_among_words(said).letter for said in ("A", "(A)", "A cyst, so B", "A cyst is seen")]
        ['A', None, None, 'A']
    """
    if text is None:
        return Choice(None, MISSING)
    words = [word.strip() for word in text.split(" ")]
    found = [letter for letter in "AB" if {letter, f"{letter}:", f"{letter}."} & set(words)]
    return Choice(found[0], SCORED, "alone") if len(found) == 1 else Choice(None, why_unread(text))
