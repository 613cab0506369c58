"""A 2-D expert taken through a volume, slice by slice, and what the slices' masks say of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experts.protocol import Examination, Expert, ImageContext, examine
from vlmalign.records.manifest import DataUse


class VolumeExamination(NamedTuple):
    """What an expert says of a volume.

    Attributes:
        slices: one examination a slice, in order.
        labels: (D, H, W) label volume; None if the expert draws none.
    """

    slices: tuple[Examination, ...]
    labels: NDArray[np.uint8] | None


def to_grey(volume: NDArray[np.generic], window: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Intensities (D, H, W) as grey values, the same for all slices: linear from the window's low end to its high.

    Args:
        volume: of any real type.
        window: low and high end, e.g. (-160, 240) Hounsfield units for soft tissue; default the volume's range.

    Raises:
        ValueError: no volume, values that are not finite, or a window without width.

    Example:
        >>> to_grey(np.array([[[-200, 40, 300]]]), (-160, 240)).tolist()
        [[[0, 128, 255]]]
    """
    if volume.ndim != 3 or volume.size == 0:
        raise ValueError(f"the volume has shape {volume.shape}, expected (depth, height, width)")
    values = np.asarray(volume, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("the volume holds values that are not finite: replace them")
    low, high = window or (float(values.min()), float(values.max()))
    if high <= low:
        raise ValueError(f"the window is {low:g} to {high:g}, which has no width: give one as (low, high)")
    return np.rint((values - low).clip(0, high - low) / (high - low) * 255).astype(np.uint8)


def examine_volume(
    expert: Expert,
    volume: NDArray[np.generic],
    *,
    window: tuple[float, float] | None = None,
    spacing_mm: tuple[float, float] | None = None,
    laterality: str | None = None,
    data_use: DataUse = "local_only",
) -> VolumeExamination:
    """Examine every slice of a volume.

    Args:
        expert: looks at one slice at a time, and knows nothing of its neighbours.
        volume: (D, H, W) intensities.
        window: see `to_grey`.
        spacing_mm: height and width of a pixel within a slice.
        laterality: left or right, where it applies.
        data_use: where the slices may be sent.

    Raises:
        ValueError: see `to_grey`.
    """
    images = [Image.fromarray(layer) for layer in to_grey(volume, window)]
    found = tuple(examine(expert, images, [ImageContext(spacing_mm, laterality, data_use)] * len(images)))
    layers = [one.labels for one in found if one.labels is not None]
    return VolumeExamination(found, np.stack(layers) if len(layers) == len(found) else None)


def structure_volume(labels: NDArray[np.uint8], label: int, spacing_mm: Sequence[float]) -> float | None:
    """Volume of one label in cubic millimetres; None where nothing has it, which is not the same as 0.

    Args:
        labels: (D, H, W).
        label: from 1.
        spacing_mm: distance of slices, height and width of a pixel.

    Example:
        >>> labels = np.zeros((2, 4, 4), dtype=np.uint8)
        >>> labels[:, 1:3, 1:3] = 1
        >>> structure_volume(labels, 1, (2.0, 0.5, 0.5)), structure_volume(labels, 2, (2.0, 0.5, 0.5))
        (4.0, None)
    """
    if len(spacing_mm) != 3 or min(spacing_mm) <= 0:
        raise ValueError(f"spacing_mm is {tuple(spacing_mm)}, expected slice distance, pixel height and width")
    n = int((labels == label).sum())
    return n * float(np.prod(spacing_mm)) if n else None
