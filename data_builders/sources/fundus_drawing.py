"""Drawing a phantom fundus photograph: what the camera shows, and exactly where each structure is.

Everything is drawn as in a left eye (temporal to the right of the picture) and mirrored for a right eye. Colours
are blended by soft shapes at twice the size and averaged down; blood takes its share of the light of each colour
(`1 - thickness * absorption`); then come vignetting, blur, noise and JPEG compression. Vessels leave the disc on
the nasal side of the cup and run in two arcades round the macula.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from data_builders.sources.fundus_scene import Scene

OVERSAMPLE = 2
LABELS = {"rim": 1, "cup": 2}
FOVEA = (4.1, -0.25)  # from the disc's centre, mm, temporal and superior positive
FIELD = 0.485  # radius of the round field of view, widths of the picture
DISC, CUP = (0.97, 0.60, 0.36), (1.0, 0.90, 0.66)
ATROPHY, PIGMENT = (0.93, 0.78, 0.56), (0.24, 0.12, 0.07)
BLOOD = {"vein": (0.42, 0.80, 0.66), "artery": (0.24, 0.66, 0.56), "haemorrhage": (0.38, 0.93, 0.86)}
WIDTHS = {"vein": 0.13, "artery": 0.09}  # mm at the disc
Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Point = tuple[float, float]


@dataclass(frozen=True)
class Drawing:
    """A drawn photograph with its exact truth."""

    image: NDArray[np.uint8]  # (size, size, 3)
    labels: NDArray[np.uint8]  # (size, size): 0 outside the disc, else LABELS
    signs: dict[str, Mask]  # each sign that is there
    vessels: Mask
    ratio: float  # height of the cup over height of the disc, in rows of the labels
    diameter: float  # height of the disc in pixels


class _Grid:
    """Coordinates of the picture's pixels about the disc, at OVERSAMPLE times the size."""

    def __init__(self, scene: Scene, size: int) -> None:
        self.side = OVERSAMPLE * size
        self.scale = self.side / scene.person.field_mm  # pixels per mm
        self.middle = scene.centre
        axis = ((np.arange(self.side) + 0.5) / self.scale - scene.person.field_mm / 2).astype(np.float32)
        self.x = (axis - np.float32(scene.centre[0]))[None, :]  # temporal positive
        self.y = (-axis - np.float32(scene.centre[1]))[:, None]  # superior positive
        self.mm = np.sqrt(self.x**2 + self.y**2)
        self.angle = np.arctan2(self.y, self.x)
        self.in_field = _soft(FIELD * scene.person.field_mm - np.hypot(axis[None, :], axis[:, None]), 0.03)

    def pixels(self, points: NDArray[np.float64]) -> list[Point]:
        """Places in mm as places in the picture."""
        half = self.side / 2
        x = (points[:, 0] + self.middle[0]) * self.scale + half
        y = half - (points[:, 1] + self.middle[1]) * self.scale
        return list(zip(x.tolist(), y.tolist(), strict=True))


def draw_fundus(scene: Scene, size: int = 192) -> Drawing:
    """Draw a photograph and its masks.

    Args:
        scene: the eye.
        size: side of the picture in pixels.

    Returns:
        The picture (size, size, 3), the disc's labels, the masks of the signs and of the vessels, and what the
        labels measure.

    Example:
        >>> from data_builders.sources.fundus_scene import sample_scene
        >>> scene = sample_scene(0, 0, "right")
        >>> drawing = draw_fundus(scene)
        >>> drawing.image.shape, abs(drawing.ratio - scene.disc.ratio) < 0.05
        ((192, 192, 3), True)
    """
    rng = np.random.default_rng(scene.texture_seed)
    grid = _Grid(scene, size)
    radius = scene.disc.diameter / 2
    edge = scene.disc.edge(grid.angle) * radius - grid.mm  # positive inside the disc
    disc = _soft(edge, 0.03)
    cup = _soft(edge - scene.disc.rim_width(grid.angle) * radius, 0.03)
    shapes = {sign: draw(scene, grid, edge) for sign, draw in SHAPES.items() if sign in scene.signs}
    picture = _retina(scene, grid, rng)
    if "rnfl_defect" in shapes:
        picture *= 1 - shapes["rnfl_defect"] * np.array([0.20, 0.30, 0.24], dtype=np.float32)[:, None, None]
    if "peripapillary_atrophy" in shapes:
        crescent = shapes["peripapillary_atrophy"]
        _blend(picture, PIGMENT, 0.6 * np.clip(gaussian_filter(crescent, 4) * 1.6 - crescent, 0, 1) * (edge < 0))
        _blend(picture, ATROPHY, 0.75 * crescent)
    pallor = 1 - 0.10 * np.clip(-grid.x / radius, 0, 1)  # the nasal rim is redder
    _blend(picture, DISC, 0.92 * disc, pallor)
    _blend(picture, CUP, 0.92 * cup)
    vessels = _vessels(scene, grid)
    for kind, thickness in vessels.items():
        _absorb(picture, kind, thickness)
    if "haemorrhage" in shapes:
        _absorb(picture, "haemorrhage", shapes["haemorrhage"])
    labels = np.where(_half(cup), LABELS["cup"], np.where(_half(disc), LABELS["rim"], 0)).astype(np.uint8)
    flip = slice(None, None, -1 if scene.eye == "right" else 1)
    in_field = _half(grid.in_field)
    return Drawing(
        image=_expose(scene, picture * grid.in_field, size, rng, flip),
        labels=labels[:, flip],
        signs={sign: (_half(shape) & in_field)[:, flip] for sign, shape in shapes.items()},
        vessels=(_half(sum(vessels.values(), np.zeros_like(disc))) & in_field)[:, flip],
        ratio=rows(labels == LABELS["cup"]) / rows(labels > 0),
        diameter=float(rows(labels > 0)),
    )


