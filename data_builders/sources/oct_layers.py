"""The boundaries of the retina's layers in a phantom OCT scan: heights over x, in micrometres.

From Bruch's membrane upwards: what lifts the pigment epithelium, the epithelium, material and fluid above it,
then the outer retina (photoreceptors) and the inner one. Small lifts are taken up by the outer retina; the inner
retina follows them smoothed, as it does in the eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from data_builders.sources.oct_scene import WIDTH, Bump, OctScene, Oval

Floats = NDArray[np.floating[Any]]

RPE = 20.0  # thickness of the pigment epithelium
PHOTORECEPTORS = (26.0, 14.0, 14.0, 8.0)  # outer segments, ellipsoid zone, myoids, outer limiting membrane
NUCLEAR = 78.0  # outer nuclear layer away from the fovea
INNER = {"opl": 20.0, "inl": 34.0, "ipl": 36.0, "gcl": 38.0}  # away from the fovea, from below
SUB_RPE = ("druse", "serous", "drusenoid", "fibrovascular", "double_layer")


@dataclass(frozen=True)
class Layers:
    """Heights over the columns, each (columns,): y grows downwards."""

    x: Floats
    bruch: Floats
    rise: Floats  # of the pigment epithelium above Bruch's membrane by what lies under it
    uneven: Floats  # thickening of the epithelium itself
    material: Floats  # thickness of what lies on the epithelium
    fluid: Floats  # thickness of the fluid above
    photoreceptors: Floats  # their lower end
    thin: Floats  # loss of the outer retina, 0..1
    outer: Floats  # lower end of the outer plexiform layer: the outer retina lies between the two
    inner: dict[str, Floats]  # upper boundaries: opl, inl, ipl, gcl, and ilm

    @property
    def rpe(self) -> Floats:
        """Lower boundary of the pigment epithelium."""
        return self.bruch - self.rise

    @property
    def rpe_top(self) -> Floats:
        """Upper boundary of the pigment epithelium."""
        return self.rpe - RPE - self.uneven


def profile(bump: Bump, x: Floats) -> Floats:
    """Height of a bump over x; its highest point is `bump.height` and it is zero beyond its ends.

    Example:
        >>> druse = Bump("druse", 100.0, 60.0, 20.0, 0.0)
        >>> profile(druse, np.array([60.0, 100.0, 129.0])).round(1).tolist()
        [0.0, 20.0, 5.1]
    """
    highest = _shape(bump, np.linspace(-1, 1, 801)).max()
    return np.asarray(bump.height / highest * _shape(bump, (x - bump.x) / (bump.width / 2)))


def _shape(bump: Bump, u: Floats) -> Floats:
    """The form of a bump between u = -1 and 1, its ends."""
    inside = np.clip(1 - u * u, 0, None)
    dome = np.sqrt(inside)
    wave, ripple = np.cos(5.5 * u + bump.phase), np.cos(12 * u - bump.phase)
    return {
        "drusenoid": dome * (1 + 0.10 * np.cos(9 * u + bump.phase)),
        "fibrovascular": dome * (1 + 0.28 * wave + 0.10 * ripple),
        "double_layer": np.clip(1 - u**6, 0, None) ** 0.5 * (1 + 0.22 * wave + 0.12 * ripple),
        "uneven": dome * np.clip(np.cos(12 * u + bump.phase), 0.05, None),
        "fluid": inside,
    }.get(bump.kind, dome)


def lay_layers(scene: OctScene, columns: int) -> Layers:
    """All boundaries at the middle of each column.

    Args:
        scene: what lies in the scan.
        columns: how many columns the scan's width has.
    """
    x = (np.arange(columns) + 0.5) * (WIDTH / columns)
    middle = x / WIDTH - 0.5
    bruch = scene.level + scene.tilt * middle - 4 * scene.patient.bow * middle**2

    def height(*kinds: str) -> Floats:
        return np.max([np.zeros(columns), *(profile(bump, x) for bump in scene.of_kind(*kinds))], axis=0)

    rise, uneven = height(*SUB_RPE), height("uneven")
    material, fluid = height("shrm", "fibrosis"), height("fluid")
    thin = np.max([np.zeros(columns), *(_window(x, *ends) for ends in scene.thinned)], axis=0)
    pit = np.exp(-(((x - scene.fovea) / 350) ** 2))
    thickness = scene.patient.thickness
    nuclear = thickness * (NUCLEAR + 42 * pit) * (1 - 0.8 * thin)
    nuclear = np.maximum(nuclear, _envelope(x, scene, "tube", 22) - 15 * (1 - thin))
    outer_thickness = sum(PHOTORECEPTORS) * (1 - 0.85 * thin) + nuclear
    lift = rise + uneven + material + fluid
    photoreceptors = bruch - RPE - lift
    smooth = gaussian_filter1d(lift, 60 * columns / WIDTH, mode="nearest")
    outer = np.minimum(bruch - RPE - smooth - outer_thickness, photoreceptors - 0.65 * outer_thickness)
    return Layers(
        x=x,
        bruch=bruch,
        rise=rise,
        uneven=uneven,
        material=material,
        fluid=fluid,
        photoreceptors=photoreceptors,
        thin=thin,
        outer=outer,
        inner=_inner(scene, x, outer, pit),
    )


def _inner(scene: OctScene, x: Floats, outer: Floats, pit: Floats) -> dict[str, Floats]:
    """Upper boundaries of the inner layers; the nerve fibres are thicker towards the nose.

    The disc lies to the nasal side, which is the right side of the picture in a right eye.
    """
    left_to_right = (x - scene.fovea) / WIDTH * (1 if scene.eye == "right" else -1)
    pulled = 0.55 * np.exp(-(((x - scene.fovea) / 130) ** 2)) if scene.hyaloid == "attached" else 0.0
    depth = 1 - 0.93 * np.clip(pit - pulled, 0, 1)
    thickness = dict.fromkeys(INNER, np.zeros_like(x))
    for name, full in INNER.items():
        thickness[name] = scene.patient.thickness * full * depth
    for kind, walls in (("cyst", 18.0), ("pseudocyst", 8.0)):
        thickness["inl"] = np.maximum(thickness["inl"], _envelope(x, scene, kind, walls))
    thickness["ilm"] = 6 + depth * np.clip(15 + 58 * left_to_right, 5, None)
    if scene.hyaloid == "attached":
        for name, pulled_up in (("inl", 16.0), ("gcl", 26.0), ("ilm", 10.0)):
            thickness[name] = thickness[name] + pulled_up * np.exp(-(((x - scene.fovea) / 130) ** 2))
    boundaries: dict[str, Floats] = {}
    top = outer
    for name, thick in thickness.items():
        boundaries[name] = top = top - thick
    return boundaries


def _window(x: Floats, start: float, end: float, soft: float = 150.0) -> Floats:
    """1 between two places, 0 outside, with soft flanks."""
    return 1 / (1 + np.exp(-(x - start) / (soft / 4))) * 1 / (1 + np.exp((x - end) / (soft / 4)))


def _envelope(x: Floats, scene: OctScene, kind: str, walls: float) -> Floats:
    """Thickness of a layer that holds ovals of a kind, with walls above and below; 0 where there is none.

    The layer swells smoothly: it is as thick within 160 um of an oval as there, and slopes over some 70 um.
    """
    step = WIDTH / len(x)
    needed = np.zeros_like(x)
    for oval in scene.ovals:
        if oval.kind == kind:
            inside = np.abs(x - oval.x) <= oval.a
            needed[inside] = np.maximum(needed[inside], 2 * oval.b + walls)
    return gaussian_filter1d(maximum_filter1d(needed, int(320 / step)), 70 / step, mode="nearest")


def place_oval(oval: Oval, layers: Layers) -> tuple[float, float]:
    """Centre of an oval: cysts in the inner nuclear layer, tubes at the photoreceptors, foci in between."""
    column = int(np.clip(np.searchsorted(layers.x, oval.x), 0, len(layers.x) - 1))
    if oval.kind == "focus":
        top, bottom = layers.inner["opl"][column], layers.photoreceptors[column]
        return oval.x, float(top + oval.depth * (bottom - top))
    if oval.kind == "tube":
        return oval.x, float((layers.outer[column] + layers.photoreceptors[column]) / 2)
    return oval.x, float((layers.inner["inl"][column] + layers.inner["opl"][column]) / 2)
