"""From label images to counts and covers: connected components, with touching cells told apart.

Pure functions of arrays. Sizes are never written here: `fit_scale` learns them from training masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from vlmalign.records.base import Part

Mask = NDArray[np.bool_]
EIGHT = np.ones((3, 3), dtype=bool)
SPLITS = (0.0, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)  # candidate depths of a core; 0 is no splitting
BORDER_SHARES = (0.0, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
MIN_AREA_SHARE = 0.5  # of the 5th percentile of whole components
COMPACT = 1.4  # a component at most this many times its inscribed disc is taken for one cell


class Scale(Part):
    """How large one structure is, and how to count it; areas in pixels of the working resolution."""

    typical_area: float = Field(gt=0, description="median area of single, whole cells")
    min_area: float = Field(ge=0, description="smaller pieces are not counted")
    border_share: float = Field(
        default=0.0, ge=0, le=1, description="a piece at the border counts from this share of the typical area on"
    )
    split: float = Field(
        default=0.0,
        ge=0,
        description="depth that the core of a cell must have, in radii; 0: components stay whole",
    )

    @property
    def radius(self) -> float:
        """Radius of a disc of the typical area, in pixels."""
        return float(np.sqrt(self.typical_area / np.pi))


class Pieces(NamedTuple):
    """Single cells of a mask: their areas (n,) in pixels, and whether they touch the image's border (n,)."""

    areas: NDArray[np.int64]
    at_border: NDArray[np.bool_]


def pieces(mask: Mask, *, radius: float = 0.0, split: float = 0.0) -> Pieces:
    """Take a mask apart into single cells.

    Components are 8-connected. With `split` > 0 each component is divided among
    its cores, the connected parts of {d > `split` x `radius`} of its distance map d: the neck between two
    touching cells is thinner than the cells are. The image is continued beyond its border, so that a cut
    cell keeps its core.

    Args:
        mask: (H, W).
        radius: of a typical cell, in pixels; needed for splitting only.
        split: depth of a core, in radii; 0 keeps the components whole.

    Returns:
        Areas and border contact of the n cells.

    Example:
        >>> mask = np.zeros((8, 8), dtype=bool)
        >>> mask[1:4, 1:4] = mask[6:, 6:] = True
        >>> pieces(mask).areas.tolist(), pieces(mask).at_border.tolist()
        ([9, 4], [False, True])
    """
    if not mask.any():
        return Pieces(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool))
    if split > 0:
        labels = _divide(mask, radius, split)
    else:
        labels, _ = ndimage.label(mask, EIGHT)
    areas = np.bincount(labels.ravel())
    edge = np.zeros(len(areas), dtype=bool)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        edge[line] = True
    kept = np.flatnonzero(areas[1:]) + 1
    return Pieces(areas[kept], edge[kept])


def _divide(mask: Mask, radius: float, split: float) -> NDArray[np.int32]:
    """Label (H, W) of each cell: one core a cell, and every other pixel goes to the nearest core."""
    pad = max(int(np.ceil(radius)), 1)
    distance = ndimage.distance_transform_edt(np.pad(mask, pad, mode="edge"))[pad:-pad, pad:-pad]
    bodies, n_bodies = ndimage.label(mask, EIGHT)
    cores = distance > split * radius
    markers, n_cores = ndimage.label(cores, EIGHT)
    cored = np.zeros(n_bodies + 1, dtype=bool)
    cored[bodies[cores]] = True
    bare = mask & ~cored[bodies]  # a component too thin for a core is one cell
    markers[bare] = n_cores + bodies[bare]
    # the chessboard metric takes half the time of the Euclidean one, and borders need not be exact
    nearest = ndimage.distance_transform_cdt(markers == 0, return_distances=False, return_indices=True)
    return np.where(mask, markers[tuple(nearest)], 0)


