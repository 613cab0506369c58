"""MM-RLHF's `dpo_pairs.jsonl`: `image`, `prompt`, `chosen`, `rejected`, with reasons and a weight.

`is_tie` marks a pair that is none, and `mixed_up_image` one whose rejected answer saw another picture: both are
left out, counted and listed. Log-probabilities that were cached for another model are kept as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlmalign.data.formats.llava import images_of, one_or_list
from vlmalign.data.formats.plain_pairs import answers_of, prompt_of, texts_of
from vlmalign.data.formats.row import NULLS, Format, LeftOut, Normalisation, Read, Row, Spot, rest_of
from vlmalign.data.formats.shared_normalisations import image_places, no_placeholders, one_is_no_list

REASONS = {"chosen_reason": "chosen_critique", "rejected_reason": "rejected_critique"}
USED = ("image", "prompt", "chosen", "rejected", "ls_factor", "is_tie", "mixed_up_image", *REASONS)


def read(row: Row, spot: Spot) -> Read | LeftOut:
    """A pair of texts; a video, a tie and a pair of two pictures are states of their own."""
    if row.get("video") is not None:
        return LeftOut("video")
    for name, reason in (("is_tie", "tie"), ("mixed_up_image", "mixed_up_image")):
        if row.get(name) not in (None, False, True, 0, 1):
            raise spot.error(name, f"got {row[name]!r}; expected true or false")
        if row.get(name):
            return LeftOut(reason)
    images = images_of(row, spot)
    fields: Row = {
        "prompt": prompt_of(spot.get(row, "prompt"), len(images), spot, "prompt"),
        **answers_of(row, spot),
    }
    for theirs, ours in REASONS.items():
        if row.get(theirs) is not None:
            fields[ours] = spot.get(row, theirs)
    if row.get("ls_factor") is not None:
        fields["weight"] = float(spot.get(row, "ls_factor", (float, int)))
    return Read(fields, images, rest_of(row, USED))


def write(record: Any, images: list[Any], rest: Row) -> Row:
    """A pair of texts; a weight of 1 is left out."""
    question, chosen, rejected = texts_of(record, images, at_most=None)
    row: Row = {**one_or_list(images), "prompt": question, "chosen": chosen, "rejected": rejected}
    row |= {theirs: value for theirs, ours in REASONS.items() if (value := getattr(record, ours)) is not None}
    if record.weight != 1:
        row["ls_factor"] = record.weight
    return {**row, **rest}


def _without_states(row: Row, place: Callable[[Any], Any]) -> Row:
    result = {name: value for name, value in row.items() if name not in ("is_tie", "mixed_up_image")}
    weight = result.pop("ls_factor", 1)
    return result if float(weight) == 1 else {**result, "ls_factor": float(weight)}


FORMAT = Format(
    name="mm-rlhf",
    about="MM-RLHF's dpo_pairs.jsonl (image, prompt, chosen, rejected, reasons)",
    kind="preference",
    container="jsonl",
    read=read,
    write=write,
    holds=frozenset({"weight", *REASONS.values()}),
    normalisations=(
        NULLS,
        one_is_no_list("image"),
        image_places("image"),
        Normalisation(
            "states", "`is_tie`, `mixed_up_image` that are false and `ls_factor` 1 are left out", _without_states
        ),
        no_placeholders("prompt"),
    ),
)
