"""Reading yes or no out of an answer: strictly, or by the rule of a benchmark's own script."""

from __future__ import annotations

import re
from typing import Literal

YesNo = Literal["yes", "no"]

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_STATED = re.compile(r"\b(?:answer|response|conclusion)(?:\s+is|\s*:)\W*(yes|no)\b")
_THERE = re.compile(
    r"^(?:i (?:can )?see|(?:in|on) the (?:image|picture|photo)\W+there (?:is|are)|there (?:is|are)|there's)"
    r"\s+(?P<not>no|not|n't)?\b"
)
_ASKED = re.compile(
    r"^(?:is|are) there (?:an?|any|some|the)?\s*(?P<thing>.+?)(?:\s+(?:in|on) (?:the|this) .*)?\?*$"
)


def read_yes_no(text: str, question: str = "") -> YesNo | None:
    """What an answer says, if it says so beyond doubt; else None.

    In this order: the first word ("Yes, ..."); "the answer is no"; and, where the question is "Is there X?", a
    first sentence "There is (no) X". Whatever says both, or neither, is not read: "yes and no", "It may be".

    Example:
        >>> read_yes_no("Yes, a dog."), read_yes_no("**No**"), read_yes_no("I cannot tell, not from here.")
        ('yes', 'no', None)
        >>> read_yes_no("There is no dog.", "Is there a dog in the image?")
        'no'
    """
    said = re.sub(r"[*_`#>\"]+", " ", text.casefold().replace("’", "'")).strip()
    words = _WORD.findall(said)
    if not words:
        return None
    stated = set(_STATED.findall(said))
    if len(stated) == 1:
        return "yes" if "yes" in stated else "no"
    if stated or (words[0] in ("yes", "no") and words[1:3] in (["and", "no"], ["or", "no"], ["and", "yes"])):
        return None
    if words[0] == "yes":
        return "yes"
    if words[0] == "no":
        return "no"
    return _there_is(said, question)


def _there_is(said: str, question: str) -> YesNo | None:
    asked, there = _ASKED.match(question.casefold().strip()), _THERE.match(said)
    if asked is None or there is None:
        return None
    first = re.split(r"[.!?\n]", said, maxsplit=1)[0]
    rest = first[there.end() :]
    if not re.search(rf"\b{re.escape(asked['thing'])}s?\b", rest):
        return None
    if there["not"]:
        return "no"
    return None if re.search(r"\b(?:no|not|n't|nor|without|never)\b", rest) else "yes"


def read_as_pope(text: str) -> YesNo:
    """The rule of POPE's own script: no if the words before the first full stop have No, no or not; else yes.

    So everything that is not a no is a yes: an empty answer, a refusal, "I am unsure".

    Example:
        >>> read_as_pope("No, it is not."), read_as_pope("I am unsure."), read_as_pope("NO")
        ('no', 'yes', 'yes')
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"
