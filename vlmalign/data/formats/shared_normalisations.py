"""Normalisations that several formats share, made for their field names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vlmalign.data.formats.placeholders import IMAGE, spaced
from vlmalign.data.formats.row import Normalisation, Row


def image_places(field: str) -> Normalisation:
    """Images of a field, one or a list, go where we store them; their old names may hold identifiers."""

    def apply(row: Row, place: Callable[[Any], Any]) -> Row:
        if row.get(field) is None:
            return row
        value = row[field]
        return {**row, field: [place(one) for one in value] if isinstance(value, list) else place(value)}

    return Normalisation("image_places", f"`{field}`: images are stored under the SHA-256 of their bytes", apply)


def one_is_no_list(field: str) -> Normalisation:
    """A list of one becomes its element, an empty one is left out."""

    def apply(row: Row, place: Callable[[Any], Any]) -> Row:
        value = row.get(field)
        if not isinstance(value, list) or len(value) > 1:
            return row
        return {name: item for name, item in row.items() if name != field} | ({field: value[0]} if value else {})

    return Normalisation(
        "one_image", f"`{field}`: a list of one image becomes the image, an empty one none", apply
    )


def always_a_list(field: str) -> Normalisation:
    """One image becomes a list of one; an empty list is left out."""

    def apply(row: Row, place: Callable[[Any], Any]) -> Row:
        value = row.get(field)
        if isinstance(value, list):
            return row if value else {name: item for name, item in row.items() if name != field}
        return row if value is None else {**row, field: [value]}

    return Normalisation("image_list", f"`{field}`: one image becomes a list of one, an empty list none", apply)


def line_breaks(field: str, key: str) -> Normalisation:
    """Texts of a list of turns get one line break after a placeholder."""

    def apply(row: Row, place: Callable[[Any], Any]) -> Row:
        return {**row, field: [{**turn, key: spaced(turn[key])} for turn in row[field]]}

    about = f"`{field}`: exactly one line break stands between {IMAGE} and the text after it"
    return Normalisation("line_breaks", about, apply)


def only(field: str, keys: Sequence[str]) -> Normalisation:
    """Turns keep their role and their text."""

    def apply(row: Row, place: Callable[[Any], Any]) -> Row:
        if field not in row:
            return row
        value = row[field]
        bare = [{key: turn[key] for key in keys} for turn in (value if isinstance(value, list) else [value])]
        return {**row, field: bare if isinstance(value, list) else bare[0]}

    return Normalisation("bare_turns", f"`{field}`: turns keep only {' and '.join(keys)}", apply)


def without_placeholders(text: str) -> str:
    r"""A question without the placeholders that stand before it.

    Example:
        >>> without_placeholders("<image>\nWhat is seen?")
        'What is seen?'
    """
    while text.startswith(IMAGE):
        text = text.removeprefix(IMAGE).removeprefix("\n")
    return text


def no_placeholders(field: str) -> Normalisation:
    """A question that has placeholders before it loses them: the format has none."""

    def apply(row: Row, place: Callable[[Any], Any]) -> Row:
        return {**row, field: without_placeholders(row[field])}

    return Normalisation("no_placeholders", f"`{field}`: {IMAGE} before the text is left out", apply)
