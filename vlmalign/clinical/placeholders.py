"""Which `{placeholders}` the texts of a logic may hold: any other would be written into reports as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vlmalign.clinical.schema import Bank, Logic

_PLACEHOLDER = re.compile(r"\{[^{}]*\}|[{}]")  # a brace alone is half of one


class Placeholder(NamedTuple):
    """A placeholder that nothing fills.

    Attributes:
        place: dotted place of its text.
        text: the text.
        unknown: the placeholder.
        known: those that are filled there.
    """

    place: str
    text: str
    unknown: str
    known: tuple[str, ...]


def unknown_placeholders(logic: Logic) -> Iterator[Placeholder]:
    """Every placeholder of the logic's texts that its bank does not define, in the order of the file."""
    for place, text, known in _texts(logic):
        for found in _PLACEHOLDER.findall(text):
            if found not in known:
                yield Placeholder(place, text, found, known)


_Text = tuple[str, str, tuple[str, ...]]  # place, text, what is filled in it


def _texts(logic: Logic) -> Iterator[_Text]:
    yield from _bank("report_prompts", logic.report_prompts)
    for name, concept in logic.concepts.items():
        place = f"concepts.{name}"
        yield f"{place}.name", concept.name, ()  # written where a hedge says {name}
        for value, wording in concept.values.items():
            yield from _bank(f"{place}.values.{value}.sentences", wording.sentences)
            yield from _bank(f"{place}.values.{value}.answers", wording.answers)
        if concept.numbers is not None:
            yield from _list(f"{place}.numbers.forms", concept.numbers.forms, ("{n}", "{mention}"))
            yield from _bank(f"{place}.numbers.sentences", concept.numbers.sentences, "{n}")
            yield from _bank(f"{place}.numbers.singular", concept.numbers.singular, "{n}")
    for number, question in enumerate(logic.questions):
        yield from _bank(f"questions.{number}", question.bank)
    for kind, unsupported in logic.unsupported.items():
        yield from _bank(f"unsupported.{kind}.examples", unsupported.examples)
    yield from _bank("hedges.uncertain", logic.hedges.uncertain, "{name}")
    yield from _bank("hedges.not_assessed", logic.hedges.not_assessed, "{name}")


def _bank(place: str, bank: Bank | None, *known: str) -> Iterator[_Text]:
    if bank is not None:
        yield from _list(f"{place}.train", bank.train, known)
        yield from _list(f"{place}.test", bank.test, known)


def _list(place: str, texts: Iterable[str], known: tuple[str, ...]) -> Iterator[_Text]:
    for index, text in enumerate(texts):
        yield f"{place}.{index}", text, known