def rows(mask: Mask) -> int:
    """Height of what is marked, in rows.

    Example:
        >>> rows(np.array([[False, False], [True, False], [False, True]]))
        2
    """
    marked = np.flatnonzero(mask.any(axis=1))
    return int(marked[-1] - marked[0] + 1) if marked.size else 0


def _soft(distance: Floats, width: float) -> Floats:
    """1 inside, 0 outside, with an edge `width` mm wide; `distance` > 0 is inside."""
    return np.clip(distance / width + 0.5, 0, 1)


def _half(shape: Floats) -> Mask:
    """Pixels of the final picture of which at least half is covered."""
    k = OVERSAMPLE
    return np.asarray(sum(shape[i::k, j::k] for i in range(k) for j in range(k)) / (k * k) >= 0.5)


def _blend(
    picture: Floats, colour: tuple[float, float, float], share: Floats, shade: Floats | float = 1.0
) -> None:
    for plane, value in zip(picture, colour, strict=True):
        plane += share * (value * shade - plane)


def _absorb(picture: Floats, kind: str, thickness: Floats) -> None:
    for plane, share in zip(picture, BLOOD[kind], strict=True):
        plane *= 1 - share * thickness


def _noise(rng: np.random.Generator, side: int, grain: float) -> Floats:
    """Smooth noise of unit standard deviation with grains of that share of the side."""
    coarse = max(4, round(1 / grain) * 2)
    field = gaussian_filter(rng.standard_normal((coarse, coarse), dtype=np.float32), 1)
    field = (field - field.mean()) / field.std()
    return np.asarray(Image.fromarray(field).resize((side, side), Image.Resampling.BICUBIC))


def _retina(scene: Scene, grid: _Grid, rng: np.random.Generator) -> Floats:
    """Colour of the fundus with choroid, macula and the sheen of the nerve fibres: (3, side, side)."""
    strength = scene.person.tessellation
    pattern = 1 + strength * (_noise(rng, grid.side, 0.05) + 0.6 * _noise(rng, grid.side, 0.2))
    macula = np.exp(-(((grid.x - FOVEA[0]) / 0.95) ** 2 + ((grid.y - FOVEA[1]) / 0.85) ** 2))
    shade = pattern * (1 - 0.42 * macula)
    fibres = gaussian_filter1d(rng.standard_normal(360), 0.8, mode="wrap")
    curved = grid.angle * 180 / np.pi - 9 * grid.mm * np.sign(grid.y) * (grid.x > 0)
    striation = fibres[np.floor(curved).astype(int) % 360]
    arcuate = np.exp(-(((np.abs(grid.angle) - 1.0) / 0.55) ** 2)) * np.exp(-grid.mm / 2.6)
    sheen = (0.20 * arcuate * (1 + 0.25 * striation)).astype(np.float32)
    tint = np.array([0.55, 1.0, 0.8], dtype=np.float32)[:, None, None]
    colour = scene.person.tone.astype(np.float32)[:, None, None]
    return np.asarray(colour * (shade + sheen * tint), dtype=np.float32)


def _haemorrhage(scene: Scene, grid: _Grid, edge: Floats) -> Floats:
    """A splinter across the disc's margin, pointed at both ends and frayed along the nerve fibres."""
    angle, length, width = scene.haemorrhage
    out = float(scene.disc.edge(np.array(angle))) * scene.disc.diameter / 2 + 0.12 * length
    along = grid.x * np.cos(angle) + grid.y * np.sin(angle) - out
    across = grid.y * np.cos(angle) - grid.x * np.sin(angle)
    taper = np.sqrt(np.clip(1 - (2 * along / length) ** 2, 0, 1)) * (1.25 + 0.4 * along / length)
    flame = width / 2 * taper * (1 + 0.12 * np.sin(45 * across + 20 * along))
    return _soft(np.minimum(length / 2 - np.abs(along), flame - np.abs(across)), 0.03)


