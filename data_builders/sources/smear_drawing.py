"""Drawing a phantom blood-smear field: what the microscope shows, and exactly where each structure is.

Light passes through stained matter, so optical densities add and the picture is

    I = lamp * exp(-strength * sum_k D_k * colour_k)        (Beer-Lambert)

with D_k the thickness map of material k. Overlapping red cells so become darker where they overlap. The
picture is drawn at twice the size and averaged down; then come shading, blur, noise and JPEG compression.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from data_builders.sources.smear_scene import WIDTH, Leukocyte, Scene

LABELS = {"red_cell": 1, "leukocyte": 2, "platelet": 3}
VISIBLE_SHARE = 0.35  # a cell of which less is inside the field is not counted
OVERSAMPLE = 2
MATERIALS: dict[str, tuple[float, float, float]] = {  # optical density in red, green, blue at full thickness
    "red_cell": (0.13, 0.42, 0.38),
    "nucleus": (0.95, 1.50, 0.55),
    "granular": (0.09, 0.30, 0.16),
    "basophilic": (0.42, 0.30, 0.07),
    "platelet": (0.60, 1.00, 0.36),
}
PLASMA = (0.05, 0.09, 0.04)  # tint between the cells; it grows with the square of the strength: excess stain
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Drawing:
    """A drawn field with its exact truth."""

    image: NDArray[np.uint8]  # (size, size, 3)
    labels: NDArray[np.uint8]  # (size, size): 0 background, else LABELS
    counts: dict[str, int]  # per structure, cells of which at least VISIBLE_SHARE lies inside
    red_cell_cover: float  # fraction of the field labelled as red cell


class _Window:
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


class _Canvas:
    """Maps of thickness per material and of shape per structure, at OVERSAMPLE times the final size."""

    def __init__(self, size: int) -> None:
        self.side = OVERSAMPLE * size
        self.scale = self.side / WIDTH
        self.materials = np.zeros((len(MATERIALS), self.side, self.side), dtype=np.float32)
        self.shapes = np.zeros((len(LABELS), self.side, self.side), dtype=np.float32)
        self.maps = dict(zip(MATERIALS, self.materials, strict=True))
        self.counts = dict.fromkeys(LABELS, 0)

    def window(self, x: float, y: float, reach: float) -> _Window:
        """The pixels within `reach` field pixels of a point."""
        return _Window(x, y, reach, self.scale, self.side)

    def add(self, material: str, window: _Window, thickness: Floats) -> None:
        """Lay material over the part of the window that is inside the field."""
        self.maps[material][window.place] += thickness[window.crop]

    def claim(self, structure: str, window: _Window, shape: Floats) -> None:
        """Mark the pixels of one cell and count it if enough of it lies inside the field."""
        inside, target = shape[window.crop], self.shapes[LABELS[structure] - 1][window.place]
        np.maximum(target, inside, out=target)
        self.counts[structure] += bool(inside.sum() >= VISIBLE_SHARE * shape.sum())


def draw_smear(scene: Scene, size: int = 96) -> Drawing:
    """Draw a field and its label mask.

    Args:
        scene: what lies in the field.
        size: side of the picture in pixels; everything in it scales along.

    Returns:
        The picture (size, size, 3), its labels (size, size), the counts and the red-cell cover.

    Example:
        >>> from data_builders.sources.smear_scene import sample_scene
        >>> drawing = draw_smear(sample_scene(0, 0, 0))
        >>> drawing.image.shape, drawing.labels.shape
        ((96, 96, 3), (96, 96))
        >>> drawing.red_cell_cover == float((drawing.labels == 1).mean())
        True
    """
    rng = np.random.default_rng(scene.texture_seed)
    canvas = _Canvas(size)
    for cell in scene.red_cells.tolist():  # Python floats keep the maps in single precision
        _red_cell(canvas, *cell)
    for leukocyte in scene.leukocytes:
        _leukocyte(canvas, leukocyte, rng)
    for x, y, a, b, angle, phase in scene.platelets.tolist():
        _platelet(canvas, x, y, (a, b), angle, phase, rng)
    labels = _labels(canvas)
    return Drawing(
        image=_expose(scene, canvas, size, rng),
        labels=labels,
        counts=canvas.counts,
        red_cell_cover=float((labels == LABELS["red_cell"]).mean()),
    )


def _edge(distance: Floats, width: float = 0.6) -> Floats:
    """1 inside, 0 outside, with a soft edge `width` field pixels wide; `distance` > 0 is inside."""
    return np.clip(distance / width + 0.5, 0, 1)


def _elliptic(window: _Window, a: float, b: float, angle: float) -> tuple[Floats, Floats, Floats]:
    """Radius (1 on the ellipse) and the two coordinates along its axes, each (rows, columns)."""
    cos, sin = math.cos(angle), math.sin(angle)
    u = window.dx * (cos / a) + window.dy * (sin / a)
    v = window.dy * (cos / b) - window.dx * (sin / b)
    return np.sqrt(u * u + v * v), u, v


def _red_cell(canvas: _Canvas, x: float, y: float, a: float, b: float, angle: float, pallor: float) -> None:
    window = canvas.window(x, y, a)
    r, _, _ = _elliptic(window, a, b, angle)
    shape = _edge((1 - r) * b)
    canvas.add("red_cell", window, shape * (1.08 - pallor * np.exp(-((r / 0.48) ** 2))))
    canvas.claim("red_cell", window, shape)


def _leukocyte(canvas: _Canvas, cell: Leukocyte, rng: np.random.Generator) -> None:
    window = canvas.window(cell.x, cell.y, 1.15 * cell.radius)
    dx, dy = window.dx, window.dy
    angle = np.arctan2(dy, dx)
    outline = np.ones_like(angle)
    for order, (cosine, sine) in zip((2, 3, 4), cell.wobble.tolist(), strict=True):
        outline += cosine * np.cos(order * angle) + sine * np.sin(order * angle)
    r = np.sqrt(dx * dx + dy * dy)
    shape = _edge(cell.radius * outline - r)
    texture = rng.standard_normal(r.shape, dtype=np.float32)
    nucleus = _nucleus(cell, dx, dy) * shape
    body = shape * (1 - 0.8 * nucleus)
    if cell.kind == "segmented":
        grains = np.clip(uniform_filter(texture, 3) * 3, 0, 2.5)
        canvas.add("granular", window, body * (0.8 + 0.55 * grains))
    else:
        canvas.add("basophilic", window, body * (1.0 + 0.08 * texture))
    chromatin = 1 + 0.9 * uniform_filter(texture, 7)
    canvas.add("nucleus", window, nucleus * chromatin)
    canvas.maps["red_cell"][window.place] *= 1 - shape[window.crop]  # a red cell does not show through
    canvas.claim("leukocyte", window, shape)


def _nucleus(cell: Leukocyte, dx: Floats, dy: Floats) -> Floats:
    """Union of the lobes and of thin bridges from each lobe to the next."""
    lobes = (cell.lobes * cell.radius).tolist()
    inside = np.full(np.broadcast(dx, dy).shape, -np.inf, dtype=np.float32)
    for x, y, radius in lobes:
        inside = np.maximum(inside, radius - np.sqrt((dx - x) ** 2 + (dy - y) ** 2))
    for (x0, y0, _), (x1, y1, _) in zip(lobes[:-1], lobes[1:], strict=True):
        along = np.clip(((dx - x0) * (x1 - x0) + (dy - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2), 0, 1)
        off = np.hypot(dx - x0 - along * (x1 - x0), dy - y0 - along * (y1 - y0))
        inside = np.maximum(inside, 0.07 * cell.radius - off)
    return _edge(inside)


def _platelet(
    canvas: _Canvas,
    x: float,
    y: float,
    axes: tuple[float, float],
    angle: float,
    phase: float,
    rng: np.random.Generator,
) -> None:
    a, b = axes
    window = canvas.window(x, y, 1.2 * a)
    r, u, v = _elliptic(window, a, b, angle)
    theta = np.arctan2(v, u)
    ragged = 1 + 0.08 * np.cos(3 * theta + phase) + 0.05 * np.cos(5 * theta - phase)
    shape = _edge((ragged - r) * b)
    grains = uniform_filter(rng.standard_normal(r.shape, dtype=np.float32), 3)
    canvas.add("platelet", window, shape * (0.55 + 0.5 * np.exp(-((r / 0.55) ** 2)) + 0.5 * grains))
    canvas.claim("platelet", window, shape)


def _labels(canvas: _Canvas) -> NDArray[np.uint8]:
    shares = _shrink(canvas.shapes)
    labels = np.zeros(shares.shape[1:], dtype=np.uint8)
    for structure in ("red_cell", "leukocyte", "platelet"):  # later ones lie on top
        labels[shares[LABELS[structure] - 1] >= 0.5] = LABELS[structure]
    return labels


def _shrink(planes: Floats) -> Floats:
    """Mean of each OVERSAMPLE x OVERSAMPLE block: (C, kH, kW) to (C, H, W)."""
    k = OVERSAMPLE
    return np.asarray(sum(planes[:, i::k, j::k] for i in range(k) for j in range(k)) / np.float32(k * k))


def _expose(scene: Scene, canvas: _Canvas, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    slide = scene.slide
    colours = (np.array(list(MATERIALS.values())) * slide.tone * scene.strength).astype(np.float32)
    density = colours.T @ canvas.materials.reshape(len(MATERIALS), -1)  # (3, pixels)
    density += (np.array(PLASMA) * slide.tone * scene.strength**2).astype(np.float32)[:, None]
    transmitted = np.exp(-density).reshape(3, canvas.side, canvas.side)
    picture = np.ascontiguousarray(_shrink(transmitted).transpose(1, 2, 0))  # (H, W, 3)
    _artefacts(picture, scene, size)
    picture *= (slide.light * _shading(scene, size)[..., None]).astype(np.float32)
    sigma = scene.blur_sigma * size / WIDTH
    if sigma > 0.1:
        picture = gaussian_filter(picture, (sigma, sigma, 0), truncate=3.0)
    picture = picture + slide.noise * rng.standard_normal((size, size, 1), dtype=np.float32)
    picture = picture + 0.5 * slide.noise * rng.standard_normal((size, size, 3), dtype=np.float32)
    pixels = np.clip(picture * 255, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=slide.jpeg_quality)
    return np.asarray(Image.open(buffer))


def _shading(scene: Scene, size: int) -> Floats:
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    slope_x, slope_y, fall = scene.slide.shading
    field = 1 + slope_x * axis[None, :] + slope_y * axis[:, None]
    return field - fall * (axis[None, :] ** 2 + axis[:, None] ** 2) / 2


def _artefacts(picture: Floats, scene: Scene, size: int) -> None:
    """Precipitate (nearly black dots) and air bubbles (bright, with a dark rim), drawn into the picture."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (WIDTH / size)
    for x, y, radius in scene.specks.tolist():
        distance = np.hypot(axis[None, :] - x, axis[:, None] - y)
        picture *= 1 - 0.9 * _edge(radius - distance, 1.0)[..., None]
    for x, y, radius in scene.bubbles.tolist():
        distance = np.hypot(axis[None, :] - x, axis[:, None] - y) - radius
        rim = np.exp(-((distance / 0.8) ** 2))[..., None]
        picture += 0.35 * (1 - picture) * _edge(-distance)[..., None]
        picture *= 1 - 0.45 * rim