def count(found: Pieces, scale: Scale) -> int:
    """Number of pieces that are large enough: whole ones by `min_area`, cut ones by `border_share` too.

    Example:
        >>> two = Pieces(np.array([9, 4]), np.array([False, True]))
        >>> count(two, Scale(typical_area=10, min_area=3)), count(two, Scale(typical_area=10, min_area=3,
        ...                                                                  border_share=0.5))
        (2, 1)
    """
    least = np.where(
        found.at_border, max(scale.border_share * scale.typical_area, min(scale.min_area, 1)), scale.min_area
    )
    return int((found.areas >= least).sum())


def cover(found: Pieces, scale: Scale, pixels: int) -> float:
    """Fraction of the image that the pieces cover, without whole pieces too small to be a cell.

    Example:
        >>> cover(Pieces(np.array([30, 2, 2]), np.array([False, False, True])),
        ...       Scale(typical_area=30, min_area=10), pixels=100)
        0.32
    """
    kept = found.at_border | (found.areas >= scale.min_area)
    return float(found.areas[kept].sum()) / pixels


def measure(mask: Mask, scale: Scale) -> tuple[int, float]:
    """Number of cells of one structure in a mask (H, W), and the fraction of the image they cover."""
    found = pieces(mask, radius=scale.radius, split=scale.split)
    return count(found, scale), cover(found, scale, mask.size)


def fit_scale(masks: Sequence[Mask], counts: Sequence[int], *, max_masks: int = 150) -> Scale:
    """Learn one structure's sizes, and how best to count it, from true masks and true counts.

    `min_area` is half of the 5th percentile of whole components, `typical_area` the median of those that
    fill their inscribed disc (single cells). `split` and `border_share` are those candidates whose counts
    have the least sum of absolute errors; on a tie the first, so nothing is split without need.

    Args:
        masks: one (H, W) mask an image.
        counts: the true counts, parallel to `masks`.
        max_masks: the first so many masks with any pixel are used.

    Raises:
        ValueError: no mask has any pixel: the structure cannot be learnt.

    Example:
        >>> mask = np.zeros((9, 9), dtype=bool)
        >>> mask[2:6, 2:6] = True
        >>> fit_scale([mask], [1])
        Scale(typical_area=16.0, min_area=8.0, border_share=0.0, split=0.0)
    """
    used = [(mask, n) for mask, n in zip(masks, counts, strict=True) if mask.any()][:max_masks]
    if not used:
        raise ValueError("no mask has any pixel of the structure: give training cases that show it")
    areas, compact = _component_areas([mask for mask, _ in used])
    typical = float(np.median(areas[compact] if compact.sum() >= 5 else areas))
    base = Scale(typical_area=typical, min_area=MIN_AREA_SHARE * float(np.percentile(areas, 5)))
    truth = np.array([n for _, n in used])
    best, least = base, np.inf
    for split in SPLITS:
        found = [pieces(mask, radius=base.radius, split=split) for mask, _ in used]
        for border_share in BORDER_SHARES:
            scale = base.model_copy(update={"split": split, "border_share": border_share})
            error = np.abs(np.array([count(piece, scale) for piece in found]) - truth).sum()
            if error < least:
                best, least = scale, error
        if least == 0:
            break
    return best


def _component_areas(masks: Sequence[Mask]) -> tuple[NDArray[np.float64], Mask]:
    """Areas of whole components (all, if none is whole), and which of them fill their inscribed disc."""
    areas: list[NDArray[np.int64]] = []
    whole: list[Mask] = []
    discs: list[NDArray[np.float64]] = []
    for mask in masks:
        labels, n = ndimage.label(mask, EIGHT)
        found = pieces(mask)
        inner = ndimage.maximum(ndimage.distance_transform_edt(mask), labels, np.arange(1, n + 1))
        areas.append(found.areas)
        whole.append(~found.at_border)
        discs.append(np.pi * np.asarray(inner) ** 2)
    area, inside, disc = np.concatenate(areas), np.concatenate(whole), np.concatenate(discs)
    if not inside.any():
        inside = np.ones_like(inside)
    return area[inside].astype(np.float64), area[inside] <= COMPACT * disc[inside]
