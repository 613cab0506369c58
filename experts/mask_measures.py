"""What to measure in an expert's label images, and how sure the measurement is over its members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import ndimage

from experts.geometry import (
    Quantity,
    Spacing,
    Undefined,
    area,
    cardiothoracic_ratio,
    centroid_distance,
    extent,
    fill_holes,
    gap,
    largest_component,
    ratio,
    vertical_cup_disc_ratio,
)
from experts.measurement import EIGHT, Mask
from experts.protocol import Measured, Presence
from experts.uncertainty import summarise_counts, summarise_covers, summarise_quantities
from vlmalign.records.base import Part

OfOne = Literal["presence", "count", "share", "area", "vertical_extent", "horizontal_extent"]
OfTwo = Literal["vertical_cup_disc_ratio", "cardiothoracic_ratio", "area_ratio", "centroid_distance", "gap"]


class MaskMeasure(Part):
    """One concept, and how it is measured.

    Example:
        >>> MaskMeasure(concept="vcdr", kind="vertical_cup_disc_ratio", of="cup", to="disc").to
        'disc'
    """

    concept: str = Field(min_length=1)
    kind: OfOne | OfTwo
    of: str = Field(description="structure; several joined by + count as one, e.g. cup+rim")
    to: str | None = Field(None, description="the other structure: disc, lungs, denominator, or far end")
    min_area: int = Field(1, ge=1, description="parts of fewer pixels are no part of the structure")
    largest: bool = Field(False, description="only the largest part counts")
    fill: bool = Field(False, description="enclosed holes belong to it")
    floor: float = Field(0.0, ge=0, description="root mean square error that the members' spread does not show")

    @model_validator(mode="after")
    def _has_its_structures(self) -> MaskMeasure:
        if (self.kind in get_args(OfTwo)) != (self.to is not None):
            need = "needs a second structure in `to`" if self.to is None else "measures one structure: drop `to`"
            raise ValueError(f"{self.concept}: {self.kind} {need}")
        return self


def check_measures(measures: Sequence[MaskMeasure], structures: Sequence[str]) -> None:
    """Refuse structures that the expert does not draw, and a concept that is measured twice.

    Raises:
        ValueError: naming the concept.
    """
    names = [measure.concept for measure in measures]
    for measure in measures:
        if names.count(measure.concept) > 1:
            raise ValueError(f"the concept {measure.concept!r} is measured twice: give each a name of its own")
        for name in (measure.of, measure.to):
            for part in name.split("+") if name else ():
                if part not in structures:
                    raise ValueError(
                        f"{measure.concept} measures {part!r}, which is not one of the structures "
                        f"{tuple(structures)}"
                    )


def measure_one(
    labels: NDArray[np.uint8], structures: Sequence[str], measure: MaskMeasure, spacing: Spacing | None = None
) -> Quantity | Undefined:
    """One measurement of one label image (H, W); structures are labelled from 1.

    Example:
        >>> labels = np.array([[1, 1, 0, 2]], dtype=np.uint8)
        >>> measure_one(labels, ("a", "b"), MaskMeasure(concept="x", kind="area_ratio", of="b", to="a"))
        Quantity(value=0.5, unit='1')
    """
    joined = [_joined(labels, structures, name) if name else None for name in (measure.of, measure.to)]
    assert joined[0] is not None
    return measure_masks(joined[0], joined[1], measure, spacing)


def measure_masks(
    mask: Mask, other: Mask | None, measure: MaskMeasure, spacing: Spacing | None = None
) -> Quantity | Undefined:
    """One measurement of the masks (H, W) of a measure's structures; `other` is that of `to`, if it has one.

    Example:
        >>> mask = np.array([[True, True, False]])
        >>> measure_masks(mask, None, MaskMeasure(concept="x", kind="area", of="a"), (0.5, 0.5))
        Quantity(value=0.5, unit='mm2')
    """
    mask = _cleaned(mask, measure)
    other = mask if other is None else _cleaned(other, measure)
    match measure.kind:
        case "presence":
            return Quantity(float(mask.any()), "1")
        case "count":
            return Quantity(float(ndimage.label(mask, EIGHT)[1]), "1")
        case "share":
            return Quantity(float(mask.mean()), "1")
        case "area":
            return area(mask, spacing)
        case "vertical_extent":
            return extent(mask, "vertical", spacing)
        case "horizontal_extent":
            return extent(mask, "horizontal", spacing)
        case "vertical_cup_disc_ratio":
            return vertical_cup_disc_ratio(mask, other)
        case "cardiothoracic_ratio":
            return cardiothoracic_ratio(mask, other)
        case "area_ratio":
            return ratio(area(mask, spacing), area(other, spacing))
        case "centroid_distance":
            return centroid_distance(mask, other, spacing)
        case "gap":
            return gap(mask, other, spacing)


def _joined(labels: NDArray[np.uint8], structures: Sequence[str], name: str) -> Mask:
    mask: Mask = np.isin(labels, [structures.index(part) + 1 for part in name.split("+")])
    return mask


def _cleaned(mask: Mask, measure: MaskMeasure) -> Mask:
    if measure.fill:
        mask = fill_holes(mask)
    if measure.min_area > 1:
        parts, _ = ndimage.label(mask, EIGHT)
        mask = mask & (np.bincount(parts.ravel()) >= measure.min_area)[parts]
    return largest_component(mask) if measure.largest else mask


def measure_members(
    members: Sequence[NDArray[np.uint8]],
    structures: Sequence[str],
    measures: Sequence[MaskMeasure],
    spacing: Spacing | None = None,
) -> tuple[dict[str, Measured], dict[str, Presence], dict[str, str]]:
    """Every measurement over the label images of all members: mean and spread, presences, and what is undefined.

    Each member's own masks are measured, and the measurements summarised: a ratio of mean masks would hide how
    much the members' ratios differ.

    Args:
        members: M label images (H, W) of one image.
        structures: the name of each label from 1.
        measures: what to measure.
        spacing: millimetres of a pixel's height and width in these label images.

    Returns:
        Measurements, presences, and the reason for each concept that cannot be assessed.
    """
    measured: dict[str, Measured] = {}
    presences: dict[str, Presence] = {}
    undefined: dict[str, str] = {}
    for measure in measures:
        found = [measure_one(labels, structures, measure, spacing) for labels in members]
        if measure.kind == "presence":
            seen = np.array([one.value for one in found if isinstance(one, Quantity)])
            presences[measure.concept] = Presence(round(float(seen.mean()), 6), threshold=None)
        elif measure.kind == "share":
            measured[measure.concept] = summarise_covers(
                [one.value for one in found if isinstance(one, Quantity)], measure.floor
            )
        elif measure.kind == "count":
            measured[measure.concept] = summarise_counts(
                [int(one.value) for one in found if isinstance(one, Quantity)], measure.floor
            )
        else:
            summary = summarise_quantities(found, measure.floor)
            if isinstance(summary, Undefined):
                undefined[measure.concept] = summary.why
            else:
                measured[measure.concept] = summary
    return measured, presences, undefined
