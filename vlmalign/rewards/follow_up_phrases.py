"""What a reader might say next to an answer that helped, and to one that did not."""

from __future__ import annotations

from typing import NamedTuple


class Phrases(NamedTuple):
    """Two kinds of follow-ups.

    Attributes:
        positive: of a reader whom the answer served.
        negative: of one whom it did not.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]


#: name of a bank -> its follow-ups; both kinds are of about the same length, as the sum over tokens counts length
PHRASE_BANKS: dict[str, Phrases] = {
    "clinical": Phrases(
        positive=(
            "That agrees with what I see in this image.",
            "I read the image the same way, so this can go into the report.",
            "Yes, every finding you name is visible here.",
            "Good, that is just what I needed to decide on the next step.",
            "The second reader came to the same result.",
        ),
        negative=(
            "That does not agree with what I see in this image.",
            "I read the image differently, so this cannot go into the report.",
            "No, you name a finding that is not visible here.",
            "You left out the finding that decides on the next step.",
            "The second reader came to the opposite result.",
        ),
    ),
    "general": Phrases(
        positive=(
            "Thank you, that answers my question.",
            "That is right, and it is easy to follow.",
            "Great, I can work with this.",
            "Exactly what I wanted to know.",
        ),
        negative=(
            "Sorry, that does not answer my question.",
            "That is wrong, and it is hard to follow.",
            "Hm, I cannot work with this.",
            "Not at all what I wanted to know.",
        ),
    ),
}


def choose_phrases(bank: str, positive: object, negative: object) -> Phrases:
    """A bank by its name, or one's own follow-ups instead.

    Args:
        bank: name of a bank; used where neither kind is given.
        positive: one's own, a list of texts, or None.
        negative: alike.

    Raises:
        ValueError: an unknown bank, one kind without the other, or a kind that is no list of different texts.

    Example:
        >>> choose_phrases("general", ["Thanks."], ["What?"]).negative
        ('What?',)
    """
    if bank not in PHRASE_BANKS:
        raise ValueError(f"bank is {bank!r}, expected one of {sorted(PHRASE_BANKS)}: correct it.")
    if positive is None and negative is None:
        return PHRASE_BANKS[bank]
    if positive is None or negative is None:
        missing = "positive" if positive is None else "negative"
        raise ValueError(f"{missing} is not given and the other kind is: give both, or neither for bank {bank!r}.")
    phrases = Phrases(_texts("positive", positive), _texts("negative", negative))
    both = set(phrases.positive) & set(phrases.negative)
    if both:
        raise ValueError(f"{sorted(both)[0]!r} is both positive and negative: leave it out of one of them.")
    return phrases


def _texts(name: str, given: object) -> tuple[str, ...]:
    if not isinstance(given, (list, tuple)) or not given:
        raise ValueError(f"{name} is {given!r}, expected a list of texts: write [one, another].")
    texts = tuple(text.strip() if isinstance(text, str) else "" for text in given)
    if not all(texts):
        raise ValueError(f"{name} is {given!r}, expected texts that are not empty: correct it.")
    if len(set(texts)) < len(texts):
        raise ValueError(f"{name} is {given!r}, expected different texts: a repeated one would count twice.")
    return texts
