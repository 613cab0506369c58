"""LLaVA-RLHF's comparisons: a LLaVA conversation that ends on a question, two outputs, `preference` 1 or 2.

`preference` is the number of the better output: 1 is `output_1`, 2 is `output_2`, and 0 is a tie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlmalign.data.formats.llava import TAGS, conversation, images_of, one_or_list
from vlmalign.data.formats.placeholders import count, plain_answer, turns_of
from vlmalign.data.formats.row import NULLS, Format, LeftOut, Normalisation, Read, Row, Spot, rest_of
from vlmalign.data.formats.shared_normalisations import image_places, line_breaks, one_is_no_list, only
from vlmalign.records import Message

OUTPUTS = ("output_1", "output_2")
USED = ("id", "image", "conversations", *OUTPUTS, "preference")


def read(row: Row, spot: Spot) -> Read | LeftOut:
    """A comparison; the output that is not better keeps its number in `rest`."""
    images = images_of(row, spot)
    turns = turns_of(row.get("conversations"), spot, "conversations", TAGS, "from", "value")
    if turns[-1].role != "user":
        raise spot.error("conversations", "the conversation does not end on a turn of 'human'")
    count(turns, len(images), spot, "conversations")
    outputs = [_output(row, name, spot) for name in OUTPUTS]
    better = spot.get(row, "preference", int)
    if better == 0:
        return LeftOut("tie")
    if better not in (1, 2):
        raise spot.error(
            "preference", f"got {better}; expected the number of the better output, 1 or 2, or 0: a tie"
        )
    rest = rest_of(row, USED) | ({"preference": 2} if better == 2 else {})
    fields = {"prompt": tuple(turns), "chosen": (outputs[better - 1],), "rejected": (outputs[2 - better],)}
    return Read(fields, images, rest, row.get("id"))


def _output(row: Row, name: str, spot: Spot) -> Message:
    value = spot.get(row, name, (dict, str))
    turn = {"from": "gpt", "value": value} if isinstance(value, str) else value
    (answer,) = turns_of([turn], spot, name, {"gpt": "assistant"}, "from", "value")
    if answer.n_images:
        raise spot.error(name, "an answer holds <image>")
    return answer


def write(record: Any, images: list[Any], rest: Row) -> Row:
    """A pair as a comparison; the better answer is output 1, unless it came as output 2."""
    answers = [
        {"from": "gpt", "value": plain_answer(getattr(record, side), side, placeholders=True)}
        for side in ("chosen", "rejected")
    ]
    better = rest.get("preference", 1)
    outputs = answers if better == 1 else answers[::-1]
    kept = {name: value for name, value in rest.items() if name not in ("id", "preference")}
    return {
        **FORMAT.own_id(record, rest),
        **one_or_list(images),
        "conversations": conversation(record.prompt, "prompt"),
        **dict(zip(OUTPUTS, outputs, strict=True)),
        "preference": better,
        **kept,
    }


def _turned(row: Row, place: Callable[[Any], Any]) -> Row:
    texts = {name: row[name] for name in OUTPUTS if isinstance(row[name], str)}
    return {**row, **{name: {"from": "gpt", "value": text} for name, text in texts.items()}}


FORMAT = Format(
    name="llava-rlhf",
    about="LLaVA-RLHF's comparisons (output_1, output_2, preference)",
    kind="preference",
    container="json",
    read=read,
    write=write,
    holds=frozenset({"id"}),
    id_field="id",
    normalisations=(
        NULLS,
        one_is_no_list("image"),
        image_places("image"),
        Normalisation("outputs", "an output that is a text becomes a turn of 'gpt'", _turned),
        only("conversations", ("from", "value")),
        only("output_1", ("from", "value")),
        only("output_2", ("from", "value")),
        line_breaks("conversations", "value"),
    ),
)
