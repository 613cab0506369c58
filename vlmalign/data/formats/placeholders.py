"""Texts in which `<image>` stands for a picture, and messages of typed parts: one into the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmalign.data.formats.row import Spot, Unfit
from vlmalign.records import Message
from vlmalign.records.case import ImagePart, TextPart

IMAGE = "<image>"


def message(role: Any, text: str) -> Message:
    r"""A turn from a text with placeholders. The line break after a placeholder is part of it.

    Example:
        >>> [part.type for part in message("user", "<image>\nWhat is seen?").content]
        ['image', 'text']
    """
    parts: list[TextPart | ImagePart] = []
    for number, piece in enumerate(text.split(IMAGE)):
        if number:
            parts.append(ImagePart())
            piece = piece.removeprefix("\n")
        if piece:
            parts.append(TextPart(text=piece))
    return Message(role=role, content=tuple(parts) or (TextPart(text=""),))


def text_of(turn: Message, field: str = "prompt") -> str:
    r"""A turn as a text with placeholders.

    Raises:
        Unfit: a text holds the placeholder itself.

    Example:
        >>> text_of(message("user", "<image>What is seen?"))
        '<image>\nWhat is seen?'
    """
    result = ""
    for number, part in enumerate(turn.content):
        if isinstance(part, ImagePart):
            result += IMAGE
            continue
        if IMAGE in part.text:
            raise Unfit(field, f"a text holds {IMAGE!r} literally, which the format takes for a picture")
        result += "\n" * bool(number) + part.text
    return result


def spaced(text: str) -> str:
    r"""A text with exactly one line break between a placeholder and the text after it.

    Example:
        >>> spaced("<image>What?"), spaced("<image><image>\nWhat?"), spaced("What? <image>")
        ('<image>\nWhat?', '<image><image>\nWhat?', 'What? <image>')
    """
    pieces = text.split(IMAGE)
    first, rest = pieces[0], [piece.removeprefix("\n") for piece in pieces[1:]]
    return first + "".join(IMAGE + ("\n" + piece if piece else "") for piece in rest)


def count(turns: Sequence[Message], n_images: int, spot: Spot, field: str) -> None:
    """Refuse a prompt that has another number of placeholders than the row has images."""
    places = sum(turn.n_images for turn in turns)
    if places != n_images:
        raise spot.error(
            field, f"{places} {IMAGE} placeholders stand in the text, and the row has {n_images} images"
        )


def with_images(turns: Sequence[Message], n_images: int) -> tuple[Message, ...]:
    """The turns with image places before the text of the first user turn, where there are none."""
    if not n_images or any(turn.n_images for turn in turns):
        return tuple(turns)
    result = list(turns)
    for number, turn in enumerate(result):
        if turn.role == "user":
            result[number] = Message(role="user", content=((ImagePart(),) * n_images + turn.content))
            break
    return tuple(result)


def plain_question(prompt: Sequence[Message]) -> str:
    """The text of a prompt that is one question with its images before it.

    Raises:
        Unfit: it is anything else.
    """
    if len(prompt) != 1:
        raise Unfit("prompt", f"the prompt has {len(prompt)} turns; the format holds one question")
    parts = prompt[0].content
    images = prompt[0].n_images
    texts = parts[images:]
    if len(texts) != 1 or not isinstance(texts[0], TextPart):
        raise Unfit("prompt", "the format holds one text after all images; here parts are mixed")
    return texts[0].text


def plain_answer(turns: Sequence[Message], field: str, *, placeholders: bool = False) -> str:
    """The text of an answer that is one assistant turn of one text.

    Args:
        turns: of the answer.
        field: its name, for errors.
        placeholders: whether the format would take `<image>` in the text for a picture.

    Raises:
        Unfit: it is anything else.
    """
    if len(turns) != 1:
        raise Unfit(field, f"the answer has {len(turns)} turns; the format holds one assistant message")
    parts = turns[0].content
    if len(parts) != 1 or not isinstance(parts[0], TextPart):
        raise Unfit(field, "the answer has several parts; the format holds one text")
    return text_of(turns[0], field) if placeholders else parts[0].text


def turns_of(
    value: Any, spot: Spot, field: str, tags: Mapping[str, str], role_tag: str, text_tag: str
) -> list[Message]:
    """Messages from a list of `{role_tag: ..., text_tag: ...}`.

    Args:
        value: the list.
        spot: of its row.
        field: its name, for errors.
        tags: our role by the format's.
        role_tag: key of the role.
        text_tag: key of the text.
    """
    if not isinstance(value, list) or not value:
        raise spot.error(field, "expected a list of turns with at least one")
    result = []
    for number, turn in enumerate(value):
        place = f"{field}.{number}"
        if not isinstance(turn, dict):
            raise spot.error(place, f"expected a mapping with {role_tag!r} and {text_tag!r}")
        role, text = turn.get(role_tag), turn.get(text_tag)
        if not isinstance(role, str) or role not in tags:
            raise spot.error(f"{place}.{role_tag}", f"the role {role!r} is unknown: one of {', '.join(tags)}")
        if not isinstance(text, str):
            raise spot.error(f"{place}.{text_tag}", f"expected a text, got a {type(text).__name__}")
        result.append(message(tags[role], text))
    return result