def _wedge(scene: Scene, grid: _Grid, edge: Floats) -> Floats:
    """A slit that widens from the disc's margin along the arcuate fibres."""
    angle, half = scene.wedge
    bend = 0.11 * grid.mm * np.sign(angle)
    away = np.abs(grid.angle - (angle - bend))
    reach = _soft(-edge, 0.03) * _soft(3.4 - grid.mm, 0.4)
    return _soft((half - away) * grid.mm, 0.06) * reach


def _atrophy(scene: Scene, grid: _Grid, edge: Floats) -> Floats:
    """A crescent on the temporal side of the disc."""
    middle, extent, width = scene.atrophy
    away = np.abs(np.angle(np.exp(1j * (grid.angle - middle)))) / extent
    wide = width * scene.disc.diameter / 2 * np.sqrt(np.clip(1 - away**2, 0, 1))
    wide = wide * (1 + 0.12 * np.sin(7 * grid.angle))
    return np.asarray(_soft(np.minimum(-edge, edge + wide), 0.04) * (away < 1))


SHAPES = {"haemorrhage": _haemorrhage, "rnfl_defect": _wedge, "peripapillary_atrophy": _atrophy}


def _vessels(scene: Scene, grid: _Grid) -> dict[str, Floats]:
    """Thickness of the blood columns of veins and arteries."""
    rng = np.random.default_rng(scene.vessel_seed)
    found = {}
    for kind in ("vein", "artery"):
        paper = Image.new("L", (grid.side, grid.side))
        pen = ImageDraw.Draw(paper)
        shift = 0.07 if kind == "vein" else -0.07
        for up in (1, -1):
            for ends in (((-0.3, 1.7), (1.4, 3.0), (5.4, 2.1)), ((-0.45, 1.0), (-1.5, 1.4), (-4.2, 2.6))):
                start = np.array([[-0.14 + shift, -0.03 * up]])
                bends = np.array(ends) * np.array([1, up]) + rng.normal(0, [[0.05], [0.2], [0.3]], (3, 2))
                bends += np.array([[0.0], [2.2], [3.0]]) * shift * np.array([1, up])
                _vessel(pen, grid, rng, np.concatenate([start, bends]), WIDTHS[kind])
        found[kind] = np.asarray(gaussian_filter(np.asarray(paper, dtype=np.float32) / 255, 0.7))
    found["artery"] *= 1 - 0.7 * (found["vein"] > 0.3)  # where they cross, one is seen
    return found


def _vessel(
    pen: ImageDraw.ImageDraw,
    grid: _Grid,
    rng: np.random.Generator,
    bends: NDArray[np.float64],
    width: float,
    branches: bool = True,
) -> None:
    """A cubic Bezier curve that tapers, and its branches to both sides."""
    t = np.linspace(0, 1, 60)[:, None]
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    path = weights @ bends
    path[8:] += np.cumsum(rng.normal(0, 0.008, (52, 2)), axis=0)  # no vessel is drawn with a ruler
    points = grid.pixels(path)
    for k in range(59):
        pen.line(points[k : k + 2], fill=255, width=max(1, round(width * (1 - 0.5 * k / 59) * grid.scale)))
    if not branches:
        return
    for place in (17, 27, 37, 47):
        k = place + int(rng.integers(-4, 5))
        heading = np.arctan2(*(path[k + 1] - path[k])[::-1])
        for side in (1, -1):
            if rng.random() < 0.6:
                turn = heading + side * rng.uniform(0.5, 0.9)
                reach = rng.uniform(0.8, 1.9)
                step = reach / 3 * np.array([np.cos(turn), np.sin(turn)])
                curl = reach * 0.12 * side * np.array([np.sin(turn), -np.cos(turn)])
                child = path[k] + np.outer(np.arange(4), step) + np.outer(np.array([0, 0, 1, 2.2]), curl)
                _vessel(pen, grid, rng, child, width * (0.6 - 0.3 * k / 59), branches=False)


def _expose(scene: Scene, picture: Floats, size: int, rng: np.random.Generator, flip: slice) -> NDArray[np.uint8]:
    k = OVERSAMPLE
    seen = sum(picture[:, i::k, j::k] for i in range(k) for j in range(k)) / np.float32(k * k)
    seen = np.ascontiguousarray(np.asarray(seen)[:, :, flip].transpose(1, 2, 0))
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    distance = axis[None, :, None] ** 2 + axis[:, None, None] ** 2
    lit = seen.sum(axis=2, keepdims=True) > 0
    seen = seen * (1 - 0.28 * distance) * np.float32(scene.person.light * scene.gain)
    seen = seen + scene.haze * (np.array([0.55, 0.42, 0.32], dtype=np.float32) - seen) * lit
    sigma = scene.blur_mm * size / scene.person.field_mm
    if sigma > 0.1:
        seen = gaussian_filter(seen, (sigma, sigma, 0))
    noise = scene.person.noise * rng.standard_normal((size, size, 3), dtype=np.float32)
    pixels = np.clip((seen + noise * lit) * 255, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=scene.person.jpeg_quality)
    return np.asarray(Image.open(buffer))
