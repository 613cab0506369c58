"""On which side a structure lies: of the image, of the patient, of the eye. They are not the same."""

from __future__ import annotations

from typing import Literal

import numpy as np

from experts.geometry import Undefined
from experts.measurement import Mask

Side = Literal["left", "right", "both"]
OTHER: dict[str, Side] = {"left": "right", "right": "left", "both": "both"}
MOSTLY = 0.9


def side_in_image(mask: Mask, *, midline: float | None = None) -> Side | Undefined:
    """The half of the image that holds at least 90 % of a mask, else both.

    Args:
        mask: (H, W).
        midline: the column that divides left from right, in pixels from the left edge; default the middle.

    Example:
        >>> side_in_image(np.array([[True, True, False, False]]))
        'left'
        >>> side_in_image(np.array([[True, True, False, False]]), midline=1)
        'both'
    """
    if not mask.any():
        return Undefined("the mask is empty")
    middle = mask.shape[1] / 2 if midline is None else midline
    centres = np.arange(mask.shape[1]) + 0.5
    weight = mask.sum(0)
    share = float((weight[centres < middle].sum() + weight[centres == middle].sum() / 2) / weight.sum())
    return "left" if share >= MOSTLY else "right" if share <= 1 - MOSTLY else "both"


def patient_side(
    mask: Mask, view: Literal["facing", "as_seen"], *, midline: float | None = None
) -> Side | Undefined:
    """The patient's side of a structure.

    Args:
        mask: (H, W).
        view: `facing`: shown as if the patient faced the reader, as radiographs (PA and AP) are and CT slices seen
            from the feet: the image's left is the patient's right. `as_seen`: the image's left is the patient's.
        midline: as for `side_in_image`, e.g. the middle of the thorax.

    Example:
        >>> patient_side(np.array([[True, True, False, False]]), "facing")
        'right'
    """
    found = side_in_image(mask, midline=midline)
    if isinstance(found, Undefined):
        return found
    return OTHER[found] if view == "facing" else found


def retinal_side(
    mask: Mask, eye: str | None, *, midline: float | None = None
) -> Literal["nasal", "temporal", "both"] | Undefined:
    """Nasal or temporal part of a fundus photograph or OCT scan, which needs to know the eye.

    In a photograph that is not mirrored the nose lies right of a right eye and left of a left eye.

    Args:
        mask: (H, W).
        eye: left or right, as `ImageRef.laterality` says it.
        midline: e.g. the column of the fovea.

    Example:
        >>> disc = np.array([[False, False, False, True]])
        >>> retinal_side(disc, "right"), retinal_side(disc, "left")
        ('nasal', 'temporal')
        >>> retinal_side(disc, None)
        Undefined(why='the eye is not known')
    """
    if eye not in ("left", "right"):
        return Undefined("the eye is not known")
    found = side_in_image(mask, midline=midline)
    if isinstance(found, Undefined):
        return found
    if found == "both":
        return "both"
    return "nasal" if found == eye else "temporal"


def eye_of_disc(disc: Mask) -> Literal["left", "right"] | Undefined:
    """Which eye a photograph centred between disc and macula shows: the optic disc lies towards the nose.

    Example:
        >>> eye_of_disc(np.array([[False, False, False, True]]))
        'right'
    """
    found = side_in_image(disc)
    if isinstance(found, Undefined):
        return found
    return Undefined("the disc lies in the middle of the image") if found == "both" else found  # type: ignore[return-value]
