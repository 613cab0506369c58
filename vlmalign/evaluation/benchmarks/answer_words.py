"""Short answers compared word by word, after a normalisation that is stated."""

from __future__ import annotations

import re
from collections import Counter

_ARTICLES = frozenset({"a", "an", "the"})


def normalise(text: str) -> str:
    """Lower case, punctuation as blanks (not inside numbers), articles dropped, single blanks (after VQAv2,
    SQuAD).

    Example:
        >>> normalise("The left lung, upper-lobe."), normalise("1.5 cm")
        ('left lung upper lobe', '1.5 cm')
    """
    return " ".join(answer_words(text))


def answer_words(text: str) -> list[str]:
    """The words of the normalised text."""
    said = re.sub(r"(?<!\d)[.,](?!\d)|(?<=\d)[.,](?!\d)|(?<!\d)[.,](?=\d)|[^\w\s.,%+-]|-", " ", text.casefold())
    return [word for word in said.split() if word not in _ARTICLES]


def word_recall(truth: str, said: str) -> float | None:
    """Share of the distinct words of the truth that the answer has (LLaVA-Med's open recall); None without words.

    Example:
        >>> word_recall("right lower lobe", "It is in the right lobe.")
        0.6666666666666666
    """
    wanted = set(answer_words(truth))
    return len(wanted & set(answer_words(said))) / len(wanted) if wanted else None


def word_f1(truth: str, said: str) -> float | None:
    """F1 of the words, repeated ones counted as often as both have them (SQuAD); None where the truth has none.

    Example:
        >>> word_f1("right lower lobe", "lower right lung")
        0.6666666666666666
    """
    wanted, given = Counter(answer_words(truth)), Counter(answer_words(said))
    if not wanted:
        return None
    return 2 * (wanted & given).total() / (wanted.total() + given.total())
