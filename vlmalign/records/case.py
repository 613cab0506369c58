"""A case: images, a prompt about them, and what is known to be true."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from vlmalign.records.base import Part, Record
from vlmalign.records.finding import Finding
from vlmalign.records.image import ImageRef

Split = Literal["train", "validation", "test", "unassigned"]


class _ChatPart(Part):
    @model_serializer(mode="wrap")
    def _always_name_the_type(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"type": self.type, **handler(self)}  # type: ignore[attr-defined]  # chat templates ask for it


class TextPart(_ChatPart):
    """A piece of text in a chat message."""

    type: Literal["text"] = "text"
    text: str


class ImagePart(_ChatPart):
    """The place of the next image of the record, in order."""

    type: Literal["image"] = "image"


class Message(Part):
    """One chat turn in Hugging Face's parts form.

    Example:
        >>> user("Is a leukocyte present?", images=1).text
        'Is a leukocyte present?'
    """

    role: Literal["system", "user", "assistant"]
    content: tuple[TextPart | ImagePart, ...] = Field(min_length=1)

    @property
    def text(self) -> str:
        """All text of the turn, joined by line breaks."""
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def n_images(self) -> int:
        """How many images the turn holds."""
        return sum(isinstance(part, ImagePart) for part in self.content)


def user(text: str, images: int = 0) -> Message:
    """A user turn with `images` image places before its text."""
    return Message(role="user", content=(ImagePart(),) * images + (TextPart(text=text),))


def assistant(text: str) -> Message:
    """An assistant turn of plain text."""
    return Message(role="assistant", content=(TextPart(text=text),))


class Reference(Part):
    """What is known to be true of a case: a text, findings, or both."""

    text: str | None = None
    findings: tuple[Finding, ...] = ()


class Attributes(Part):
    """Who and where, as far as it may be told; used for subgroups only."""

    sex: str | None = None
    age_band: str | None = None
    site: str | None = None


class Case(Record):
    """One prompt about one or more images.

    Example:
        >>> image = ImageRef(path="images/x.png", sha256="0" * 64)
        >>> case = Case(id="c1", images=(image,), messages=(user("Describe the field.", images=1),),
        ...             domain="peripheral_smear", group_id="9f0c", group_kind="slide")
        >>> case.reference is None
        True
    """

    images: tuple[ImageRef, ...] = Field(min_length=1)
    messages: tuple[Message, ...] = Field(min_length=1, description="the prompt; ends on a user turn")
    reference: Reference | None = Field(None, description="absent means unknown, not empty")
    domain: str = Field(min_length=1, description="name of the clinical logic")
    split: Split = "unassigned"
    group_id: str = Field(min_length=1, description="keyed pseudonym; never a patient identifier")
    group_kind: str = Field(min_length=1, description="patient | photograph | slide | ...")
    attributes: Attributes = Attributes()

    @model_validator(mode="after")
    def _prompt_is_whole(self) -> Case:
        check_prompt(self.messages, len(self.images))
        return self


def check_prompt(messages: tuple[Message, ...], n_images: int) -> None:
    """Raise ValueError unless the prompt ends on a user turn and has one place for every image."""
    if messages[-1].role != "user":
        raise ValueError(f"the prompt ends on a {messages[-1].role!r} turn; it must end on a 'user' turn")
    places = sum(message.n_images for message in messages)
    if places != n_images:
        raise ValueError(f"the prompt has {places} image places but the record has {n_images} images")
