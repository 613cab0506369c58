"""Outlines of a phantom chest: lungs, heart, mediastinum, diaphragm, and the courses of bones.

Every outline is given by its signed distance (pixels of a film 192 wide, positive inside) from arrays of
coordinates, so that it can be drawn at any size. Widths are given from the middle of the thorax to each side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_builders.sources.cxr_scene import SIDES, WIDTH, Scene, Side

Floats = NDArray[np.floating[Any]]
Course = NDArray[np.float64]  # (n, 2): x, y along a bone, vessel or device
MIDDLE = WIDTH / 2
SIGN: dict[Side, int] = {"right": -1, "left": 1}  # the patient's right is on the left of the picture
HEART_SHARE: dict[Side, float] = {"right": 0.38, "left": 0.62}


@dataclass(frozen=True)
class Chest:
    """The thorax of one film."""

    half_widths: dict[Side, float]
    apex: float
    domes: dict[Side, float]
    sulcus: float
    heart_width: float
    heart_top: float
    heart_bottom: float
    mediastinum: float  # half-width
    widening: float  # of the upper mediastinum, to each side
    spine: float  # column of the spine

    @property
    def width(self) -> float:
        """Width of the thorax inside the ribs."""
        return sum(self.half_widths.values())

    def depth(self, y: Floats) -> Floats:
        """Share of the way from the apex to the costophrenic angle."""
        return (y - self.apex) / (self.sulcus - self.apex)

    def row(self, v: float, side: Side) -> float:
        """The row at the share `v` of the way from the apex to the dome."""
        return self.apex + v * (self.domes[side] - self.apex)

    def outer(self, y: Floats, side: Side) -> Floats:
        """Distance of the chest wall from the middle."""
        t = np.clip(self.depth(y) / 0.75, 0, 1)
        return self.half_widths[side] * (0.40 + 0.60 * (1 - (1 - t) ** 2) ** 0.6)

    def inner(self, y: Floats, side: Side) -> Floats:
        """Distance of the lung's medial border from the middle, without the heart."""
        s = self.depth(y)
        start = 0.40 * self.half_widths[side]
        knob = 5 * np.exp(-(((s - 0.27) / 0.055) ** 2)) * (side == "left")
        wide = self.widening * np.exp(-(((s - 0.25) / 0.2) ** 2))
        opened = np.sqrt(1 - (1 - np.clip(s / 0.17, 0, 1)) ** 2)
        return start - (start - self.mediastinum - knob - wide) * opened

    def diaphragm(self, x: Floats, side: Side) -> Floats:
        """Row of the diaphragm at columns `x`."""
        across = np.abs(x - MIDDLE) / self.half_widths[side]
        lateral, medial = np.clip((across - 0.5) / 0.5, 0, 1.2), np.clip((0.5 - across) / 0.5, 0, 1)
        return self.domes[side] + (self.sulcus - self.domes[side]) * lateral**2.4 + 7 * medial**2

    def heart(self, x: Floats, y: Floats) -> Floats:
        """Signed distance of the heart's outline, row by row."""
        u = (y - self.heart_top) / (self.heart_bottom - self.heart_top)
        low, high = np.clip(u, 0, 1), np.clip(u - 0.72, 0, 1) / 0.34
        left = 0.30 + 0.70 * np.sin(np.pi / 2 * np.clip(low / 0.72, 0, 1)) ** 1.4
        left = np.where(u > 0.72, np.sqrt(np.clip(1 - high**2, 0, 1)), left)
        right = 0.25 + 0.75 * np.sin(np.pi / 2 * np.clip(low / 0.6, 0, 1)) ** 0.9
        right = np.where(u > 0.6, np.sqrt(np.clip(1 - ((low - 0.6) / 0.52) ** 2, 0, 1)), right)
        from_middle = x - MIDDLE
        reach_left = self.heart_width * HEART_SHARE["left"] * left - from_middle
        reach_right = self.heart_width * HEART_SHARE["right"] * right + from_middle
        rows = np.minimum(y - self.heart_top, self.heart_bottom - y)
        return np.minimum(np.minimum(reach_left, reach_right), rows)

    def pleural_space(self, x: Floats, y: Floats, side: Side) -> Floats:
        """Signed distance of the space of one lung, heart and mediastinum taken out."""
        out = SIGN[side] * (x - MIDDLE)
        space = np.minimum(self.outer(y, side) - out, out - self.inner(y, side))
        space = np.minimum(space, np.minimum(y - self.apex, self.diaphragm(x, side) - y))
        return np.minimum(space, -self.heart(x, y))

    def place(self, side: Side, u: float, v: float) -> tuple[float, float]:
        """The point at the shares `u` across and `v` down a lung."""
        y = np.array([self.row(v, side)])
        reach = np.linspace(0, self.half_widths[side], 200)
        inside = reach[self.pleural_space(MIDDLE + SIGN[side] * reach, y, side) > 0]
        return float(MIDDLE + SIGN[side] * (inside[0] + u * (inside[-1] - inside[0]))), float(y[0])


