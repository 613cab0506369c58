"""What an HTTP model server may answer, and how its answer is checked before a word of it is believed."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import Field, ValidationError, model_validator

from experts.protocol import Examination, Measured, Presence
from vlmalign.records.base import Part


class BadReply(ValueError):
    """A server's reply breaks the agreement; the message says which part."""


class SaidFinding(Part):
    """What the server says of one concept: a presence, a measurement, or that it could not assess it."""

    concept: str
    probability: float | None = Field(None, ge=0, le=1, description="of presence")
    value: float | None = Field(None, description="a measurement")
    std: float | None = Field(None, ge=0, description="of the value, or else of the probability")
    unit: Literal["1", "mm", "mm2", "px", "px2", "um", "%"] = "1"
    label: int | None = Field(None, ge=1, le=255, description="where it lies in the mask")
    not_assessed: str | None = Field(None, min_length=1, max_length=300, description="why not")

    @model_validator(mode="after")
    def _says_one_thing(self) -> SaidFinding:
        if self.not_assessed is not None:
            if self.value is not None or self.probability is not None:
                raise ValueError(f"{self.concept} is not assessed and has a value or a probability")
        elif self.value is None and self.probability is None:
            raise ValueError(f"{self.concept} has no probability, no value and no not_assessed")
        elif self.value is not None and self.std is None:
            raise ValueError(f"{self.concept} has a value without std: a measurement needs its uncertainty")
        return self


class Reply(Part):
    """The JSON body of a server's reply."""

    findings: tuple[SaidFinding, ...]
    mask_png: str | None = Field(None, description="base64 of an 8-bit grey PNG of the image's size")
    version: str | None = Field(None, max_length=100, description="of the server's model")


def read_reply(
    body: bytes,
    size: tuple[int, int],
    concepts: tuple[str, ...],
    *,
    version: str | None = None,
    thresholds: dict[str, float] | None = None,
) -> Examination:
    """Check a reply against the agreement, and turn it into an examination.

    A concept that the card names and the reply does not is not assessed; it is never taken for absent.

    Args:
        body: the reply's bytes.
        size: width and height of the image that was sent.
        concepts: those of the card.
        version: what the server must say it is; None: anything.
        thresholds: by concept, for its probability.

    Raises:
        BadReply: no JSON of the agreed form, a concept that the card does not name or one named twice, another
            version, a mask that is no grey PNG of the image's size, or a label without a mask.

    Example:
        >>> body = b'{"findings": [{"concept": "mass", "probability": 0.9}]}'
        >>> found = read_reply(body, (8, 8), ("mass", "cyst"))
        >>> found.presences["mass"].probability, found.not_assessed
        (0.9, {'cyst': 'the server says nothing of it'})
    """
    try:
        reply = Reply.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise BadReply(f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}") from None
    if version is not None and reply.version != version:
        raise BadReply(f"the server says it is version {reply.version!r}, expected {version!r}")
    names = [said.concept for said in reply.findings]
    for name in names:
        if name not in concepts:
            raise BadReply(f"the concept {name!r} is none of the card's {concepts}")
        if names.count(name) > 1:
            raise BadReply(f"the concept {name!r} comes twice")
    labels = None if reply.mask_png is None else _mask(reply.mask_png, size)
    label_of = {said.concept: said.label for said in reply.findings if said.label is not None}
    if label_of and labels is None:
        raise BadReply(f"{next(iter(label_of))} names a label, and there is no mask")
    measured, presences, missing = {}, {}, {}
    for said in reply.findings:
        if said.not_assessed is not None:
            missing[said.concept] = f"the server: {said.not_assessed}"
        elif said.value is not None:
            measured[said.concept] = Measured(said.value, said.std or 0.0, said.probability, said.unit)
        elif said.probability is not None:
            threshold = (thresholds or {}).get(said.concept)
            presences[said.concept] = Presence(said.probability, said.std or 0.0, threshold)
    missing |= {name: "the server says nothing of it" for name in concepts if name not in names}
    return Examination(measured, labels, label_of, presences, missing)


def _mask(text: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    try:
        data = base64.b64decode(text, validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode != "L" or image.size != size:  # known from the header, before a pixel is decoded
                raise BadReply(
                    f"the mask is {image.mode} of {image.size} pixels, expected L (8-bit grey) of {size}"
                )
            return np.asarray(image)
    except BadReply:
        raise
    except (binascii.Error, UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadReply(f"mask_png is no base64 of a PNG ({type(error).__name__})") from None
