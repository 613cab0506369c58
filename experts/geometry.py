"""From masks to areas, diameters, ratios and distances. What a mask cannot give is undefined, never 0.

Pure functions of boolean masks (H, W). Lengths and areas are in millimetres where the pixel spacing (row, column)
is known, else in pixels; the unit travels with the number and two units never meet in one ratio.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from experts.measurement import EIGHT, Mask

Spacing = tuple[float, float]
Unit = Literal["1", "mm", "px", "mm2", "px2"]
SPILL = 0.2  # a cup of which more lies outside the disc is no cup


class Quantity(NamedTuple):
    """A number with its unit."""

    value: float
    unit: Unit


class Undefined(NamedTuple):
    """That there is no such number, and why."""

    why: str


class Overlap(NamedTuple):
    """How far two masks agree.

    Attributes:
        dice: 2 |A and B| / (|A| + |B|); None where both are empty, which is agreement without a number.
        iou: |A and B| / |A or B|; None where both are empty.
        state: whether something is in both masks, in one, or in none.
    """

    dice: float | None
    iou: float | None
    state: Literal["both", "first_empty", "second_empty", "both_empty"]


def overlap(first: Mask, second: Mask) -> Overlap:
    """Dice (1945, Ecology 26:297) and intersection over union of two masks.

    Raises:
        ValueError: the masks have different shapes.

    Example:
        >>> overlap(np.array([[True, True, False]]), np.array([[False, True, True]]))
        Overlap(dice=0.5, iou=0.3333333333333333, state='both')
        >>> overlap(np.zeros((1, 3), bool), np.zeros((1, 3), bool))
        Overlap(dice=None, iou=None, state='both_empty')
    """
    _same_shape(first, second)
    a, b, both = int(first.sum()), int(second.sum()), int((first & second).sum())
    if a + b == 0:
        return Overlap(None, None, "both_empty")
    state: Literal["both", "first_empty", "second_empty"] = (
        "first_empty" if a == 0 else "second_empty" if b == 0 else "both"
    )
    return Overlap(2 * both / (a + b), both / (a + b - both), state)


def _same_shape(first: Mask, second: Mask) -> None:
    if first.shape != second.shape:
        raise ValueError(f"masks have shapes {first.shape} and {second.shape}: both must be of one image")


def largest_component(mask: Mask) -> Mask:
    """The largest 8-connected part; the first in reading order on a tie.

    Example:
        >>> largest_component(np.array([[True, False, True, True]])).tolist()
        [[False, False, True, True]]
    """
    labels, n = ndimage.label(mask, EIGHT)
    if n < 2:
        return mask
    largest: Mask = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return largest


def fill_holes(mask: Mask) -> Mask:
    """The mask with what it encloses (4-connected background that does not reach the border)."""
    return ndimage.binary_fill_holes(mask)


def count_holes(mask: Mask) -> int:
    """How many enclosed holes a mask has.

    Example:
        >>> ring = np.ones((3, 5), bool)
        >>> ring[1, 1] = ring[1, 3] = False
        >>> count_holes(ring)
        2
    """
    return int(ndimage.label(fill_holes(mask) & ~mask)[1])


def area(mask: Mask, spacing: Spacing | None = None) -> Quantity | Undefined:
    """Area of a mask, in mm2 with a spacing and px2 without.

    Example:
        >>> area(np.ones((2, 3), bool), (0.5, 0.5)), area(np.ones((2, 3), bool))
        (Quantity(value=1.5, unit='mm2'), Quantity(value=6.0, unit='px2'))
    """
    n = int(mask.sum())
    if n == 0:
        return Undefined("the mask is empty")
    if spacing is None:
        return Quantity(float(n), "px2")
    return Quantity(n * spacing[0] * spacing[1], "mm2")


def extent(
    mask: Mask, axis: Literal["vertical", "horizontal"], spacing: Spacing | None = None
) -> Quantity | Undefined:
    """Distance between the outermost pixel edges of a mask along one axis of the image.

    Example:
        >>> mask = np.array([[True, False], [True, False], [False, True]])
        >>> extent(mask, "vertical"), extent(mask, "horizontal", (1.0, 0.2))
        (Quantity(value=3.0, unit='px'), Quantity(value=0.4, unit='mm'))
    """
    along = 0 if axis == "vertical" else 1
    where = np.flatnonzero(mask.any(axis=1 - along))
    if not len(where):
        return Undefined("the mask is empty")
    pixels = float(where[-1] - where[0] + 1)
    return Quantity(pixels, "px") if spacing is None else Quantity(pixels * spacing[along], "mm")


def widest_row(mask: Mask, spacing: Spacing | None = None) -> Quantity | Undefined:
    """The largest horizontal distance between the outermost pixel edges of any one row.

    Example:
        >>> widest_row(np.array([[True, False, True, False], [False, True, False, True]]))
        Quantity(value=3.0, unit='px')
    """
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return Undefined("the mask is empty")
    some = mask[rows]
    width = float((some.shape[1] - some[:, ::-1].argmax(1) - some.argmax(1)).max())
    return Quantity(width, "px") if spacing is None else Quantity(width * spacing[1], "mm")


def ratio(top: Quantity | Undefined, bottom: Quantity | Undefined) -> Quantity | Undefined:
    """Quotient of two quantities of one unit; undefined where either is.

    Raises:
        ValueError: the units differ, e.g. millimetres over pixels.

    Example:
        >>> ratio(Quantity(3.0, "mm"), Quantity(4.0, "mm"))
        Quantity(value=0.75, unit='1')
    """
    for part in (top, bottom):
        if isinstance(part, Undefined):
            return part
    assert isinstance(top, Quantity) and isinstance(bottom, Quantity)
    if top.unit != bottom.unit:
        raise ValueError(
            f"a quantity in {top.unit} cannot be divided by one in {bottom.unit}: measure both with the same "
            "spacing"
        )
    return Undefined("the denominator is 0") if bottom.value == 0 else Quantity(top.value / bottom.value, "1")


def vertical_cup_disc_ratio(cup: Mask, disc: Mask) -> Quantity | Undefined:
    """Vertical diameter of the optic cup over that of the disc (Armaly 1967, Arch Ophthalmol 78:35).

    The largest part of each counts, holes filled. A cup that is not seen is undefined, not 0: a disc without a cup
    and a cup that the expert missed look alike. The disc is everything inside its rim, the cup included; a disc
    mask without its cup is filled.

    Example:
        >>> cup, disc = np.zeros((8, 8), bool), np.ones((8, 8), bool)
        >>> cup[2:6, 3:5] = True
        >>> vertical_cup_disc_ratio(cup, disc)
        Quantity(value=0.5, unit='1')
        >>> vertical_cup_disc_ratio(np.zeros((8, 8), bool), disc)
        Undefined(why='the cup mask is empty')
    """
    _same_shape(cup, disc)
    for name, mask in (("cup", cup), ("disc", disc)):
        if not mask.any():
            return Undefined(f"the {name} mask is empty")
    cup, disc = (fill_holes(largest_component(mask)) for mask in (cup, disc))
    outside = float((cup & ~disc).sum() / cup.sum())
    if outside > SPILL:
        return Undefined(f"{outside:.0%} of the cup lies outside the disc")
    return ratio(extent(cup & disc, "vertical"), extent(disc, "vertical"))


def cardiothoracic_ratio(heart: Mask, lungs: Mask) -> Quantity | Undefined:
    """Greatest transverse diameter of the heart over the greatest inner transverse diameter of the thorax.

    After Danzer (1919, Am J Med Sci 157:513): the heart's diameter is the sum of its largest distances to the
    right and to the left of the midline, which need not lie at one height, so it is the horizontal extent of the
    mask. The thorax's is read at one height: the widest row from the outer edge of one lung to that of the other.
    It means something in an adult's erect, inspiratory, unrotated PA film only, which no mask can tell.

    Args:
        heart: (H, W).
        lungs: (H, W), both lungs.

    Example:
        >>> heart, lungs = np.zeros((4, 12), bool), np.zeros((4, 12), bool)
        >>> heart[2, 4:8] = True
        >>> lungs[1:4, 1:4] = lungs[1:4, 8:11] = True
        >>> cardiothoracic_ratio(heart, lungs)
        Quantity(value=0.4, unit='1')
    """
    _same_shape(heart, lungs)
    for name, mask in (("heart", heart), ("lung", lungs)):
        if not mask.any():
            return Undefined(f"the {name} mask is empty")
    heart = largest_component(heart)
    columns = np.flatnonzero(heart.any(0))
    middle = (columns[0] + columns[-1] + 1) // 2
    left, right = lungs[:, :middle], lungs[:, middle:]
    if not (left.any() and right.any()):
        return Undefined("there is lung on one side of the heart only")
    rows = (left.sum(axis=1) > 0) & (right.sum(axis=1) > 0)
    if not rows.any():
        return Undefined("no row crosses both lungs")
    found = ratio(extent(heart, "horizontal"), widest_row(lungs & rows[:, None]))
    if isinstance(found, Quantity) and found.value > 1:
        return Undefined(f"the heart is {found.value:.2f} times as wide as the thorax")
    return found


def centroid(mask: Mask) -> tuple[float, float] | Undefined:
    """Mean row and column of a mask's pixels."""
    if not mask.any():
        return Undefined("the mask is empty")
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