def chest_of(scene: Scene) -> Chest:
    """The outlines of a film.

    Example:
        >>> from data_builders.sources.cxr_scene import sample_scene
        >>> scene = sample_scene(0, 0, 0)
        >>> chest = chest_of(scene)
        >>> abs(chest.heart_width / chest.width - scene.ratio) < 1e-9
        True
    """
    person = scene.person
    shallow = 17.0 if scene.inspiration == "shallow" else 0.0
    narrowed: Side = "left" if scene.turn > 0 else "right"
    half_widths = {side: person.half_width * (0.92 if scene.turn and side == narrowed else 1.0) for side in SIDES}
    width = sum(half_widths.values())
    dome = person.dome - shallow
    sulcus = person.sulcus - shallow * 0.7
    return Chest(
        half_widths=half_widths,
        apex=person.apex,
        domes={"right": dome, "left": dome + 4},
        sulcus=sulcus,
        heart_width=scene.ratio * width,
        heart_top=person.apex + 0.42 * (dome - person.apex),
        heart_bottom=dome + 9,
        mediastinum=0.19 * person.half_width,
        widening=0.17 * person.half_width if person.mediastinum == "widened" else 0.0,
        spine=MIDDLE + scene.turn,
    )


def ribs(chest: Chest, side: Side, child: bool) -> list[tuple[Course, Course]]:
    """The posterior and the anterior part of each rib, from medial to lateral and back."""
    found = []
    spacing = (chest.sulcus - chest.apex) / 9.0
    for k in range(10):
        top = chest.apex + 1 + spacing * (k - 0.35)
        t = np.linspace(0, 1, 24)
        wall = float(chest.outer(np.array(max(top + spacing, chest.apex + 2)), side)) + 1.5
        start = SIGN[side] * (chest.spine - MIDDLE) + 6
        drop = spacing * (0.25 if child else 0.7 + 0.05 * k)
        x = start + (wall - start) * np.sin(np.pi / 2 * t)
        y = top - 0.35 * spacing * np.sin(np.pi * t) + drop * t**2
        back = np.stack([MIDDLE + SIGN[side] * x, y], 1)
        x = wall - (wall - 0.36 * chest.half_widths[side]) * (1 - np.cos(np.pi / 2 * t))
        y = y[-1] + spacing * (1.3 if child else 1.9) * np.sin(np.pi / 2 * t)
        found.append((back, np.stack([MIDDLE + SIGN[side] * x, y], 1)))
    return found


def clavicle(chest: Chest, side: Side, projection: str) -> Course:
    """From the breastbone outwards; flatter and higher on an AP film."""
    t = np.linspace(0, 1, 24)
    rise, start = (3.0, chest.apex + 3) if projection == "ap" else (9.0, chest.apex + 13)
    x = 8 + t * (chest.half_widths[side] - 6)
    y = start - rise * t + 3.0 * np.sin(2 * np.pi * t) * 0.8
    return np.stack([MIDDLE + SIGN[side] * x, y], 1)


def broken(course: Course, place: float, *, gap: float = 3.0, step: float = 5.5) -> tuple[list[Course], Course]:
    """The two pieces of a bone, the outer one displaced, and the place of the break (2,)."""
    middle = course[round(place * (len(course) - 1))]
    away = np.hypot(*(course - middle).T) * np.sign(np.arange(len(course)) - place * (len(course) - 1))
    return [course[away < -gap], course[away > gap] + np.array([0, step])], middle + np.array([0, step / 2])
