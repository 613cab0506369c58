"""LLaVA's supervised rows: `id`, `image`, `conversations` of `{from: human|gpt, value}`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlmalign.data.formats.placeholders import count, text_of, turns_of
from vlmalign.data.formats.row import NULLS, Format, LeftOut, Read, Row, Spot, Unfit, rest_of
from vlmalign.data.formats.shared_normalisations import image_places, line_breaks, one_is_no_list, only
from vlmalign.records import Message

TAGS = {"system": "system", "human": "user", "gpt": "assistant"}
NAMES = {ours: theirs for theirs, ours in TAGS.items()}


def images_of(row: Row, spot: Spot, field: str = "image") -> Sequence[Any]:
    """One image, a list of them, or none."""
    value = row.get(field)
    if value is None:
        return []
    if isinstance(value, list):
        return value
    if not isinstance(value, (str, dict, bytes)):
        raise spot.error(field, f"got a {type(value).__name__}; expected one image or a list of them")
    return [value]


def one_or_list(images: list[Any]) -> Row:
    """The `image` field: one as it is, several as a list."""
    return {"image": images[0] if len(images) == 1 else images} if images else {}


def conversation(turns: Sequence[Message], field: str) -> list[Row]:
    """Turns as `{from, value}`."""
    return [{"from": NAMES[turn.role], "value": text_of(turn, field)} for turn in turns]


def read(row: Row, spot: Spot) -> Read | LeftOut:
    """A supervised conversation: all until the first answer is the prompt."""
    if row.get("video") is not None:
        return LeftOut("video")
    images = images_of(row, spot)
    turns = turns_of(row.get("conversations"), spot, "conversations", TAGS, "from", "value")
    first = next((k for k, turn in enumerate(turns) if turn.role == "assistant"), None)
    if first is None or turns[-1].role != "assistant":
        raise spot.error("conversations", "the conversation does not end on an answer of 'gpt'")
    if first == 0 or turns[first - 1].role != "user":
        raise spot.error("conversations", "no turn of 'human' stands before the first answer")
    if late := sum(turn.n_images for turn in turns[first:]):
        rule = f"{late} placeholders stand after the first answer; our records show all images in the prompt"
        raise spot.error("conversations", rule)
    count(turns, len(images), spot, "conversations")
    fields = {"prompt": tuple(turns[:first]), "response": tuple(turns[first:])}
    return Read(fields, images, rest_of(row, ("id", "image", "conversations")), row.get("id"))


def write(record: Any, images: list[Any], rest: Row) -> Row:
    """A demonstration as a conversation."""
    if record.response[0].n_images:
        raise Unfit("response", "an answer holds an image")
    turns = conversation((*record.prompt, *record.response), "response")
    kept = {name: value for name, value in rest.items() if name != "id"}
    return {**FORMAT.own_id(record, rest), **one_or_list(images), "conversations": turns, **kept}


FORMAT = Format(
    name="llava",
    about="LLaVA's supervised conversations",
    kind="demonstration",
    container="json",
    read=read,
    write=write,
    holds=frozenset({"id"}),
    id_field="id",
    normalisations=(
        NULLS,
        one_is_no_list("image"),
        image_places("image"),
        only("conversations", ("from", "value")),
        line_breaks("conversations", "value"),
    ),
)
