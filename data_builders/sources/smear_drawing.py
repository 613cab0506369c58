"""Drawing a phantom blood-smear field: what the microscope shows, and exactly where each structure is.

Light passes through stained matter, so optical densities add and the picture is

    I = lamp * exp(-strength * sum_k D_k * colour_k)        (Beer-Lambert)

with D_k the thickness map of material k. Overlapping red cells so become darker where they overlap. The
picture is drawn at twice the size and averaged down; then come shading, blur, noise and JPEG compression.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from data_builders.sources.smear_scene import WIDTH, Leukocyte, Scene
from data_builders.sources.stained_canvas import Canvas, Floats, edge, elliptic, lobed, shading, shrink

LABELS = {"red_cell": 1, "leukocyte": 2, "platelet": 3}
MATERIALS: dict[str, tuple[float, float, float]] = {  # optical density in red, green, blue at full thickness
    "red_cell": (0.13, 0.42, 0.38),
    "nucleus": (0.95, 1.50, 0.55),
    "granular": (0.09, 0.30, 0.16),
    "basophilic": (0.42, 0.30, 0.07),
    "platelet": (0.60, 1.00, 0.36),
}
PLASMA = (0.05, 0.09, 0.04)  # tint between the cells; it grows with the square of the strength: excess stain


@dataclass(frozen=True)
class Drawing:
    """A drawn field with its exact truth."""

    image: NDArray[np.uint8]  # (size, size, 3)
    labels: NDArray[np.uint8]  # (size, size): 0 background, else LABELS
    counts: dict[str, int]  # per structure, cells of which at least VISIBLE_SHARE lies inside
    red_cell_cover: float  # fraction of the field labelled as red cell


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
    canvas = Canvas(size, WIDTH, [*MATERIALS], LABELS)
    for cell in scene.red_cells.tolist():  # Python floats keep the maps in single precision
        _red_cell(canvas, *cell)
    for leukocyte in scene.leukocytes:
        _leukocyte(canvas, leukocyte, rng)
    for x, y, a, b, angle, phase in scene.platelets.tolist():
        _platelet(canvas, x, y, (a, b), angle, phase, rng)
    labels = canvas.label_mask()
    return Drawing(
        image=_expose(scene, canvas, size, rng),
        labels=labels,
        counts=canvas.counts,
        red_cell_cover=float((labels == LABELS["red_cell"]).mean()),
    )


def _red_cell(canvas: Canvas, x: float, y: float, a: float, b: float, angle: float, pallor: float) -> None:
    window = canvas.window(x, y, a)
    r, _, _ = elliptic(window, a, b, angle)
    shape = edge((1 - r) * b)
    canvas.add("red_cell", window, shape * (1.08 - pallor * np.exp(-((r / 0.48) ** 2))))
    canvas.claim("red_cell", window, shape)


def _leukocyte(canvas: Canvas, cell: Leukocyte, rng: np.random.Generator) -> None:
    window = canvas.window(cell.x, cell.y, 1.15 * cell.radius)
    dx, dy = window.dx, window.dy
    angle = np.arctan2(dy, dx)
    outline = np.ones_like(angle)
    for order, (cosine, sine) in zip((2, 3, 4), cell.wobble.tolist(), strict=True):
        outline += cosine * np.cos(order * angle) + sine * np.sin(order * angle)
    r = np.sqrt(dx * dx + dy * dy)
    shape = edge(cell.radius * outline - r)
    texture = rng.standard_normal(r.shape, dtype=np.float32)
    nucleus = lobed((cell.lobes * cell.radius).tolist(), 0.07 * cell.radius, dx, dy) * shape
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


def _platelet(
    canvas: Canvas,
    x: float,
    y: float,
    axes: tuple[float, float],
    angle: float,
    phase: float,
    rng: np.random.Generator,
) -> None:
    a, b = axes
    window = canvas.window(x, y, 1.2 * a)
    r, u, v = elliptic(window, a, b, angle)
    theta = np.arctan2(v, u)
    ragged = 1 + 0.08 * np.cos(3 * theta + phase) + 0.05 * np.cos(5 * theta - phase)
    shape = edge((ragged - r) * b)
    grains = uniform_filter(rng.standard_normal(r.shape, dtype=np.float32), 3)
    canvas.add("platelet", window, shape * (0.55 + 0.5 * np.exp(-((r / 0.55) ** 2)) + 0.5 * grains))
    canvas.claim("platelet", window, shape)


def _expose(scene: Scene, canvas: Canvas, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    slide = scene.slide
    colours = (np.array(list(MATERIALS.values())) * slide.tone * scene.strength).astype(np.float32)
    density = canvas.density(colours)  # (3, pixels)
    density += (np.array(PLASMA) * slide.tone * scene.strength**2).astype(np.float32)[:, None]
    transmitted = np.exp(-density).reshape(3, canvas.side, canvas.side)
    picture = np.ascontiguousarray(shrink(transmitted).transpose(1, 2, 0))  # (H, W, 3)
    _artefacts(picture, scene, size)
    picture *= (slide.light * shading(*slide.shading, size)[..., None]).astype(np.float32)
    sigma = scene.blur_sigma * size / WIDTH
    if sigma > 0.1:
        picture = gaussian_filter(picture, (sigma, sigma, 0), truncate=3.0)
    picture = picture + slide.noise * rng.standard_normal((size, size, 1), dtype=np.float32)
    picture = picture + 0.5 * slide.noise * rng.standard_normal((size, size, 3), dtype=np.float32)
    pixels = np.clip(picture * 255, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=slide.jpeg_quality)
    return np.asarray(Image.open(buffer))


def _artefacts(picture: Floats, scene: Scene, size: int) -> None:
    """Precipitate (nearly black dots) and air bubbles (bright, with a dark rim), drawn into the picture."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (WIDTH / size)
    for x, y, radius in scene.specks.tolist():
        distance = np.hypot(axis[None, :] - x, axis[:, None] - y)
        picture *= 1 - 0.9 * edge(radius - distance, 1.0)[..., None]
    for x, y, radius in scene.bubbles.tolist():
        distance = np.hypot(axis[None, :] - x, axis[:, None] - y) - radius
        rim = np.exp(-((distance / 0.8) ** 2))[..., None]
        picture += 0.35 * (1 - picture) * edge(-distance)[..., None]
        picture *= 1 - 0.45 * rim
