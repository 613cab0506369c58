"""Drawing a phantom field of a bone marrow aspirate, and exactly where each kind of cell lies.

As in `smear_drawing`, optical densities of stained matter add:

    I = lamp * exp(-strength * sum_k D_k * colour_k)        (Beer-Lambert)

Each kind of cell is known by what textbooks name: the blast by its large pale nucleus with nucleoli in a thin
blue rim; the plasma cell by an eccentric nucleus with clumped chromatin, deep blue cytoplasm and a pale hof;
the erythroblast by a small, round, very dense nucleus; granulocytes by the shape of the nucleus and by grains.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from data_builders.sources.marrow_scene import WIDTH, MarrowCell, MarrowScene
from data_builders.sources.stained_canvas import Canvas, Floats, Window, edge, elliptic, lobed, shading, shrink

LABELS = {"clot": 1, "red_cell": 2, "platelet": 3, "blast": 4, "plasma_cell": 5, "granulocyte": 6,
          "erythroblast": 7, "lymphocyte": 8}  # fmt: skip
STRUCTURE = {
    "segmented": "granulocyte",
    "eosinophil": "granulocyte",
    "band": "granulocyte",
    "myelocyte": "granulocyte",
}
MATERIALS: dict[str, tuple[float, float, float]] = {  # optical density in red, green, blue at full thickness
    "red_cell": (0.07, 0.30, 0.24),
    "fine_chromatin": (0.50, 0.92, 0.30),
    "chromatin": (0.85, 1.40, 0.52),
    "dense_chromatin": (1.00, 1.65, 0.70),
    "basophilic": (0.52, 0.46, 0.10),
    "pink": (0.07, 0.22, 0.10),
    "eosin": (0.06, 0.55, 0.62),
    "lilac": (0.16, 0.30, 0.08),
    "platelet": (0.45, 0.75, 0.28),
    "fibrin": (0.22, 0.42, 0.17),
}
PLASMA = (0.03, 0.06, 0.03)
CHROMATIN = {  # material of the nucleus, size of its clumps in units, and their depth
    "blast": ("fine_chromatin", 1.2, 0.5),
    "plasma_cell": ("chromatin", 2.6, 1.4),
    "erythroblast": ("dense_chromatin", 1.6, 0.4),
    "lymphocyte": ("chromatin", 2.2, 0.6),
}
CYTOPLASM = {  # material, thickness, depth of the grains
    "blast": ("basophilic", 0.75, 0.05),
    "plasma_cell": ("basophilic", 1.35, 0.05),
    "segmented": ("pink", 0.85, 0.5),
    "eosinophil": ("eosin", 0.9, 1.0),
    "band": ("pink", 0.85, 0.5),
    "myelocyte": ("lilac", 0.9, 0.8),
    "erythroblast": ("basophilic", 0.3, 0.05),
    "lymphocyte": ("basophilic", 0.45, 0.05),
}


@dataclass(frozen=True)
class MarrowDrawing:
    """A drawn field with its exact truth."""

    image: NDArray[np.uint8]  # (size, size, 3)
    labels: NDArray[np.uint8]  # (size, size): 0 background, else LABELS
    counts: dict[str, int]  # per structure, cells of which at least a third lies inside


def draw_marrow(scene: MarrowScene, size: int = 224) -> MarrowDrawing:
    """Draw a field and its label mask.

    Args:
        scene: what lies in the field.
        size: side of the picture in pixels; everything in it scales along.

    Example:
        >>> from data_builders.sources.marrow_scene import sample_marrow
        >>> scene = sample_marrow(0, 1, 0)
        >>> drawing = draw_marrow(scene)
        >>> drawing.image.shape, drawing.counts["blast"] == scene.count("blast")
        ((224, 224, 3), True)
    """
    rng = np.random.default_rng(scene.texture_seed)
    canvas = Canvas(size, WIDTH, [*MATERIALS], LABELS)
    for cell in scene.red_cells.tolist():  # Python floats keep the maps in single precision
        _red_cell(canvas, *cell, heaped=scene.content == "clot")
    if scene.content == "clot":
        _clot(canvas, rng)
    for x, y, radius, phase in scene.platelets.tolist():
        _platelet(canvas, x, y, radius, phase, rng)
    for nucleated in scene.cells:
        _nucleated(canvas, nucleated, rng)
    return MarrowDrawing(_expose(scene, canvas, size, rng), canvas.label_mask(), canvas.counts)


def _red_cell(
    canvas: Canvas, x: float, y: float, a: float, b: float, angle: float, pallor: float, *, heaped: bool
) -> None:
    window = canvas.window(x, y, a)
    r, _, _ = elliptic(window, a, b, angle)
    shape = edge((1 - r) * b)
    canvas.add("red_cell", window, shape * (1.05 - pallor * np.exp(-((r / 0.48) ** 2))) * (0.7 if heaped else 1.0))
    canvas.claim("red_cell", window, shape)


def _clot(canvas: Canvas, rng: np.random.Generator) -> None:
    """A felt of fibrin over most of the field: smooth masses, and threads where smooth fields cross zero."""
    side, unit = canvas.side, canvas.scale
    coarse = gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), 16 * unit, mode="wrap")
    mass = edge(coarse / coarse.std() + rng.uniform(0.7, 1.3), 0.25)
    threads = np.zeros_like(mass)
    for long, short in ((14, 3), (3, 14), (9, 4), (4, 9)):
        field = gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), (long * unit, short * unit))
        field /= field.std()
        threads += np.exp(-((field / 0.09) ** 2))
    canvas.maps["fibrin"] += mass * (0.85 + 0.2 * coarse / coarse.std() + 0.75 * np.minimum(threads, 1.5))
    canvas.maps["red_cell"] *= 1 - 0.45 * mass
    canvas.shapes[LABELS["clot"] - 1] = mass
    red = canvas.shapes[LABELS["red_cell"] - 1]
    red *= mass < 0.5  # what the clot holds is clot


def _platelet(canvas: Canvas, x: float, y: float, radius: float, phase: float, rng: np.random.Generator) -> None:
    window = canvas.window(x, y, 1.3 * radius)
    r, u, v = elliptic(window, radius, 0.9 * radius, phase)
    shape = edge((1 + 0.12 * np.cos(3 * np.arctan2(v, u) + phase) - r) * radius)
    canvas.add("platelet", window, shape * (0.9 + 0.4 * uniform_filter(rng.standard_normal(r.shape), 3)))
    canvas.claim("platelet", window, shape)


def _nucleated(canvas: Canvas, cell: MarrowCell, rng: np.random.Generator) -> None:
    window = canvas.window(cell.x, cell.y, 1.35 * cell.radius)
    cos, sin = np.float32(np.cos(cell.angle)), np.float32(np.sin(cell.angle))
    u, v = window.dx * cos + window.dy * sin, window.dy * cos - window.dx * sin  # along and across its axis
    shape = _outline(cell, u, v)
    nucleus = lobed((cell.lobes * cell.radius).tolist(), 0.08 * cell.radius, u, v) * shape
    material, clump, depth = CHROMATIN.get(cell.kind, ("chromatin", 1.8, 0.7))
    clumps = _texture(rng, u.shape, clump * canvas.scale / 2)
    if cell.kind == "plasma_cell":  # blocks of chromatin like the hours of a clock
        x, y, _ = (cell.lobes[0] * cell.radius).tolist()
        clumps = 0.8 * clumps + 0.9 * np.cos(7 * np.arctan2(v - y, u - x)) * (
            np.hypot(u - x, v - y) > 0.15 * cell.radius
        )
        depth = 0.28
    else:
        depth *= 0.3
    chromatin = np.clip(1 + depth * clumps, 0.35, 1.8)
    for x, y, radius in (cell.spots * cell.radius).tolist():  # a nucleolus: paler and bluer than the chromatin
        spot = edge(radius - np.hypot(u - x, v - y), 0.8)
        chromatin = chromatin * (1 - 0.62 * spot)
        canvas.add("basophilic", window, 0.35 * spot * nucleus)
    _cytoplasm(canvas, window, cell, shape * (1 - nucleus), (u, v), rng)
    canvas.add(material, window, nucleus * chromatin)
    for covered in ("red_cell", "fibrin"):  # nothing shows through
        canvas.maps[covered][window.place] *= 1 - shape[window.crop]
    canvas.claim(STRUCTURE.get(cell.kind, cell.kind), window, shape)


def _outline(cell: MarrowCell, u: Floats, v: Floats) -> Floats:
    long = np.float32(np.sqrt(cell.stretch))
    u, v = u / long, v * long
    angle = np.arctan2(v, u)
    outline = np.ones_like(angle)
    for order, (cosine, sine) in zip((2, 3, 4), cell.wobble.tolist(), strict=True):
        outline += cosine * np.cos(order * angle) + sine * np.sin(order * angle)
    return edge(cell.radius * outline - np.sqrt(u * u + v * v))


def _cytoplasm(
    canvas: Canvas, window: Window, cell: MarrowCell, body: Floats, axes: tuple[Floats, Floats],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    material, thickness, grain = CYTOPLASM[cell.kind]
    u, v = axes
    grains = np.clip(_texture(rng, body.shape, 0.5 * canvas.scale / 2), -1.5, 2.5)
    depth = thickness * np.clip(1 + 0.5 * grain * grains, 0.2, None)
    if cell.kind == "plasma_cell":  # the hof: a pale spot between the nucleus and the middle of the cell
        x = float(cell.lobes[0, 0] - cell.lobes[0, 2]) * cell.radius
        depth = depth * (1 - 0.85 * np.exp(-(((u - x + 0.12 * cell.radius) / 2.4) ** 2) - (v / 3.2) ** 2))
    canvas.add(material, window, body * depth)
    if cell.kind == "erythroblast":  # haemoglobin makes its blue grey
        canvas.add("red_cell", window, body * 1.0)
    if cell.kind == "myelocyte":
        canvas.add("basophilic", window, body * 0.2)


def _texture(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Floats:
    """Smooth noise of unit variance, grains about 2 sigma wide (pixels of the canvas)."""
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    return noise / max(float(noise.std()), 1e-6)


def _expose(scene: MarrowScene, canvas: Canvas, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    aspirate = scene.aspirate
    colours = (np.array([*MATERIALS.values()]) * aspirate.tone * aspirate.strength).astype(np.float32)
    density = canvas.density(colours) + (np.array(PLASMA) * aspirate.strength).astype(np.float32)[:, None]
    transmitted = np.exp(-density).reshape(3, canvas.side, canvas.side)
    picture = np.ascontiguousarray(shrink(transmitted).transpose(1, 2, 0))  # (H, W, 3)
    picture *= (aspirate.light * shading(*aspirate.shading, size)[..., None]).astype(np.float32)
    picture = gaussian_filter(picture, (0.45, 0.45, 0), truncate=3.0)
    picture = picture + aspirate.noise * rng.standard_normal((size, size, 1), dtype=np.float32)
    picture = picture + 0.5 * aspirate.noise * rng.standard_normal((size, size, 3), dtype=np.float32)
    buffer = io.BytesIO()
    pixels = np.clip(picture * 255, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=aspirate.jpeg_quality, subsampling=0)
    return np.asarray(Image.open(buffer))
