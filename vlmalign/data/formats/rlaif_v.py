"""RLAIF-V's rows: `image`, a plain `question` without placeholder, `chosen`, `rejected`, `idx`."""

from __future__ import annotations

from typing import Any

from vlmalign.data.formats.plain_pairs import answers_of, prompt_of, texts_of
from vlmalign.data.formats.row import NULLS, Format, LeftOut, Read, Row, Spot, rest_of
from vlmalign.data.formats.shared_normalisations import image_places, no_placeholders
from vlmalign.records import Message

USED = ("idx", "image", "question", "chosen", "rejected")


def read(row: Row, spot: Spot) -> Read | LeftOut:
    """A pair; the image part is put before the question."""
    image = spot.get(row, "image", (dict, str, bytes))
    question = spot.get(row, "question")
    prompt: tuple[Message, ...] = prompt_of(question, 1, spot, "question")
    return Read({"prompt": prompt, **answers_of(row, spot)}, [image], rest_of(row, USED), row.get("idx"))


def write(record: Any, images: list[Any], rest: Row) -> Row:
    """A pair of one question about one image."""
    question, chosen, rejected = texts_of(record, images)
    row = {"image": images[0], "question": question, "chosen": chosen, "rejected": rejected}
    return {**row, **FORMAT.own_id(record, rest), **{k: v for k, v in rest.items() if k != "idx"}}


FORMAT = Format(
    name="rlaif-v",
    about="RLAIF-V's pairs (image, question, chosen, rejected)",
    kind="preference",
    container="parquet",
    read=read,
    write=write,
    holds=frozenset({"id"}),
    id_field="idx",
    image_fields=("image",),
    normalisations=(NULLS, image_places("image"), no_placeholders("question")),
)
