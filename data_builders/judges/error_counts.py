"""Error counts from a GREEN-style reply: read as they stand, or not at all.

The published parser of these replies makes a missing section a perfect score, an unreadable reply a zero, and a
count without its full stop no error. Here each of these is a reason why there is no score.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from data_builders.judges.reading import Unread


class Category(NamedTuple):
    """A kind of error: its letter, name, what the judge is told, and a word of its label in GREEN's own prompt."""

    letter: str
    name: str
    about: str
    sign: str


CATEGORIES = (
    Category("a", "false finding", "the candidate states a finding that the reference does not", r"false"),
    Category("b", "missing finding", "the reference states a finding that the candidate does not", r"missing"),
    Category("c", "wrong location", "the finding is right, its place or side is not", r"location|position"),
    Category("d", "wrong severity", "the finding is right, its degree is not", r"severity"),
    Category(
        "e", "comparison not in reference", "a change from earlier images that the reference does not tell",
        r"mention\w* a comparison|comparison (?:that is|that isn.t|not)",
    ),
    Category("f", "omitted comparison", "a change that the reference tells and the candidate does not", r"omi"),
)  # fmt: skip

_SECTIONS = {
    "significant": r"(?:clinically )?significant errors?",
    "insignificant": r"(?:clinically )?(?:insignificant|non-?significant) errors?",
    "matched": r"match(?:ed|ing) findings?",
    "explanation": r"explanation",
}
_HEADERS = {
    name: re.compile(rf"(?:\[\s*{words}\s*\]\s*:?|{words}\s*(?::|$))\s*(.*)", re.IGNORECASE)
    for name, words in _SECTIONS.items()
}
_NONE = re.compile(
    r"(?:none|nil|zero|0|no (?:clinically )?(?:(?:in)?significant )?(?:errors?|match(?:ed|es|ing findings)?|"
    r"matched findings?)|none (?:found|identified))(?: (?:were |was |are )?(?:found|identified|present))?\.?",
    re.IGNORECASE,
)
_DENIAL = re.compile(  # "No mention of the effusion" names an error, "No errors" denies one
    r"(?:none|nil|nothing|n/a|not applicable"
    r"|(?:there (?:is|are) )?no(?! (?:mention|report|descri|comment|document)))\b"
    r"|[-–—]?\.?$",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(r"\b(?:but|except|apart from|other than)\b", re.IGNORECASE)
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COUNT = re.compile(
    rf"(\d{{1,2}}|{'|'.join(_WORDS)})(?:\s+(?:errors?|findings?|match(?:es|ed)?))?\s*(?:[.;:,)(]|[-–—]\s|$)\s*(.*)",
    re.IGNORECASE,
)
_NOT_WHOLE = re.compile(r"\d+(?:[.,/]\d|\s*(?:[-–—]|to|or|and)\s*\d)", re.IGNORECASE)
_ENTRY = re.compile(r"(?:\(\s*([a-f])\s*\)|([a-f])[.)])\s*(.*)", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:\((\d+)\)|(\d+)[.)])\s+\S")
_BULLET = re.compile(r"[-•–*]\s+(.*)")
_EMPHASIS = re.compile(r"\*\*|__|`|^\s*#+\s*", re.MULTILINE)


@dataclass(frozen=True)
class ErrorCounts:
    """What a reply counts.

    Attributes:
        significant: category's name -> clinically significant errors.
        insignificant: likewise, insignificant ones.
        matched: findings that both reports state.
    """

    significant: Mapping[str, int]
    insignificant: Mapping[str, int]
    matched: int


def read_error_counts(text: str) -> ErrorCounts | Unread:
    r"""Read the counts of a whole reply.

    Each section must be there once, and each category in both error sections (or "None" for a whole section). A
    count is a whole number, or a list with one item to a line; a number and a list beside it must agree.

    Args:
        text: the judge's reply and nothing else.

    Returns:
        The counts, or the first thing that could not be read.

    Example:
        >>> head = "[Clinically Significant Errors]\n(b) missing finding: 1. effusion\n"
        >>> read_error_counts(head + "[Clinically Insignificant Errors]\nNone\n[Matched Findings]\n2").why
        "significant: 'false finding' is missing"
    """
    lines = [line.strip() for line in _EMPHASIS.sub("", text).splitlines() if line.strip()]
    sections = _split(lines)
    if isinstance(sections, Unread):
        return sections
    significant = _errors("significant", sections["significant"])
    insignificant = _errors("insignificant", sections["insignificant"])
    matched = _matched(sections["matched"])
    for part in (significant, insignificant, matched):
        if isinstance(part, Unread):
            return part
    return ErrorCounts(significant, insignificant, matched)  # type: ignore[arg-type]  # none is unread


def _split(lines: Sequence[str]) -> dict[str, list[str]] | Unread:
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        name, found = next(((n, m) for n, h in _HEADERS.items() if (m := h.fullmatch(line))), ("", None))
        if found is None:
            current.append(line)
        elif name in sections:
            return Unread("unparsed", f"the section {name!r} comes twice")
        else:
            current = sections[name] = [found.group(1)] if found.group(1) else []
    for name in ("significant", "insignificant", "matched"):
        if name not in sections:
            return Unread("unparsed", f"the section {name!r} is missing")
        if not sections[name]:
            return Unread("unparsed", f"the section {name!r} is empty")
    return sections


