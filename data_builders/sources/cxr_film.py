"""The sheet on which a phantom chest film is drawn: densities, masks, and the way from them to a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from data_builders.sources.cxr_anatomy import Course, Floats
from data_builders.sources.cxr_scene import WIDTH, Scene

OVERSAMPLE = 2
GLYPHS = {
    "L": "1000 1000 1000 1000 1111", "P": "1110 1001 1110 1000 1000", "A": "0110 1001 1111 1001 1001",
    "E": "1111 1000 1110 1000 1111", "R": "1110 1001 1110 1010 1001", "C": "0111 1000 1000 1000 0111",
    "T": "1111 0110 0110 0110 0110", "S": "0111 1000 0110 0001 1110", "U": "1001 1001 1001 1001 0110",
    "I": "0110 0110 0110 0110 0110", "N": "1001 1101 1011 1001 1001", " ": "0000 0000 0000 0000 0000",
}  # fmt: skip
Mask = NDArray[np.bool_]


class Film:
    """Sum of densities, and masks of what was put in, at OVERSAMPLE times the size."""

    def __init__(self, size: int) -> None:
        self.side = OVERSAMPLE * size
        self.scale = self.side / WIDTH
        axis = ((np.arange(self.side) + 0.5) / self.scale).astype(np.float32)
        self.x, self.y = axis[None, :], axis[:, None]
        self.density = np.zeros((self.side, self.side), dtype=np.float32)
        self.shapes: dict[str, Floats] = {}

    def claim(self, name: str, shape: Floats) -> None:
        """Mark where a finding lies."""
        shape = np.broadcast_to(shape, self.density.shape)
        self.shapes[name] = np.maximum(self.shapes[name], shape) if name in self.shapes else shape

    def lines(self, courses: list[Course], width: float, blur: float = 0.5) -> Floats:
        """Lines of that width, 0 to 1."""
        paper = Image.new("L", (self.side, self.side))
        pen, dots = ImageDraw.Draw(paper), max(1, round(width * self.scale))
        for course in courses:
            pen.line([(x, y) for x, y in (course * self.scale).tolist()], fill=255, width=dots, joint="curve")
        drawn = np.asarray(paper, dtype=np.float32) / 255
        return np.asarray(gaussian_filter(drawn, blur * self.scale))

    def device(self, name: str, course: Course, width: float, density: float) -> None:
        """A line, tube or lead, and its mask."""
        shape = self.lines([course], width, 0.25)
        self.density += density * shape
        self.claim(name, shape / max(float(shape.max()), 0.1))


def soft(distance: Floats, width: float = 0.8) -> Floats:
    """1 inside, 0 outside, with an edge `width` film pixels wide; `distance` > 0 is inside.

    Example:
        >>> soft(np.array([-1.0, 0.0, 0.2, 1.0])).tolist()
        [0.0, 0.5, 0.75, 1.0]
    """
    return np.clip(distance / width + 0.5, 0, 1)


def covered(shape: Floats) -> Mask:
    """Pixels of the final picture of which at least half is covered: (kH, kW) to (H, W), k = OVERSAMPLE.

    Example:
        >>> covered(np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])).tolist()
        [[True, False]]
    """
    k = OVERSAMPLE
    return np.asarray(sum(shape[i::k, j::k] for i in range(k) for j in range(k)) / (k * k) >= 0.5)


def noise(rng: np.random.Generator, film: Film, grain: float) -> Floats:
    """Smooth noise of unit standard deviation; `grain` in film pixels."""
    coarse = max(4, round(WIDTH / grain))
    field = rng.standard_normal((coarse, coarse), dtype=np.float32)
    return np.asarray(Image.fromarray(field).resize((film.side, film.side), Image.Resampling.BICUBIC)) * 1.4


def expose(film: Film, scene: Scene, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """From densities to the picture: exposure, blur, noise and markers; (size, size)."""
    bright = 1 - np.exp(-scene.person.exposure * np.clip(film.density, 0.02, None))
    k = OVERSAMPLE
    seen = np.asarray(sum(bright[i::k, j::k] for i in range(k) for j in range(k)) / (k * k))
    seen = gaussian_filter(seen, 0.35 * size / WIDTH)
    seen = seen + scene.person.noise * rng.standard_normal(seen.shape)
    _write(seen, scene.projection.upper() + " " + scene.position.upper(), 0.02, size)
    _write(seen, "L", 0.93, size)
    return np.clip(seen * 255, 0, 255).astype(np.uint8)


def _write(seen: Floats, text: str, left: float, size: int) -> None:
    """Letters four by five dots in a top corner."""
    dot, x = max(1, round(size / WIDTH)), round(left * size)
    for letter in text:
        for row, dots in enumerate(GLYPHS[letter].split()):
            for column, on in enumerate(dots):
                if on == "1":
                    y0, x0 = (4 + row) * dot, x + column * dot
                    seen[y0 : y0 + dot, x0 : x0 + dot] = 0.97
        x += 5 * dot
