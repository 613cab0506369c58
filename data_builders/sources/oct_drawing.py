"""Drawing a phantom OCT scan: what the instrument shows, and exactly where each structure is.

The display of an OCT scan is logarithmic. Speckle multiplies the intensity, so on the display it adds

    I = contrast * R(x, y) + s * n(x, y)

with R the reflectivity of the tissue on the display's scale (0 vitreous, 1 brightest), n noise of unit variance
with the grain of speckle, and s its standard deviation. A poor scan has little contrast and much speckle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from data_builders.sources.oct_layers import PHOTORECEPTORS, Floats, lay_layers, place_oval
from data_builders.sources.oct_scene import HEIGHT, WIDTH, OctScene
from data_builders.sources.stained_canvas import OVERSAMPLE, shrink

LABELS = {
    name: number
    for number, name in enumerate(
        (
            "retina", "outer_retina", "pigment_epithelium", "choroid", "hypertransmission", "drusen", "ped",
            "double_layer_sign", "shrm", "fibrosis", "subretinal_fluid", "intraretinal_fluid", "pseudocysts",
            "outer_retinal_tubulation", "hyperreflective_foci", "traction",
        ),
        start=1,
    )
}  # fmt: skip
VITREOUS, SCLERA = 0.07, 0.50
BRIGHTNESS = {"ilm": 0.80, "gcl": 0.43, "ipl": 0.55, "inl": 0.32, "opl": 0.60}  # by the upper boundary
CONTENT = {"druse": 0.46, "serous": 0.10, "drusenoid": 0.42, "fibrovascular": 0.50, "double_layer": 0.40}
STRUCTURE = {"druse": "drusen", "serous": "ped", "drusenoid": "ped", "fibrovascular": "ped",
             "double_layer": "double_layer_sign"}  # fmt: skip
OVALS = {"cyst": "intraretinal_fluid", "pseudocyst": "pseudocysts", "tube": "outer_retinal_tubulation",
         "focus": "hyperreflective_foci"}  # fmt: skip


@dataclass(frozen=True)
class OctDrawing:
    """A drawn scan with its exact truth."""

    image: NDArray[np.uint8]  # (rows, columns)
    labels: NDArray[np.uint8]  # (rows, columns): 0 vitreous, sclera and lost pigment epithelium, else LABELS
    spacing_um: tuple[float, float]  # between rows, between columns


class _Plane:
    """Reflectivity and labels of a scan on a grid of pixels."""

    def __init__(self, scene: OctScene, rows: int, columns: int) -> None:
        self.layers = lay_layers(scene, columns)
        self.x = self.layers.x[None, :]
        self.y = ((np.arange(rows) + 0.5) * (HEIGHT / rows))[:, None]
        self.bright = np.full((rows, columns), VITREOUS)
        self.labels = np.zeros((rows, columns), dtype=np.uint8)

    def between(self, top: Floats, bottom: Floats) -> NDArray[np.bool_]:
        """Pixels between two boundaries over the columns."""
        return np.asarray((self.y >= top[None, :]) & (self.y < bottom[None, :]))

    def fill(self, where: NDArray[np.bool_], bright: float | Floats, structure: str | None = None) -> None:
        """Give pixels their brightness and, if it has one, the label of their structure."""
        self.bright[where] = np.broadcast_to(bright, where.shape)[where]
        if structure is not None:
            self.labels[where] = LABELS[structure]


def draw_oct(scene: OctScene, size: int = 384) -> OctDrawing:
    """Draw a scan and its label mask.

    Args:
        scene: what lies in the scan.
        size: columns of the picture; its rows are size * 5 / 8, so that 384 x 240 pixels show 3 x 1.2 mm.

    Example:
        >>> from data_builders.sources.oct_scene import sample_oct
        >>> drawing = draw_oct(sample_oct(0, 0, "right", 0))
        >>> drawing.image.shape, drawing.spacing_um
        ((240, 384), (5.0, 7.8125))
    """
    rows = size * 5 // 8
    rng = np.random.default_rng(scene.texture_seed)
    fine = _paint(scene, OVERSAMPLE * rows, OVERSAMPLE * size)
    bright = shrink(fine.bright[None])[0]
    return OctDrawing(
        image=_expose(scene, bright, rng),
        labels=_paint(scene, rows, size).labels,
        spacing_um=(HEIGHT / rows, WIDTH / size),
    )


def _paint(scene: OctScene, rows: int, columns: int) -> _Plane:
    plane = _Plane(scene, rows, columns)
    _choroid(plane, scene)
    _retina(plane)
    _pigment_epithelium(plane, scene)
    _on_the_epithelium(plane, scene)
    for oval in scene.ovals:
        x, y = place_oval(oval, plane.layers)
        power = 4 if oval.kind == "pseudocyst" else 2  # degenerative cysts are angular
        r = (np.abs(plane.x - x) / oval.a) ** power + (np.abs(plane.y - y) / oval.b) ** power
        bright: float | Floats = {"cyst": 0.07, "pseudocyst": 0.06, "focus": 0.98}.get(oval.kind, 0.0)
        if oval.kind == "tube":  # a bright ring around a dim lumen
            bright = np.where(r > 0.40, 0.86, 0.24)
        plane.fill(r < 1, bright, OVALS[oval.kind])
    _shadows(plane, scene)
    if scene.hyaloid != "none":
        _hyaloid(plane, scene)
    return plane


def _choroid(plane: _Plane, scene: OctScene) -> None:
    bruch, x = plane.layers.bruch, plane.layers.x
    thickness = scene.patient.choroid * (1 + 0.06 * np.sin(x / 420 + scene.fovea))
    end = bruch + thickness
    depth = (plane.y - bruch[None, :]) / thickness[None, :]
    beyond, inside = depth >= 1, plane.between(bruch, end)
    plane.bright[beyond] = SCLERA * np.exp(-1.3 * (depth[beyond] - 1))
    plane.fill(inside, 0.54 - 0.18 * depth, "choroid")
    for vx, part, radius in scene.vessels.tolist():
        vy = np.interp(vx, x, bruch + part * thickness)
        near = np.abs(x - vx) < 2.2 * radius
        r = ((plane.x[:, near] - vx) / (1.7 * radius)) ** 2 + ((plane.y - vy) / radius) ** 2
        plane.bright[:, near] -= 0.20 * np.clip(1.5 - r, 0, 1) * inside[:, near]
    below = plane.y >= bruch[None, :]
    for gap in scene.of_kind("gap"):  # light falls through in stripes, down to the sclera
        inside_gap = (x >= gap.ends[0]) & (x < gap.ends[1])
        stripes = 0.24 + 0.06 * np.sin(x / 9 + 2 * np.sin(x / 31 + gap.phase)) + 0.05 * np.sin(x / 19 - gap.phase)
        fade = np.exp(-np.clip(depth[:, inside_gap] - 1, 0, None) * 0.5)
        plane.bright[:, inside_gap] += below[:, inside_gap] * stripes[inside_gap] * fade
        plane.labels[inside & inside_gap[None, :]] = LABELS["hypertransmission"]


def _retina(plane: _Plane) -> None:
    layers = plane.layers
    tops = [layers.inner[name] for name in ("ilm", "gcl", "ipl", "inl", "opl")]
    for name, top, bottom in zip(BRIGHTNESS, tops, [*tops[1:], layers.outer], strict=True):
        plane.fill(plane.between(top, bottom), BRIGHTNESS[name], "retina")
    end = layers.photoreceptors
    plane.fill(plane.between(layers.outer, end), 0.20 + 0.18 * layers.thin[None, :], "retina")
    lost = layers.thin > 0.5
    plane.labels[plane.between(layers.outer, end) & lost[None, :]] = LABELS["outer_retina"]
    kept = 1 - layers.thin
    bottom = end
    covered = layers.fluid + layers.material > 0
    for part, bright, thickness in zip(
        ("segments", "ellipsoid", "myoids", "membrane"), (0.52, 0.90, 0.28, 0.55), PHOTORECEPTORS, strict=True
    ):
        top = bottom - thickness * (1 - 0.85 * layers.thin)
        if part == "segments":
            brightness = np.where(covered, 0.40, bright)
        else:
            brightness = np.full_like(end, bright)
        shown = plane.between(top, bottom)
        plane.fill(shown, (brightness * kept + 0.36 * (1 - kept))[None, :])
        bottom = top


def _pigment_epithelium(plane: _Plane, scene: OctScene) -> None:
    layers = plane.layers
    for bump in scene.of_kind(*CONTENT):
        columns = (layers.x >= bump.ends[0]) & (layers.x < bump.ends[1])
        bright: float | Floats = CONTENT[bump.kind]
        if bump.kind == "fibrovascular":  # layers of vessels and scar
            up = (layers.bruch[None, :] - plane.y) / bump.height
            bright = bright + 0.16 * np.sin(13 * up + 1.5 * np.sin(plane.x / 70 + bump.phase))
        plane.fill(plane.between(layers.rpe, layers.bruch) & columns[None, :], bright, STRUCTURE[bump.kind])
    gap = np.zeros(len(layers.x), dtype=bool)
    for bump in scene.of_kind("gap"):
        gap |= (layers.x >= bump.ends[0]) & (layers.x < bump.ends[1])
    band = plane.between(layers.rpe_top, layers.rpe)
    plane.fill(band & ~gap[None, :], 0.95, "pigment_epithelium")
    plane.fill(band & gap[None, :], 0.40)
    plane.fill(plane.between(layers.bruch, layers.bruch + 7), 0.78)  # Bruch's membrane, seen where they part


def _on_the_epithelium(plane: _Plane, scene: OctScene) -> None:
    layers = plane.layers
    top = layers.rpe_top - layers.material
    material = plane.between(top, layers.rpe_top)
    for bump in scene.of_kind("shrm", "fibrosis"):
        columns = ((layers.x >= bump.ends[0]) & (layers.x < bump.ends[1]))[None, :]
        up = (layers.rpe_top[None, :] - plane.y) / bump.height
        if bump.kind == "shrm":  # of uneven grey, with a fuzzy border
            cloud = 0.09 * np.sin(plane.x / 37 + bump.phase) * np.sin(plane.y / 21) + 0.05 * np.sin(plane.x / 13)
            plane.fill(material & columns, 0.66 + cloud, "shrm")
        else:  # bright and laminated
            plane.fill(material & columns, 0.90 + 0.10 * np.sin(16 * up + 0.6 * np.sin(plane.x / 90)), "fibrosis")
    fluid = plane.between(top - layers.fluid, top) & (layers.fluid > 0)[None, :]
    plane.fill(fluid, 0.06, "subretinal_fluid")


def _shadows(plane: _Plane, scene: OctScene) -> None:
    """Behind what reflects strongly there is less light."""
    layers = plane.layers
    weight = np.zeros(len(layers.x))
    for bump in scene.of_kind("shrm", "fibrosis", "fibrovascular"):
        weight += 0.13 * ((layers.x >= bump.ends[0]) & (layers.x < bump.ends[1]))
    for oval in scene.ovals:
        if oval.kind == "focus":
            weight += 0.05 * (np.abs(layers.x - oval.x) < oval.a)
    behind = plane.y >= (layers.bruch + 7)[None, :]
    plane.bright -= behind * gaussian_filter1d(weight, 2)[None, :]


def _hyaloid(plane: _Plane, scene: OctScene) -> None:
    """The back of the vitreous: a thin line, free in front of the retina, or fixed to the fovea and pulling."""
    layers = plane.layers
    ilm = layers.inner["ilm"]
    at = float(np.interp(scene.fovea, layers.x, ilm))
    away = np.abs(layers.x - scene.fovea)
    if scene.hyaloid == "attached":
        line = at - 210 * (np.clip(away - 70, 0, None) / 1400) ** 0.75
        line = np.where(away < 70, ilm - 8, np.minimum(line, ilm - 8))
    else:
        line = np.minimum(at - 120, ilm.min() - 60) + 30 * np.cos(away / 900)
    drawn = plane.between(line - 6, line + 6) & (plane.labels == 0)
    plane.fill(drawn, 0.50, "traction" if scene.hyaloid == "attached" else None)


def _expose(scene: OctScene, bright: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    poor = scene.quality == "poor"
    contrast = rng.uniform(0.50, 0.58) if poor else rng.uniform(0.88, 0.96)
    speckle = scene.patient.speckle * (2.2 if poor else 1.0)
    bright = gaussian_filter(bright, (0.4, 0.6))
    grain = gaussian_filter(rng.standard_normal(bright.shape), (0.5, 0.9))
    grain /= grain.std()
    fade = 1 - (0.25 if poor else 0.08) * np.linspace(-1, 1, bright.shape[1])[None, :] ** 2
    tissue = np.clip(bright, 0.02, 1.0)
    picture = (
        contrast * tissue * fade + speckle * grain * (0.55 + 0.6 * np.sqrt(tissue)) + (0.08 if poor else 0.02)
    )
    return np.clip(picture * 255, 0, 255).astype(np.uint8)