def centroid_distance(first: Mask, second: Mask, spacing: Spacing | None = None) -> Quantity | Undefined:
    """Euclidean distance of two masks' centroids.

    Example:
        >>> first, second = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
        >>> first[0, 0] = second[3, 4] = True
        >>> centroid_distance(first, second), centroid_distance(first, second, (2.0, 2.0))
        (Quantity(value=5.0, unit='px'), Quantity(value=10.0, unit='mm'))
    """
    _same_shape(first, second)
    a, b = centroid(first), centroid(second)
    if isinstance(a, Undefined) or isinstance(b, Undefined):
        return Undefined("a mask is empty")
    row, column = spacing or (1.0, 1.0)
    return Quantity(float(np.hypot((a[0] - b[0]) * row, (a[1] - b[1]) * column)), "mm" if spacing else "px")


def gap(first: Mask, second: Mask, spacing: Spacing | None = None) -> Quantity | Undefined:
    """Smallest distance between pixel centres of two masks; 0 where they overlap.

    Example:
        >>> gap(np.array([[True, False, False]]), np.array([[False, False, True]]), (1.0, 0.25))
        Quantity(value=0.5, unit='mm')
    """
    _same_shape(first, second)
    if not (first.any() and second.any()):
        return Undefined("a mask is empty")
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~first, sampling=spacing or (1.0, 1.0))
    return Quantity(float(distance[second].min()), "mm" if spacing else "px")
