"""Drawing a phantom chest film: what the detector shows, and exactly where each structure is.

Tissue, bone and metal add up along the ray, and the brightness is

    B = 1 - exp(-exposure * sum of densities)        (dense is white)

so an opacity takes away the darkness of the air and a pneumothorax adds to it. The film is drawn at twice the
size and averaged down; then come blur, noise and the markers that films carry: the side, projection, position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, gaussian_filter

from data_builders.sources.cxr_anatomy import (
    MIDDLE,
    SIGN,
    Chest,
    Course,
    Floats,
    broken,
    chest_of,
    clavicle,
    ribs,
)
from data_builders.sources.cxr_devices import draw_devices
from data_builders.sources.cxr_film import Film, Mask, covered, expose, noise, soft
from data_builders.sources.cxr_scene import SIDES, Opacity, Scene, Side

LABELS = {"right_lung": 1, "left_lung": 2, "heart": 3}
BODY, AIR, HEART, ABDOMEN = 0.95, 0.76, 0.42, 0.34
FLUID = 0.72  # replaces air: effusion, consolidation


@dataclass(frozen=True)
class Drawing:
    """A drawn film with its exact truth."""

    image: NDArray[np.uint8]  # (size, size)
    labels: NDArray[np.uint8]  # (size, size): 0, or LABELS; a lung is its pleural space
    signs: dict[str, Mask]  # each finding and device that is there
    ratio: float  # width of the heart over width of the thorax, in columns of the labels


def draw_cxr(scene: Scene, size: int = 192) -> Drawing:
    """Draw a film and its masks.

    Args:
        scene: the film.
        size: side of the picture in pixels; everything in it scales along.

    Returns:
        The picture (size, size), its labels, the masks of findings and devices, and the measured ratio.

    Example:
        >>> from data_builders.sources.cxr_scene import sample_scene
        >>> scene = sample_scene(0, 0, 0)
        >>> drawing = draw_cxr(scene)
        >>> drawing.image.shape, abs(drawing.ratio - scene.ratio) < 0.01
        ((192, 192), True)
    """
    rng = np.random.default_rng(scene.texture_seed)
    film, chest = Film(size), chest_of(scene)
    spaces = {side: chest.pleural_space(film.x, film.y, side) for side in SIDES}
    lungs = {side: soft(space) for side, space in spaces.items()}
    heart = soft(chest.heart(film.x, film.y), 2.0)
    _soft_tissue(film, scene, chest, lungs, heart)
    _bones(film, scene, chest)
    aerated = {side: _collapse(film, scene, chest, side, lungs[side]) for side in SIDES}
    film.density += 0.15 * _hilar_vessels(film, chest, rng) * (aerated["right"] + aerated["left"])
    for opacity in scene.opacities:
        _opacity(film, chest, opacity, lungs[opacity.side], rng)
    for side, level in scene.effusions.items():
        _effusion(film, scene, chest, side, level, lungs[side])
    if scene.thickening is not None:
        _thickening(film, chest, scene.thickening, spaces[scene.thickening])
    draw_devices(film, scene, chest)
    labels = np.zeros((size, size), dtype=np.uint8)
    for side in SIDES:
        labels[covered(lungs[side])] = LABELS[f"{side}_lung"]
    labels[covered(soft(chest.heart(film.x, film.y)))] = LABELS["heart"]
    return Drawing(
        image=expose(film, scene, size, rng),
        labels=labels,
        signs={name: covered(shape) for name, shape in film.shapes.items()},
        ratio=columns(labels == LABELS["heart"]) / columns(labels > 0),
    )


def columns(mask: Mask) -> int:
    """Width of the widest row of what is marked, from its first to its last pixel; of a heart, its whole width.

    Example:
        >>> columns(np.array([[True, False, False], [True, False, True]]))
        3
    """
    marked = np.flatnonzero(mask.any(axis=0))
    return int(marked[-1] - marked[0] + 1) if marked.size else 0


def _soft_tissue(film: Film, scene: Scene, chest: Chest, lungs: dict[Side, Floats], heart: Floats) -> None:
    x, y = film.x, film.y
    from_middle = np.abs(x - MIDDLE)
    child = scene.person.age_group == "child"
    wall = max(chest.half_widths.values()) + (7 if child else 11)
    shoulders = 19 + (80 if child else 110) / (1 + np.exp(-(y - chest.apex + 4) / 4.5))
    flank = wall + (20 if child else 60) / (1 + np.exp((y - chest.apex - 38) / 7))
    body = np.clip((np.minimum(shoulders, flank) - from_middle) / 11, 0, 1) ** 0.6
    film.density += scene.person.bulk * BODY * body
    air = lungs["right"] + lungs["left"]
    film.density -= AIR * air
    film.density -= 0.006 * scene.turn * (lungs["left"] - lungs["right"])  # the side turned away is darker
    film.density += HEART * heart
    between = np.zeros_like(film.density)
    for side in SIDES:
        out = SIGN[side] * (x - MIDDLE)
        between += soft(chest.inner(y, side) - out, 2) * (out > 0)
    in_chest = soft(y - chest.apex + 6, 8) * soft(chest.heart_bottom - y, 8)
    widened = scene.person.mediastinum == "widened"
    film.density += (0.34 if widened else 0.26) * np.clip(between, 0, 1) * in_chest * (1 - 0.5 * heart)
    below = np.zeros_like(film.density)
    for side in SIDES:
        below += soft(y - chest.diaphragm(x, side), 2) * (SIGN[side] * (x - MIDDLE) > 0)
    film.density += ABDOMEN * below * body
    bubble = ((x - MIDDLE - 30) / 15) ** 2 + ((y - chest.domes["left"] - 14) / 8) ** 2
    level = soft(chest.domes["left"] + 16 - y) if scene.position == "erect" else 1.0  # gas over fluid
    film.density -= 0.5 * soft((1 - bubble) * 8, 3) * level
    carina = chest.row(0.36, "right")
    film.density -= 0.24 * soft(4.2 - from_middle, 2) * soft(carina - y, 4)
    for side in SIDES:
        course = np.array([[MIDDLE, carina - 2], [MIDDLE + SIGN[side] * 17, carina + 12]])
        film.density -= 0.13 * film.lines([course], 5, 1.0)


def _bones(film: Film, scene: Scene, chest: Chest) -> None:
    x, y = film.x, film.y
    from_spine = np.abs(x - chest.spine)
    discs = 0.5 + 0.5 * np.cos(2 * np.pi * y / 10.5)
    film.density += 0.22 * soft(8 - from_spine, 2) * (1 - 0.35 * discs**4)
    film.density += 0.16 * soft(1.4 - np.abs(from_spine - 5), 1.2) * (discs < 0.3)  # pedicles
    child = scene.person.age_group == "child"
    backs: list[Course] = []
    fronts: list[Course] = []
    collars: list[Course] = []
    for side in SIDES:
        for k, (back, front) in enumerate(ribs(chest, side, child)):
            hurt = scene.fracture is not None and scene.fracture[:2] == (side, "rib") and k == 6
            backs += _break(film, back, scene.fracture[2]) if scene.fracture is not None and hurt else [back]
            fronts.append(front)
        bone = clavicle(chest, side, scene.projection) - [scene.turn, 0]
        hurt = scene.fracture is not None and scene.fracture[:2] == (side, "clavicle")
        collars += _break(film, bone, scene.fracture[2]) if scene.fracture is not None and hurt else [bone]
        if scene.projection == "ap":  # the shoulder blades are not turned out of the lungs
            half, top = chest.half_widths[side], chest.apex
            blade = np.array([[0.86, 12], [0.66, 22], [0.72, 62], [0.80, 66], [1.05, 30]]) * [half, 1]
            place = [(MIDDLE + SIGN[side] * a, top + b) for a, b in blade.tolist()]
            film.density += 0.14 * _polygon(film, place)
    film.density += 0.19 * film.lines(backs, 4.4, 0.5) + 0.12 * film.lines([b + [0, 2] for b in backs], 0.9, 0.3)
    film.density += 0.07 * film.lines(fronts, 4.4, 0.8) + 0.32 * film.lines(collars, 5.5, 0.5)


def _polygon(film: Film, points: list[tuple[float, float]]) -> Floats:
    paper = Image.new("L", (film.side, film.side))
    ImageDraw.Draw(paper).polygon([(x * film.scale, y * film.scale) for x, y in points], fill=255)
    return np.asarray(gaussian_filter(np.asarray(paper, dtype=np.float32) / 255, 0.8 * film.scale))


def _break(film: Film, bone: Course, place: float) -> list[Course]:
    pieces, (x, y) = broken(bone, place)
    film.claim("fracture", soft(7 - np.hypot(film.x - x, film.y - y)))
    for end in (pieces[0][-1], pieces[1][0]):  # the ends are denser than the shaft
        film.density += 0.16 * np.exp(-(((film.x - end[0]) ** 2 + (film.y - end[1]) ** 2) / 6))
    return pieces


def _collapse(film: Film, scene: Scene, chest: Chest, side: Side, lung: Floats) -> Floats:
    """The aerated lung: all of its space, or what a pneumothorax leaves of it, with the pleural line."""
    if side not in scene.pneumothoraces:
        return lung
    scale = scene.pneumothoraces[side]
    hilum, base = MIDDLE + SIGN[side] * 0.25 * chest.half_widths[side], chest.sulcus
    x, y = hilum + (film.x - hilum) / scale, base + (film.y - base) / (0.4 + 0.6 * scale)
    distance = chest.pleural_space(x, y, side)
    left = soft(distance) * lung
    outside = lung * (1 - left)
    film.density -= 0.13 * outside
    film.density += 0.45 * (1 - scale) * left
    film.density += 0.30 * np.clip(1 - np.abs(distance) / 1.1, 0, 1) * lung * (binary_dilation(outside > 0.5))
    film.claim("pneumothorax", outside)
    return left


def _hilar_vessels(film: Film, chest: Chest, rng: np.random.Generator) -> Floats:
    """Branches from both hila that taper towards the edge of the lungs."""
    drawn = np.zeros_like(film.density)
    parts: dict[float, list[Course]] = {2.6: [], 1.9: [], 1.3: []}
    twigs: list[Course] = []
    for side in SIDES:
        half = chest.half_widths[side]
        hilum = np.array([MIDDLE + SIGN[side] * 0.27 * half, chest.row(0.48, side)])
        drawn += 1.1 * np.exp(-(((film.x - hilum[0]) / 6) ** 2 + ((film.y - hilum[1]) / 11) ** 2))
        for angle in np.linspace(-1.35, 1.35, 8) + rng.normal(0, 0.12, 8):
            reach = half * rng.uniform(0.55, 0.8) * (1 + 0.35 * abs(np.sin(angle)))
            t = np.linspace(0, 1, 13)[:, None]
            bend = angle + rng.uniform(0.1, 0.5) * np.sign(angle) * t
            course = hilum + reach * t * np.concatenate([SIGN[side] * np.cos(bend), np.sin(bend)], 1)
            for k, part in enumerate(parts.values()):
                part.append(course[4 * k : 4 * k + 5])
            for start, turn in ((4, -0.6), (7, 0.6)):
                towards = np.array([[SIGN[side] * np.cos(angle + turn), np.sin(angle + turn)]])
                twigs.append(course[start] + t[:8] * reach * 0.5 * towards)
    for (width, courses), strength in zip(parts.items(), (0.9, 0.75, 0.6), strict=True):
        drawn += strength * film.lines(courses, width, 0.5)
    drawn += 0.45 * film.lines(twigs, 1.1, 0.4)
    return np.clip(drawn, 0, 1.6)


def _opacity(film: Film, chest: Chest, one: Opacity, lung: Floats, rng: np.random.Generator) -> None:
    x0, y0 = chest.place(one.side, one.u, one.v)
    cos, sin = np.cos(one.tilt), np.sin(one.tilt)
    dx, dy = film.x - x0, film.y - y0
    along, across = (dx * cos + dy * sin) / one.across, (dy * cos - dx * sin) / one.along
    r = np.hypot(along, across)
    if one.kind == "lung_lesion":
        shape = soft((1 - r) * one.along, 1.5) * lung
        film.density += 0.42 * shape * np.sqrt(np.clip(1.3 - r**2, 0.3, 1))
    elif one.kind == "atelectasis":
        shape = soft((1 - np.maximum(np.abs(along), np.abs(across + 0.3 * along))) * one.along, 1.5) * lung
        film.density += 0.50 * shape
    elif one.kind == "consolidation":
        shape = soft((1 - r + 0.12 * noise(rng, film, 13)) * one.along, 7) * lung
        film.density += FLUID * shape * (0.92 + 0.035 * noise(rng, film, 6))
        stem = np.array([x0 - SIGN[one.side] * 0.8 * one.across, y0 - 4])
        airways = [
            np.stack(
                [stem, stem + np.array([SIGN[one.side] * 9, 3]), stem + np.array([SIGN[one.side] * out, down])]
            )
            for out, down in ((24, -6), (26, 5), (19, 14))
        ]
        film.density -= 0.24 * film.lines(airways, 1.5, 0.4) * shape
    elif one.kind == "haze":
        shape = np.exp(-1.1 * r**2 * (1 + 0.2 * noise(rng, film, 12))) * lung
        film.density += 0.36 * shape
        shape = (shape > 0.45).astype(np.float32)
    else:
        shape = np.exp(-1.0 * r**2) * lung
        film.density += 0.50 * shape * (1 + 0.16 * noise(rng, film, 5))
        septa = []  # short lines that end at the lateral wall
        for v in (0.74, 0.79, 0.84, 0.89, 0.94):
            y = chest.row(v, one.side)
            wall = float(chest.outer(np.array(y), one.side)) - 1
            septa.append(
                np.array([[MIDDLE + SIGN[one.side] * (wall - 11), y + 1], [MIDDLE + SIGN[one.side] * wall, y]])
            )
        film.density += 0.22 * film.lines(septa, 0.8, 0.3) * lung
        shape = (shape > 0.35).astype(np.float32)
    film.claim(one.kind, shape)
    film.claim("lung_opacity", shape)


def _effusion(film: Film, scene: Scene, chest: Chest, side: Side, level: float, lung: Floats) -> None:
    """Erect: fluid below a meniscus that climbs the chest wall. Supine: a veil that fades upwards."""
    height = chest.domes[side] - chest.apex
    across = np.clip(np.abs(film.x - MIDDLE) / chest.half_widths[side], 0, 1)
    if scene.position == "erect":
        surface = chest.domes[side] - level * height + 5 - 14 * across**3
        shape = soft(film.y - surface, 2.5) * lung
        film.density += (FLUID + 0.1) * shape
    else:
        top = chest.domes[side] - level * height
        shape = soft(film.y - top, 16) * lung
        film.density += (0.26 + 0.25 * level) * shape
    film.claim("pleural_effusion", shape)


def _thickening(film: Film, chest: Chest, side: Side, space: Floats) -> None:
    """A band along the upper and middle chest wall."""
    wall = chest.outer(film.y, side) - SIGN[side] * (film.x - MIDDLE)
    v = (film.y - chest.apex) / (chest.domes[side] - chest.apex)
    thick = 6.5 * np.clip(np.sin(np.pi * np.clip((v - 0.02) / 0.75, 0, 1)), 0, 1) ** 0.4
    shape = soft(np.minimum(thick - wall, space), 1.5)
    film.density += 0.46 * shape
    film.claim("pleural_other", shape)
