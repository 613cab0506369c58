"""TRL's vision preference rows: `images`, `prompt`, `chosen`, `rejected` in message lists with typed parts.

The columns that `vlmalign data export-trl` adds are known by `image_refs`, and read back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from vlmalign.data.formats.placeholders import with_images
from vlmalign.data.formats.row import NULLS, Format, LeftOut, Normalisation, Read, Row, Spot, Unfit, rest_of
from vlmalign.records import Message
from vlmalign.records.case import ImagePart, TextPart

ROLES = ("system", "user", "assistant")
TEXTS = ("prompt", "chosen", "rejected")
USED = ("images", "image", *TEXTS, "margin", "id")
EXPORTED = ("case_id", "group_id", "split", "source", "weight")  # added by export-trl, beside image_refs


def read(row: Row, spot: Spot) -> Read | LeftOut:
    """A row of TRL's DPOTrainer or RewardTrainer."""
    if "completion" in row and "chosen" not in row:
        raise spot.error("completion", "this is a row for KTO, one answer with a label; a pair has two answers")
    images = _images(row, spot)
    turns = {name: _turns(row, name, spot) for name in TEXTS}
    turns["prompt"] = list(with_images(turns["prompt"], len(images)))
    places = sum(turn.n_images for turn in turns["prompt"])
    if places != len(images):
        rule = f"{places} image parts stand in the prompt, and the row has {len(images)} images"
        raise spot.error("prompt", rule)
    fields: Row = {name: tuple(value) for name, value in turns.items()}
    if row.get("margin") is not None:
        fields["margin"] = float(spot.get(row, "margin", (float, int)))
    used: tuple[str, ...] = USED
    if row.get("image_refs") is not None:
        used += ("image_refs", *EXPORTED)
        fields |= {name: row[name] for name in EXPORTED if row.get(name) is not None}
        fields["image_details"] = [_details(text, spot) for text in row["image_refs"]]
    return Read(fields, images, rest_of(row, used), row.get("id"))


def _images(row: Row, spot: Spot) -> Sequence[Any]:
    if row.get("images") is None:
        return [] if row.get("image") is None else [row["image"]]
    if not isinstance(row["images"], list):
        rule = f"got a {type(row['images']).__name__}; expected a list of images (one image goes in `image`)"
        raise spot.error("images", rule)
    return row["images"]


def _details(text: str, spot: Spot) -> Row:
    try:
        value = json.loads(text)
    except (ValueError, TypeError):
        value = None
    if not isinstance(value, dict):
        raise spot.error("image_refs", f"got {text!r:.60}; expected JSON of an image's details")
    return {key: item for key, item in value.items() if key not in ("path", "sha256")}


def _turns(row: Row, field: str, spot: Spot) -> list[Message]:
    value = spot.get(row, field, (str, list))
    if isinstance(value, str):
        value = [{"role": "user" if field == "prompt" else "assistant", "content": value}]
    if not value:
        raise spot.error(field, "the list of messages is empty")
    turns = []
    for number, turn in enumerate(value):
        place = f"{field}.{number}"
        if not isinstance(turn, dict) or turn.get("role") not in ROLES:
            raise spot.error(f"{place}.role", f"expected a message whose role is one of {', '.join(ROLES)}")
        turns.append(Message(role=turn["role"], content=_parts(turn.get("content"), spot, f"{place}.content")))
    return turns


def _parts(content: Any, spot: Spot, place: str) -> tuple[TextPart | ImagePart, ...]:
    if isinstance(content, str):
        return (TextPart(text=content),)
    if not isinstance(content, list) or not content:
        raise spot.error(place, "expected a text, or a list of parts with at least one")
    parts: list[TextPart | ImagePart] = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == "image":
            parts.append(ImagePart())
        elif isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
            parts.append(TextPart(text=part["text"]))
        else:
            raise spot.error(place, f"the part {part!r:.60} is neither a text nor the place of an image")
    return tuple(parts)


def write(record: Any, images: list[Any], rest: Row) -> Row:
    """A pair as TRL's trainers read it; answers of several turns do not fit."""
    for name in ("chosen", "rejected"):
        if len(getattr(record, name)) != 1:
            turns = len(getattr(record, name))
            raise Unfit(name, f"the answer has {turns} turns; TRL's preference columns hold one assistant message")
    row: Row = {"images": images, **{name: messages(getattr(record, name)) for name in TEXTS}}
    if record.margin is not None:
        row["margin"] = record.margin
    return {**row, **FORMAT.own_id(record, rest), **{k: v for k, v in rest.items() if k != "id"}}


def messages(turns: Sequence[Message]) -> list[Row]:
    """Messages as lists of typed parts, each with a `text` that is null for an image."""
    return [
        {
            "role": turn.role,
            "content": [{"type": part.type, "text": getattr(part, "text", None)} for part in turn.content],
        }
        for turn in turns
    ]


def _listed(row: Row, place: Callable[[Any], Any]) -> Row:
    row = dict(row)
    single = row.pop("image", None)
    if row.get("images") is None:
        row["images"] = [] if single is None else [single]
    return row


def _placed(row: Row, place: Callable[[Any], Any]) -> Row:
    return {**row, "images": [place(image) for image in row["images"]]}


def _typed(row: Row, place: Callable[[Any], Any]) -> Row:
    result = dict(row)
    for name in TEXTS:
        value = row[name]
        if isinstance(value, str):
            value = [{"role": "user" if name == "prompt" else "assistant", "content": value}]
        result[name] = [{"role": turn["role"], "content": _as_parts(turn["content"])} for turn in value]
    return result


def _as_parts(content: Any) -> list[Row]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [{"type": part["type"], "text": part.get("text")} for part in content]


def _inserted(row: Row, place: Callable[[Any], Any]) -> Row:
    prompt = [dict(turn) for turn in row["prompt"]]
    if not any(part["type"] == "image" for turn in prompt for part in turn["content"]):
        first = next(turn for turn in prompt if turn["role"] == "user")
        first["content"] = [{"type": "image", "text": None} for _ in row["images"]] + first["content"]
    return {**row, "prompt": prompt}


def _number(row: Row, place: Callable[[Any], Any]) -> Row:
    return {**row, "margin": float(row["margin"])} if "margin" in row else row


FORMAT = Format(
    name="trl",
    about="TRL's vision preference rows (images, prompt, chosen, rejected)",
    kind="preference",
    container="parquet",
    read=read,
    write=write,
    holds=frozenset({"id", "margin"}),
    id_field="id",
    image_fields=("images",),
    normalisations=(
        NULLS,
        Normalisation("one_image", "`image` becomes a list of one, `images`", _listed),
        Normalisation("image_places", "images are stored under the SHA-256 of their bytes", _placed),
        Normalisation("typed_parts", "a text becomes a message, and its content a list of typed parts", _typed),
        Normalisation(
            "images_inserted", "where a prompt places no image, all stand before its first user turn", _inserted
        ),
        Normalisation("number", "`margin` becomes a floating point number", _number),
    ),
)
