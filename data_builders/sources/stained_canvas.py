"""Maps of stained matter and of shapes, on which phantom fields of a light microscope are drawn.

Light passes through stained matter, so optical densities add (Beer-Lambert): a canvas holds one map of
thickness per material, and one map of shape per structure for the label mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

VISIBLE_SHARE = 0.35  # a cell of which less is inside the field is not counted
OVERSAMPLE = 2
Floats = NDArray[np.floating[Any]]


class Window:
    """A square of pixels around one cell, also where it lies outside the field."""

    def __init__(self, x: float, y: float, reach: float, scale: float, side: int) -> None:
        cx, cy, half = x * scale - 0.5, y * scale - 0.5, reach * scale + 1
        x0, x1, y0, y1 = (int(np.floor(v)) for v in (cx - half, cx + half + 2, cy - half, cy + half + 2))
        self.dx = ((np.arange(x0, x1, dtype=np.float32) - np.float32(cx)) / np.float32(scale))[None, :]
        self.dy = ((np.arange(y0, y1, dtype=np.float32) - np.float32(cy)) / np.float32(scale))[:, None]
        self.place = tuple(  # in the field; empty for a cell that lies wholly outside
            slice(min(max(start, 0), side), min(max(stop, 0), side)) for start, stop in ((y0, y1), (x0, x1))
        )
        self.crop = (  # the same pixels, counted in this window
            slice(self.place[0].start - y0, self.place[0].stop - y0),
            slice(self.place[1].start - x0, self.place[1].stop - x0),
        )


class Canvas:
    """Maps of thickness per material and of shape per structure, at OVERSAMPLE times the final size.

    Args:
        size: side of the final picture in pixels.
        width: side of the field in the units in which cells are given.
        materials: names of what absorbs light.
        labels: structure to its label, 1, 2, ... in this order.
    """

    def __init__(self, size: int, width: float, materials: Sequence[str], labels: Mapping[str, int]) -> None:
        self.side = OVERSAMPLE * size
        self.scale = self.side / width
        self.labels = labels
        self.materials = np.zeros((len(materials), self.side, self.side), dtype=np.float32)
        self.shapes = np.zeros((len(labels), self.side, self.side), dtype=np.float32)
        self.maps = dict(zip(materials, self.materials, strict=True))
        self.counts = dict.fromkeys(labels, 0)

    def window(self, x: float, y: float, reach: float) -> Window:
        """The pixels within `reach` field units of a point."""
        return Window(x, y, reach, self.scale, self.side)

    def add(self, material: str, window: Window, thickness: Floats) -> None:
        """Lay material over the part of the window that is inside the field."""
        self.maps[material][window.place] += thickness[window.crop]

    def claim(self, structure: str, window: Window, shape: Floats) -> None:
        """Mark the pixels of one cell and count it if enough of it lies inside the field."""
        inside, target = shape[window.crop], self.shapes[self.labels[structure] - 1][window.place]
        np.maximum(target, inside, out=target)
        self.counts[structure] += bool(inside.sum() >= VISIBLE_SHARE * shape.sum())

    def label_mask(self) -> NDArray[np.uint8]:
        """The labels of the final picture (size, size); later structures lie on top, 0 is background."""
        shares = shrink(self.shapes)
        labels = np.zeros(shares.shape[1:], dtype=np.uint8)
        for label in self.labels.values():
            labels[shares[label - 1] >= 0.5] = label
        return labels

    def density(self, colours: Floats) -> Floats:
        """Optical density (3, pixels) of everything, for colours (materials, 3) at full thickness."""
        return np.asarray(colours.T @ self.materials.reshape(len(self.materials), -1))


def edge(distance: Floats, width: float = 0.6) -> Floats:
    """1 inside, 0 outside, with a soft edge `width` field units wide; `distance` > 0 is inside."""
    return np.clip(distance / width + 0.5, 0, 1)


def elliptic(window: Window, a: float, b: float, angle: float) -> tuple[Floats, Floats, Floats]:
    """Radius (1 on the ellipse) and the two coordinates along its axes, each (rows, columns)."""
    cos, sin = math.cos(angle), math.sin(angle)
    u = window.dx * (cos / a) + window.dy * (sin / a)
    v = window.dy * (cos / b) - window.dx * (sin / b)
    return np.sqrt(u * u + v * v), u, v


def lobed(lobes: Sequence[Sequence[float]], bridge: float, dx: Floats, dy: Floats) -> Floats:
    """A nucleus: the union of round lobes (x, y, radius) and of bridges from each lobe to the next."""
    inside = np.full(np.broadcast(dx, dy).shape, -np.inf, dtype=np.float32)
    for x, y, radius in lobes:
        inside = np.maximum(inside, radius - np.sqrt((dx - x) ** 2 + (dy - y) ** 2))
    for (x0, y0, _), (x1, y1, _) in zip(lobes[:-1], lobes[1:], strict=True):
        along = np.clip(((dx - x0) * (x1 - x0) + (dy - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2), 0, 1)
        off = np.hypot(dx - x0 - along * (x1 - x0), dy - y0 - along * (y1 - y0))
        inside = np.maximum(inside, bridge - off)
    return edge(inside)


def shrink(planes: Floats) -> Floats:
    """Mean of each OVERSAMPLE x OVERSAMPLE block: (C, kH, kW) to (C, H, W)."""
    k = OVERSAMPLE
    return np.asarray(sum(planes[:, i::k, j::k] for i in range(k) for j in range(k)) / np.float32(k * k))


def shading(slope_x: float, slope_y: float, fall: float, size: int) -> Floats:
    """Brightness (size, size) of the lamp's light: 1 in the middle, with slopes and a fall-off to the corners."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    field = 1 + slope_x * axis[None, :] + slope_y * axis[:, None]
    return np.asarray(field - fall * (axis[None, :] ** 2 + axis[:, None] ** 2) / 2)
