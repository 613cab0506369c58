"""Finding the objects that a caption names, by a list of their names and synonyms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from vlmalign.evaluation.benchmarks.logs import read_text
from vlmalign.records import DataError

IGNORED = ""
_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "knives": "knife", "mice": "mouse",
    "geese": "goose", "glasses": "glass",
}  # fmt: skip


class ObjectWords:
    """Names of objects, the longest match winning, so that a hot dog is no dog.

    Args:
        names: name or synonym -> object; "" for a phrase that names none, as a train track no train.

    Example:
        >>> words = ObjectWords({"dog": "dog", "puppy": "dog", "hot dog": "hot dog", "dog house": ""})
        >>> list(words.mentions("Two puppies eat hot dogs in a dog house."))
        ['dog', 'hot dog']
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._of = {tuple(_singular(word) for word in _words(name)): thing for name, thing in names.items()}
        self._longest = max(map(len, self._of), default=0)

    def canonical(self, name: str) -> str:
        """The object that a name or synonym stands for; a name that is not listed for itself."""
        return self._of.get(tuple(_singular(word) for word in _words(name))) or name

    def mentions(self, text: str) -> Iterable[str]:
        """Objects in order of the text, each as often as it is named."""
        words = [_singular(word) for word in _words(text)]
        at = 0
        while at < len(words):
            for size in range(min(self._longest, len(words) - at), 0, -1):
                found = self._of.get(tuple(words[at : at + size]))
                if found is not None:
                    if found != IGNORED:
                        yield found
                    at += size
                    break
            else:
                at += 1


def read_synonyms(file: Path) -> ObjectWords:
    """A line per object: its name, then synonyms, between commas. A line that begins with ! lists what names none.

    Raises:
        DataError: no such file, an empty one, or a name of two objects.
    """
    if not file.is_file():
        raise DataError("no such file of synonyms", "Check --set synonyms.", file=file)
    names: dict[str, str] = {}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        ignored = line.startswith("!")
        parts = [part.strip().lower() for part in line.removeprefix("!").split(",") if part.strip()]
        for part in parts:
            thing = IGNORED if ignored else parts[0]
            if names.setdefault(part, thing) != thing:
                raise DataError(f"{part!r} is a name of {names[part]!r} and of {thing!r}", "Keep one of the two.",
                                file=file, line=number)  # fmt: skip
    if not names:
        raise DataError("it names no object", "Give a line per object.", file=file)
    return ObjectWords(names)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "uses", "toes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