def _errors(section: str, lines: Sequence[str]) -> dict[str, int] | Unread:
    if len(lines) == 1 and _NONE.fullmatch(_bare(lines[0])):
        return {category.name: 0 for category in CATEGORIES}
    entries: list[tuple[Category, list[str]]] = []
    for line in lines:
        entry = _entry(line)
        if isinstance(entry, Unread):
            return Unread("unparsed", f"{section}: {entry.why}")
        if entry is not None:
            entries.append((entry[0], [entry[1]]))
        elif entries:
            entries[-1][1].append(line)
        else:
            return Unread("unparsed", f"{section}: {line[:40]!r} belongs to no category")
    counts: dict[str, int] = {}
    for category, said in entries:
        if category.name in counts:
            return Unread("unparsed", f"{section}: {category.name!r} comes twice")
        count = _count(said[0], said[1:])
        if isinstance(count, Unread):
            return Unread("unparsed", f"{section}, {category.name}: {count.why}")
        counts[category.name] = count
    missing = [category.name for category in CATEGORIES if category.name not in counts]
    return Unread("unparsed", f"{section}: {missing[0]!r} is missing") if missing else counts


def _entry(line: str) -> tuple[Category, str] | Unread | None:
    """The category that a line begins with what it says of it; None for a line that begins none."""
    line = _bare(line)
    found = _ENTRY.fullmatch(line)
    rest = line if found is None else found.group(3)
    label, colon, value = rest.partition(":")
    if found is None:
        label = re.sub(r"^\(?\d\)?[.)]?\s*", "", label)
        named = next((c for c in CATEGORIES if label.strip().lower() == c.name), None)
        return None if named is None or not colon else (named, value.strip())
    letter = (found.group(1) or found.group(2)).lower()
    category = next(c for c in CATEGORIES if c.letter == letter)
    if not colon or _COUNT.fullmatch(rest):
        return category, rest
    signs = {c.name for c in CATEGORIES if label.strip().lower() == c.name or re.search(c.sign, label.lower())}
    if signs and category.name not in signs:
        return Unread("unparsed", f"({letter}) is labelled {label.strip()[:40]!r}, but is {category.name!r}")
    return category, value.strip()


def _matched(lines: Sequence[str]) -> int | Unread:
    if len(lines) == 1 and _NONE.fullmatch(_bare(lines[0])):
        return 0
    listed = _list_length(lines) if len(lines) > 1 or _BULLET.fullmatch(lines[0]) else None
    count = listed if listed is not None else _count(lines[0], lines[1:])
    return Unread("unparsed", f"matched: {count.why}") if isinstance(count, Unread) else count


def _count(first: str, more: Sequence[str]) -> int | Unread:
    """The number that an entry gives, where all that it says agrees."""
    if _NONE.fullmatch(first) and not more:
        return 0
    listed = _list_length(more) if more else None
    if not first:
        return Unread("unparsed", "there is no count") if listed is None else listed
    found = None if _NOT_WHOLE.match(first) else _COUNT.fullmatch(first)
    if found is None:
        return Unread("unparsed", f"{first[:40]!r} begins with no whole number")
    word = found.group(1).lower()
    number = _WORDS.index(word) if word in _WORDS else int(word)
    named = " ".join([found.group(2), *(more if listed is None else ())]).strip()
    if listed is None and ";" in named:
        listed = len([part for part in named.split(";") if part.strip(" .")])
    return _agreeing(number, named, listed)


def _agreeing(number: int, named: str, listed: int | None) -> int | Unread:
    denied = _DENIAL.match(named) is not None and _TAKEN_BACK.search(named) is None
    if number == 0 and (listed or not denied):
        return Unread("unparsed", f"the count is 0, but there is {named[:40] or 'a list'!r}")
    if number > 0 and named and _NONE.fullmatch(named):
        return Unread("unparsed", f"the count is {number}, but it says {named!r}")
    if number > 0 and listed is not None and listed != number:
        return Unread("unparsed", f"the count is {number}, but {listed} are listed")
    return number


def _list_length(lines: Sequence[str]) -> int | None:
    """How many items lines list, all with bullets or numbered from 1 on; None: they are no list."""
    bullets = [found.group(1) for line in lines if (found := _BULLET.fullmatch(line))]
    if len(bullets) == len(lines):
        none = [bullet for bullet in bullets if _NONE.fullmatch(bullet)]
        return len(bullets) if not none else 0 if len(bullets) == 1 else None
    numbers = [int(found.group(1) or found.group(2)) for line in lines if (found := _NUMBERED.match(line))]
    return len(lines) if numbers == list(range(1, len(lines) + 1)) else None


def _bare(line: str) -> str:
    found = _BULLET.fullmatch(line)
    return line if found is None else found.group(1)
