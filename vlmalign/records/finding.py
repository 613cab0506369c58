"""What an expert (a model, a mask, a person) says of one concept in one image."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vlmalign.records.base import Part, Record
from vlmalign.records.image import ImageRef, RelativePath

Status = Literal["present", "absent", "uncertain", "not_assessed"]


class Region(Part):
    """Where a finding lies: boxes in pixels, or a mask file."""

    boxes: tuple[tuple[float, float, float, float], ...] = Field(
        (), description="(x0, y0, x1, y1) in pixels of the image, x1 > x0 and y1 > y0"
    )
    mask: RelativePath | None = Field(None, description="label image (PNG), same size as the image")
    label: int | None = Field(None, ge=1, description="value of this concept in the mask")

    @model_validator(mode="after")
    def _boxes_have_area(self) -> Region:
        for box in self.boxes:
            if not (box[0] < box[2] and box[1] < box[3]):
                raise ValueError(f"box {box} has no area: x0 < x1 and y0 < y1 are required")
        return self


class Finding(Record):
    """One concept in one image, with how sure its expert is.

    A concept may be a category (`focus` = "blurred"), a presence (`leukocyte`) or a measurement
    (`red_cell_cover` = 0.31). Status `not_assessed` means that nobody looked: it is never read as absent.

    Example:
        >>> image = ImageRef(path="images/x.png", sha256="0" * 64)
        >>> Finding(id="f1", image=image, concept="leukocyte", status="present",
        ...         probability=0.97, expert="cells@1").status
        'present'
    """

    image: ImageRef
    concept: str = Field(min_length=1)
    status: Status
    value: float | str | None = Field(None, description="a measurement, or the name of a category")
    unit: str | None = Field(None, description="UCUM-like unit of a measurement, e.g. 1, mm, um")
    region: Region | None = None
    probability: float | None = Field(None, ge=0, le=1, description="that the concept is present")
    std: float | None = Field(None, ge=0, description="standard deviation of a measured value")
    expert: str = Field(min_length=1, description="expert id and version, e.g. smear_unet@3f2a91")
    case_id: str | None = Field(None, description="the case this image belongs to")

    @model_validator(mode="after")
    def _status_agrees_with_value(self) -> Finding:
        if self.status == "not_assessed" and self.value is not None:
            raise ValueError(
                f"status is 'not_assessed' but value is {self.value!r}: "
                "a concept that nobody assessed has no value"
            )
        return self
