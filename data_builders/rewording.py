"""A sentence's own words with another value in them: candidates, to be read back by whoever uses them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from vlmalign.clinical.english import NUMBER_WORDS
from vlmalign.clinical.lexicon import as_number
from vlmalign.clinical.schema import Concept, Measurement

_NUMBER = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")


def swapped_words(concept: Concept, text: str, before: str, after: str, seed: int) -> Iterator[str]:
    """The sentence with the wording of one value replaced by wordings of another, phrase by phrase, term by term.

    Args:
        concept: whose values they are.
        text: one sentence.
        before: the value that it says.
        after: the value that it shall say.
        seed: of the order of the wordings.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> stain = load_logic("peripheral_smear").concepts["stain"]
        >>> "Cells darkly stained, no leukocyte." in swapped_words(
        ...     stain, "Cells lightly stained, no leukocyte.", "pale", "dark", seed=0)
        True
    """
    old, new = concept.values[before], concept.values[after]
    sorts = [(wording, sort) for sort in ("phrases", "terms") for wording in getattr(old, sort)]
    for wording, sort in sorted(sorts, key=lambda found: -len(found[0])):
        found = re.search(rf"(?<!\w){re.escape(wording)}(?!\w)", text, re.I)
        if found is None:
            continue
        others = list(getattr(new, sort))
        random.Random(seed).shuffle(others)
        for replacement in others:
            said = replacement[0].upper() + replacement[1:] if found[0][0].isupper() else replacement
            yield text[: found.start()] + said + text[found.end() :]


def other_numbers(text: str, before: float, after: float) -> Iterator[str]:
    """The sentence with a number that it says replaced by another, as word or numeral like the old one.

    Example:
        >>> list(other_numbers("Two platelets are seen.", 2.0, 7.0))
        ['Seven platelets are seen.']
        >>> list(other_numbers("Cover is 30 %.", 0.3, 0.5))
        ['Cover is 50 %.']
    """
    for found in _NUMBER.finditer(text):
        value = as_number(found[0].lower())
        if value is None:
            continue
        percent = re.match(r"\s*(%|percent\b)", text[found.end() :]) is not None
        if abs(value / (100 if percent else 1) - before) > 1e-9:
            continue
        number = after * (100 if percent else 1)
        is_word = not found[0][0].isdigit()
        if is_word and number == int(number) and int(number) < len(NUMBER_WORDS):
            said = NUMBER_WORDS[int(number)]
            said = said[0].upper() + said[1:] if found[0][0].isupper() else said
        else:
            said = f"{number:g}"
        yield text[: found.start()] + said + text[found.end() :]


def number_in_band(measurement: Measurement, value: str, seed: int, decimals: int = 0) -> float | None:
    """A number, rounded to some decimals, that means a value; None where there is none but zero.

    The last band has no upper edge: it is drawn up to twice the lower one.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> bands = load_logic("peripheral_smear").concepts["platelets"].measurement
        >>> number_in_band(bands, "few", seed=0) in (1.0, 2.0), number_in_band(bands, "none", seed=0)
        (True, None)
    """
    lower = 0.0
    for band in measurement.bands:
        if band.value == value:
            break
        lower = band.below if band.below is not None else lower
    upper = 2 * lower + 1 if band.below is None else band.below
    step = 10.0**-decimals
    first, last = round(lower / step), round(upper / step)
    grid = [round(k * step, decimals) for k in range(first, min(last, first + 1000) + 1)]
    fitting = [number for number in grid if number > 0 and measurement.band(number) == value]
    return float(random.Random(seed).choice(fitting)) if fitting else None
