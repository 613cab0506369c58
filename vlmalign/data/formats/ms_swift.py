"""ms-swift's preference rows: `messages` that end on the chosen answer, and the rejected one beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlmalign.data.formats.llava import images_of
from vlmalign.data.formats.placeholders import count, plain_answer, text_of, turns_of
from vlmalign.data.formats.row import NULLS, Format, LeftOut, Normalisation, Read, Row, Spot, rest_of
from vlmalign.data.formats.shared_normalisations import always_a_list, image_places, line_breaks, only
from vlmalign.records import Message

TAGS = {"system": "system", "user": "user", "assistant": "assistant"}
USED = ("messages", "images", "rejected_response", "rejected_messages", "rejected_images", "margin")


def read(row: Row, spot: Spot) -> Read | LeftOut:
    """A row for DPO or a reward model."""
    if row.get("label") is not None and not any(row.get(name) for name in USED[2:5]):
        raise spot.error("label", "this is a row for KTO, one answer with a label; a pair has two answers")
    for name in ("videos", "audios"):
        if row.get(name):
            return LeftOut(name.removesuffix("s"))
    images = images_of(row, spot, "images")
    turns = _turns(row.get("messages"), spot, "messages")
    if turns[-1].role != "assistant" or len(turns) < 2:
        raise spot.error("messages", "the messages do not end on an answer of 'assistant' to a question")
    prompt, chosen = turns[:-1], turns[-1]
    count(prompt, len(images), spot, "messages")
    if row.get("rejected_images") is not None and row["rejected_images"] != row.get("images"):
        return LeftOut("other_rejected_images")
    fields: Row = {"prompt": tuple(prompt), "chosen": (chosen,), "rejected": _rejected(row, prompt, spot)}
    if row.get("margin") is not None:
        fields["margin"] = float(spot.get(row, "margin", (float, int)))
    return Read(fields, images, rest_of(row, USED))


def _turns(value: Any, spot: Spot, field: str) -> list[Message]:
    return turns_of(value, spot, field, TAGS, "role", "content")


def _rejected(row: Row, prompt: list[Message], spot: Spot) -> tuple[Message, ...]:
    named = [name for name in ("rejected_response", "rejected_messages") if row.get(name) is not None]
    if len(named) != 1:
        rule = f"{' and '.join(named) or 'no rejected answer'} given; expected one of the two ways to say it"
        raise spot.error("rejected_response", rule)
    value = row[named[0]]
    if isinstance(value, str):
        turns = _turns([{"role": "assistant", "content": value}], spot, named[0])
    else:
        turns = _turns(value, spot, named[0])
    if named[0] == "rejected_messages":
        if turns[:-1] != prompt:
            raise spot.error(named[0], "the rejected messages answer another prompt than `messages`")
        turns = turns[-1:]
    if len(turns) != 1 or turns[0].role != "assistant":
        raise spot.error(named[0], "expected one answer of 'assistant'")
    return tuple(turns)


def write(record: Any, images: list[Any], rest: Row) -> Row:
    """A pair with `rejected_response`."""
    chosen = plain_answer(record.chosen, "chosen", placeholders=True)
    row: Row = {
        "messages": [
            *({"role": turn.role, "content": text_of(turn)} for turn in record.prompt),
            {"role": "assistant", "content": chosen},
        ],
        "rejected_response": plain_answer(record.rejected, "rejected", placeholders=True),
    }
    if images:
        row["images"] = images
    if record.margin is not None:
        row["margin"] = record.margin
    return {**row, **rest}


def _one_rejected(row: Row, place: Callable[[Any], Any]) -> Row:
    result = {name: value for name, value in row.items() if name not in ("rejected_messages", "rejected_images")}
    said = row.get("rejected_response", row.get("rejected_messages"))
    return {**result, "rejected_response": said if isinstance(said, str) else said[-1]["content"]}  # type: ignore[index]


def _number(row: Row, place: Callable[[Any], Any]) -> Row:
    return {**row, "margin": float(row["margin"])} if "margin" in row else row


FORMAT = Format(
    name="ms-swift",
    about="ms-swift's preference rows (messages, rejected_response)",
    kind="preference",
    container="jsonl",
    read=read,
    write=write,
    holds=frozenset({"margin"}),
    normalisations=(
        NULLS,
        always_a_list("images"),
        image_places("images"),
        only("messages", ("role", "content")),
        line_breaks("messages", "content"),
        Normalisation(
            "rejected_response",
            "the rejected answer is a text in `rejected_response`; `rejected_images` that are `images` are left "
            "out",
            _one_rejected,
        ),
        Normalisation("number", "`margin` becomes a floating point number", _number),
    ),
)
