"""What is wrong with settings, in one wording: the key, its value, the rule, and the nearest known key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection

from pydantic import ValidationError

from vlmalign.records.errors import ended

Place = tuple[int | str, ...]


class SettingsError(ValueError):
    """Settings that cannot be used. The message begins with what they are for, e.g. `stage 'sft'`."""


class UnknownKeyError(SettingsError):
    """A key that nothing knows."""


def hint(name: str, known: Collection[str], label: str = "Known") -> str:
    """The nearest known name, or all of them.

    Example:
        >>> hint("epoch", ["epochs", "seed"]), hint("x", ["epochs", "seed"])
        ("Did you mean 'epochs'?", 'Known: epochs, seed.')
        >>> hint("lr", ["learning_rate", "lora"])  # by the first letters of its words, as people write it
        "Did you mean 'learning_rate'?"
    """
    spelt = [key for key in sorted(known) if "_" in key and "".join(word[:1] for word in key.split("_")) == name]
    near = spelt[:1] or difflib.get_close_matches(name, sorted(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else f"{label}: {', '.join(sorted(known)) or 'none'}."


def unknown(kind: str, name: str, known: Collection[str], *, called: str = "") -> str:
    """The sentence for a name that is not known.

    Args:
        kind: what it should be the name of, e.g. "key".
        name: what was given.
        known: the names there are.
        called: how to say it where that is more than the name, e.g. "lora.rnk".

    Example:
        >>> unknown("key", "epoch", ["epochs", "seed"])
        "unknown key 'epoch'. Did you mean 'epochs'?"
    """
    kinds = kind + ("es" if kind.endswith("s") else "s")
    return f"unknown {kind} {(called or name)!r}. {hint(name, known, f'Known {kinds}')}"


def explain(error: ValidationError, kind: str, known_at: Callable[[Place], Collection[str]]) -> str:
    """One sentence for the first thing that is wrong; unknown keys come first.

    Args:
        error: of checking settings.
        kind: what a setting is called there, e.g. "key".
        known_at: place of a mapping inside the settings, () for themselves -> the keys it may have; none if that
            is not known.
    """
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    place = first["loc"]
    key = ".".join(str(part) for part in place)
    if first["type"] == "extra_forbidden":
        if known := known_at(place[:-1]):
            return unknown(kind, str(place[-1]), known, called=key)
        return f"unknown {kind} {key!r}. Correct or drop it."
    if first["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"the {kind} {key!r} is missing. Add it."
    if place and place[-1] == "[key]":  # a key of a mapping whose keys are listed, e.g. shares.flop
        place, key = place[:-1], key.removesuffix(".[key]")
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        choices = re.findall(r"'([^']*)'", str(first["ctx"]["expected"]))
        if place and place[-1] == first["input"] and len(place) > 1:
            return unknown(kind, first["input"], choices, called=key)
        if near := difflib.get_close_matches(first["input"], choices, n=1):
            expected = first["ctx"]["expected"]
            return f"{kind} {key!r} is {first['input']!r}: {expected} is required. Did you mean {near[0]!r}?"
    if first["type"] == "union_tag_invalid":
        context, choices = first["ctx"], re.findall(r"'([^']*)'", str(first["ctx"]["expected_tags"]))
        name = str(context["discriminator"]).strip("'")
        said = hint(str(context["tag"]), choices, "Known")
        return f"{kind} {f'{key}.{name}'!r} is {context['tag']!r}. {said}"
    if first["type"] in ("list_type", "tuple_type") and isinstance(first["input"], (str, int, float)):
        return f"{kind} {key!r} is {first['input']!r}: a list is required. Write {key}=[{first['input']}]."
    message = first["msg"].removeprefix("Value error, ")
    if place and message.startswith(f"{place[-1]} is "):
        return f"{ended(message)} Correct it."  # the rule says already what it is
    return f"{kind} {key!r} is {first['input']!r}: {ended(message)} Correct it." if key else ended(message)


def is_unknown_key(error: ValidationError) -> bool:
    """Whether `explain` speaks of an unknown key."""
    return any(e["type"] == "extra_forbidden" for e in error.errors())
