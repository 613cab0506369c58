"""Reading and writing of formats whose question and answers are plain texts, without image placeholders."""

from __future__ import annotations

from typing import Any

from vlmalign.data.formats.placeholders import IMAGE, message, plain_answer, plain_question, with_images
from vlmalign.data.formats.row import Row, Spot, Unfit
from vlmalign.records import Message, assistant


def prompt_of(question: str, n_images: int, spot: Spot, field: str) -> tuple[Message, ...]:
    """The question as a user turn, its images before it where the text places none.

    Raises:
        DataError: the text places some, but not all.
    """
    turn = message("user", question) if IMAGE in question else Message(role="user", content=_text(question))
    if turn.n_images not in (0, n_images):
        rule = f"{turn.n_images} {IMAGE} placeholders stand in the text, and the row has {n_images} images"
        raise spot.error(field, rule)
    return with_images([turn], n_images)


def _text(text: str) -> Any:
    return ({"type": "text", "text": text},)


def answers_of(row: Row, spot: Spot, where: str = "") -> Row:
    """`chosen` and `rejected` as assistant turns."""
    fields = {}
    for name in ("chosen", "rejected"):
        if not isinstance(row.get(name), str):
            raise spot.error(
                f"{where}{name}", "the text is missing" if row.get(name) is None else "expected a text"
            )
        fields[name] = (assistant(row[name]),)
    return fields


def texts_of(record: Any, images: list[Any], *, at_most: int | None = 1) -> tuple[str, str, str]:
    """Question, chosen and rejected answer of a pair.

    Args:
        record: the pair.
        images: its images.
        at_most: how many of them the format holds, and at least one; None: any number.

    Raises:
        Unfit: the pair has more turns, parts or images than the format holds.
    """
    if at_most is not None and not 1 <= len(images) <= at_most:
        raise Unfit("images", f"the record has {len(images)} images; the format holds one")
    question = plain_question(record.prompt)
    if IMAGE in question:
        raise Unfit("prompt", f"the question holds {IMAGE!r} literally")
    return question, plain_answer(record.chosen, "chosen"), plain_answer(record.rejected, "rejected")
