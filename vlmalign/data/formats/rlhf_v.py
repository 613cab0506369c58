"""RLHF-V's rows: `image` and `text`, which is JSON of `question`, `chosen` and `rejected`; `idx` is a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from vlmalign.data.formats.plain_pairs import answers_of, prompt_of, texts_of
from vlmalign.data.formats.row import NULLS, Format, LeftOut, Normalisation, Read, Row, Spot, rest_of
from vlmalign.data.formats.shared_normalisations import image_places, without_placeholders

TEXTS = ("question", "chosen", "rejected")


def read(row: Row, spot: Spot) -> Read | LeftOut:
    """A pair; `text` may be a mapping or its JSON."""
    image = spot.get(row, "image", (dict, str, bytes))
    text = spot.get(row, "text", (dict, str))
    if isinstance(text, str):
        try:
            text = json.loads(text)
        except ValueError as error:
            raise spot.error("text", f"not valid JSON ({error})") from None
        if not isinstance(text, dict):
            raise spot.error("text", f"expected JSON of a mapping with {', '.join(TEXTS)}")
    if not isinstance(text.get("question"), str):
        raise spot.error("text.question", "the text is missing")
    prompt = prompt_of(text["question"], 1, spot, "text.question")
    rest = rest_of(row, ("idx", "image", "text"))
    if further := rest_of(text, TEXTS):
        rest["text"] = further
    return Read({"prompt": prompt, **answers_of(text, spot, "text.")}, [image], rest, row.get("idx"))


def write(record: Any, images: list[Any], rest: Row) -> Row:
    """A pair of one question about one image."""
    texts = dict(zip(TEXTS, texts_of(record, images), strict=True)) | rest.get("text", {})
    kept = {name: value for name, value in rest.items() if name not in ("idx", "text")}
    return {"image": images[0], "text": _json(texts), **FORMAT.own_id(record, rest), **kept}


def _json(text: Row) -> str:
    return json.dumps(text, ensure_ascii=False, sort_keys=True)


def _as_json(row: Row, place: Callable[[Any], Any]) -> Row:
    text = row["text"]
    text = json.loads(text) if isinstance(text, str) else text
    text = {name: value for name, value in text.items() if value is not None}
    return {**row, "text": _json({**text, "question": without_placeholders(text["question"])})}


FORMAT = Format(
    name="rlhf-v",
    about="RLHF-V's pairs (image, text with question, chosen, rejected)",
    kind="preference",
    container="parquet",
    read=read,
    write=write,
    holds=frozenset({"id"}),
    id_field="idx",
    image_fields=("image",),
    normalisations=(
        NULLS,
        image_places("image"),
        Normalisation("text", "`text` is JSON with sorted keys, and its question without <image>", _as_json),
    ),
)
