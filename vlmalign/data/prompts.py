"""Chat messages and images -> what the model reads as the prompt; every image must reach the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from vlmalign.records import DataError, Message

Prompt = dict[str, Tensor]


def prompt_text(processor: Any, messages: Sequence[Message], *, opened: bool = True) -> str:
    """Render messages with the processor's chat template.

    Args:
        processor: of the model.
        messages: the turns.
        opened: end on the marker that opens the assistant's turn.

    Raises:
        ValueError: the processor has no chat template.
    """
    if not processor.chat_template:
        raise ValueError(
            f"{type(processor).__name__} has no chat template. Set processor.chat_template and save the processor."
        )
    turns = [{"role": m.role, "content": [part.model_dump() for part in m.content]} for m in messages]
    return processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=opened)


def encode_prompt(
    processor: Any, messages: Sequence[Message], images: Sequence[Image.Image], *, record: str | None = None
) -> Prompt:
    """The processor's output for one prompt, up to where the assistant begins to speak.

    Args:
        processor: of the model.
        messages: the prompt; ends on a user turn.
        images: its images, in the order of their places; may be empty.
        record: id, for errors.

    Returns:
        Token entries of shape (1, P) and whatever else the model takes.

    Raises:
        DataError: images that do not fit the places, or that do not reach the model; a prompt that the processor
            refuses.
    """
    text = prompt_text(processor, messages)
    check_places(processor, messages, len(images), text, record=record)
    try:
        output = processor(
            text=[text],
            images=[[image.convert("RGB") for image in images]] if images else None,
            return_tensors="pt",
            add_special_tokens=_adds_special_tokens(processor, text),
            truncation=False,
            padding=False,
        )
    except ValueError as error:
        raise DataError(
            f"{type(processor).__name__} refuses the prompt with {len(images)} images ({_first_line(error)})",
            "Leave the record out, or use a model of another family (`vlmalign models`).",
            record=record,
        ) from error
    prompt = {name: value for name, value in output.items() if name != "labels"}
    tokens = prompt["input_ids"]
    if images and all(is_token_entry(name, value, tokens) for name, value in prompt.items()):
        raise DataError(
            f"{type(processor).__name__} made only {sorted(prompt)} of a prompt with {len(images)} images: "
            "they would not reach the model",
            "Give the processor an image processor, or use that of the model.",
            record=record,
        )
    return prompt


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


def is_token_entry(name: str, value: Tensor, tokens: Tensor) -> bool:
    """Whether an entry of a processor's output runs along the tokens (and is padded like them)."""
    return value.shape == tokens.shape and not name.startswith(("pixel", "image"))


def check_places(
    processor: Any, messages: Sequence[Message], images: int, text: str, *, record: str | None = None
) -> None:
    """Refuse a prompt unless it has one place, and its text one placeholder, for every image.

    Args:
        processor: of the model.
        messages: the prompt.
        images: how many there are.
        text: what the chat template made of the messages.
        record: id, for errors.

    Raises:
        DataError: see above.
    """
    places = sum(message.n_images for message in messages)
    if places != images:
        raise DataError(
            f"the prompt has {places} image places for {images} images",
            "Give each image one image part in the messages.",
            record=record,
        )
    placeholder = getattr(processor, "image_token", None)
    if not isinstance(placeholder, str):
        return
    spelled = sum(message.text.count(placeholder) for message in messages)
    if spelled:
        raise DataError(
            f"the prompt's text spells the image placeholder {placeholder!r}",
            "Remove it from the text; an image part marks an image's place.",
            record=record,
        )
    rendered = text.count(placeholder)
    if rendered != images:
        raise DataError(
            f"the chat template renders {rendered} placeholders {placeholder!r} for {images} images",
            f"Use a chat template that renders each image part as {placeholder!r}.",
            record=record,
        )


def text_tokens(processor: Any, text: str) -> list[int]:
    """Tokens of a rendered text, uncut; its image placeholders are not expanded."""
    special = _adds_special_tokens(processor, text)
    return processor.tokenizer(text, add_special_tokens=special, truncation=False, padding=False)["input_ids"]


def token_spans(processor: Any, text: str) -> list[tuple[int, int, int]]:
    """Tokens of a rendered text as in `text_tokens`, each with its first character and the one after its last.

    Raises:
        ValueError: a tokenizer that does not tell places.
    """
    if not processor.tokenizer.is_fast:
        raise ValueError(
            f"{type(processor.tokenizer).__name__} does not tell which characters a token stands for: save the "
            "model with a fast tokenizer (tokenizer.json), or use another model."
        )
    special = _adds_special_tokens(processor, text)
    found = processor.tokenizer(
        text, add_special_tokens=special, truncation=False, padding=False, return_offsets_mapping=True
    )
    return [(token, *span) for token, span in zip(found["input_ids"], found["offset_mapping"], strict=True)]


def _adds_special_tokens(processor: Any, text: str) -> bool:
    start = processor.tokenizer.bos_token
    return not (start and text.startswith(start))


def image_tokens(processor: Any) -> frozenset[int]:
    """Ids that stand for images, as far as the processor names them."""
    several = getattr(processor, "image_token_ids", None) or ()
    ids = {*several, getattr(processor, "image_token_id", None)}
    return frozenset(token for token in ids if isinstance(token, int))
