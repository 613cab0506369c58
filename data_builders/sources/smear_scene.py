"""What lies in a phantom blood-smear field: slides, and the cells and artefacts of one field, as numbers.

Nothing is drawn here. Lengths are in pixels of a field 96 pixels wide; the drawing scales them.
Fields of one slide share stain, cell size, density tendency, sharpness and noise, as real ones do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlmalign.records.hashing import derive_seed

Stain = Literal["normal", "pale", "dark"]
Kind = Literal["segmented", "mononuclear"]
Array = NDArray[np.float64]

WIDTH = 96.0
STAINS: tuple[Stain, ...] = ("normal", "pale", "dark")
STAIN_SHARES = (0.5, 0.25, 0.25)
STRENGTH: dict[Stain, tuple[float, float]] = {"normal": (0.88, 1.04), "pale": (0.40, 0.52), "dark": (1.85, 2.35)}
SHARP_SIGMA, BLURRED_SIGMA = (0.0, 0.4), (1.7, 2.5)  # Gaussian blur, pixels; the gap keeps the answer visible
LEUKOCYTE_SHARE = 0.45
PLATELET_COUNTS, PLATELET_SHARES = (0, 1, 2, 3, 4, 5, 6), (0.40, 0.19, 0.16, 0.10, 0.07, 0.05, 0.03)


@dataclass(frozen=True)
class Slide:
    """What the fields of one slide have in common."""

    stain: Stain
    tone: Array  # (3,) factor on the optical density of each colour channel
    light: Array  # (3,) colour of the lamp through an empty slide, 0..1
    cell_radius: float
    ellipticity: float  # largest relative difference of a red cell's axes
    pallor: float  # depth of the pale centre of red cells, 0..1
    density: float  # red-cell cover that its fields scatter around
    blur_share: float  # probability that a field is out of focus
    noise: float  # standard deviation of the sensor noise, 0..1
    jpeg_quality: int
    shading: tuple[float, float, float]  # illumination: slope x, slope y, fall-off to the corners
    dirt: float  # expected number of dark specks in a field


@dataclass(frozen=True)
class Leukocyte:
    """One white cell: its outline and its nucleus."""

    x: float
    y: float
    radius: float
    kind: Kind
    wobble: Array  # (3, 2) cosine and sine amplitudes of the outline's harmonics 2, 3, 4
    lobes: Array  # (n, 3): x, y, radius of each round part of the nucleus, relative to the cell's radius


@dataclass(frozen=True)
class Scene:
    """One field before it is drawn."""

    slide: Slide
    stain: Stain
    strength: float  # factor on every optical density
    blur_sigma: float
    blurred: bool
    red_cells: Array  # (n, 6): x, y, semi-axis a, semi-axis b, angle, pallor
    leukocytes: tuple[Leukocyte, ...]
    platelets: Array  # (n, 6): x, y, semi-axis a, semi-axis b, angle, phase of the ragged edge
    specks: Array  # (n, 3): x, y, radius
    bubbles: Array  # (n, 3): x, y, radius
    texture_seed: int


def sample_slide(seed: int, group: int) -> Slide:
    """Draw the properties of slide `group`; the same whatever else is drawn.

    Example:
        >>> sample_slide(0, 3).density == sample_slide(0, 3).density != sample_slide(0, 4).density
        True
    """
    rng = np.random.default_rng(derive_seed("smear-slide", seed, group))
    return Slide(
        stain=STAINS[rng.choice(3, p=STAIN_SHARES)],
        tone=np.exp(rng.normal(0, 0.07, 3)),
        light=np.clip(np.array([0.93, 0.91, 0.90]) + rng.normal(0, 0.02) + rng.normal(0, 0.012, 3), 0, 0.99),
        cell_radius=rng.uniform(7.2, 9.2),
        ellipticity=rng.uniform(0.05, 0.25),
        pallor=rng.uniform(0.35, 0.75),
        density=rng.uniform(0.03, 0.66),
        blur_share=0.75 if rng.random() < 0.2 else 0.125,
        noise=rng.uniform(0.008, 0.03),
        jpeg_quality=int(rng.integers(55, 92)),
        shading=(rng.normal(0, 0.05), rng.normal(0, 0.05), rng.uniform(0, 0.10)),
        dirt=rng.choice([0.3, 1.0, 3.0], p=[0.5, 0.3, 0.2]),
    )


def sample_scene(seed: int, group: int, field: int) -> Scene:
    """Draw the content of field `field` of slide `group`.

    Example:
        >>> scene = sample_scene(0, 0, 1)
        >>> scene.red_cells.shape[1], len(scene.leukocytes) <= 3
        (6, True)
    """
    slide = sample_slide(seed, group)
    rng = np.random.default_rng(derive_seed("smear-field", seed, group, field))
    stain = slide.stain if rng.random() > 0.15 else STAINS[rng.choice(3, p=STAIN_SHARES)]
    blurred = bool(rng.random() < slide.blur_share)
    leukocytes = _leukocytes(rng)
    platelets = int(rng.choice(PLATELET_COUNTS, p=PLATELET_SHARES))
    cover = float(np.clip(slide.density + rng.normal(0, 0.05), 0.02, 0.68))
    red_cells = _red_cells(rng, slide, cover, leukocytes)
    return Scene(
        slide=slide,
        stain=stain,
        strength=rng.uniform(*STRENGTH[stain]),
        blur_sigma=rng.uniform(*(BLURRED_SIGMA if blurred else SHARP_SIGMA)),
        blurred=blurred,
        red_cells=red_cells,
        leukocytes=leukocytes,
        platelets=_platelets(rng, platelets, red_cells, leukocytes),
        specks=_specks(rng, slide.dirt),
        bubbles=_bubbles(rng),
        texture_seed=int(rng.integers(2**62)),
    )


def _leukocytes(rng: np.random.Generator) -> tuple[Leukocyte, ...]:
    """Cells of one kind, well inside the field; rarely also a sliver at the border, which nobody counts."""
    found: list[Leukocyte] = []
    kind: Kind = "segmented" if rng.random() < 0.52 else "mononuclear"
    if rng.random() < LEUKOCYTE_SHARE:
        found.append(_leukocyte(rng, kind, sliver=False))
        second = _leukocyte(rng, kind, sliver=False)
        if rng.random() < 0.12 and _gap(found[0], second) > 1:
            found.append(second)
    if rng.random() < 0.05:
        sliver = _leukocyte(rng, kind, sliver=True)
        if all(_gap(cell, sliver) > 1 for cell in found):
            found.append(sliver)
    return tuple(found)


def _gap(one: Leukocyte, other: Leukocyte) -> float:
    return float(np.hypot(one.x - other.x, one.y - other.y)) - one.radius - other.radius


def _leukocyte(rng: np.random.Generator, kind: Kind, *, sliver: bool) -> Leukocyte:
    radius = rng.uniform(14.5, 18) if kind == "segmented" else rng.uniform(12, 16)
    x, y = rng.uniform(0.45 * radius, WIDTH - 0.45 * radius, 2)
    if sliver:
        outside = rng.uniform(0.5, 0.75) * radius
        x = -outside if rng.random() < 0.5 else WIDTH + outside
        if rng.random() < 0.5:
            x, y = y, x
    return Leukocyte(
        x=float(x),
        y=float(y),
        radius=radius,
        kind=kind,
        wobble=rng.normal(0, 1, (3, 2)) * np.array([[0.035], [0.02], [0.012]]),
        lobes=_lobes(rng, kind),
    )


def _lobes(rng: np.random.Generator, kind: Kind) -> Array:
    if kind == "mononuclear":
        radius = rng.uniform(0.68, 0.82)
        angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.9) * (0.93 - radius)
        return np.array([[shift * np.cos(angle), shift * np.sin(angle), radius]])
    n = int(rng.choice([2, 3, 4], p=[0.3, 0.45, 0.25]))
    spacing, size = {2: (2.4, 0.39), 3: (1.80, 0.33), 4: (1.45, 0.285)}[n]
    angles = rng.uniform(0, 2 * np.pi) + spacing * np.arange(n) + rng.normal(0, 0.06, n)
    distance = 0.50 + rng.normal(0, 0.025, n)
    return np.stack([distance * np.cos(angles), distance * np.sin(angles), size * rng.uniform(0.92, 1.1, n)], 1)


def _red_cells(rng: np.random.Generator, slide: Slide, cover: float, leukocytes: tuple[Leukocyte, ...]) -> Array:
    """Sequential placement: cells may touch and overlap a little, until the wanted cover is reached."""
    n = 420
    edge = slide.cell_radius
    x, y = rng.uniform(-edge, WIDTH + edge, (2, n))
    a = slide.cell_radius * np.exp(rng.normal(0, 0.06, n))
    b = a * (1 - rng.uniform(0, slide.ellipticity, n))
    cells = np.stack([x, y, a, b, rng.uniform(0, np.pi, n), slide.pallor * rng.uniform(0.8, 1.2, n)], 1)
    radius = np.sqrt(a * b)
    free = np.ones(n, dtype=bool)
    for cell in leukocytes:
        free &= np.hypot(x - cell.x, y - cell.y) > 0.97 * (radius + cell.radius)
    wanted = cover * (WIDTH + 2 * edge) ** 2  # cells also lie across the border: the density outside counts
    chosen: list[int] = []
    while wanted > 0 and free.any():
        index = int(np.argmax(free))
        area = np.pi * a[index] * b[index]
        if wanted < area and rng.random() > wanted / area:
            break
        chosen.append(index)
        wanted -= area
        free &= np.hypot(x - x[index], y - y[index]) > 0.84 * (radius + radius[index])
    return cells[chosen]


def _platelets(rng: np.random.Generator, count: int, red_cells: Array, leukocytes: tuple[Leukocyte, ...]) -> Array:
    """Platelets apart from each other and off leukocytes; in crowded fields one may lie on a red cell."""
    n = 80
    a = rng.uniform(3.3, 4.5, n)
    b = a * rng.uniform(0.8, 1.0, n)
    x, y = rng.uniform(a + 0.5, WIDTH - a - 0.5, (2, n))
    cells = np.stack([x, y, a, b, rng.uniform(0, np.pi, n), rng.uniform(0, 2 * np.pi, n)], 1)
    free = np.ones(n, dtype=bool)
    for cell in leukocytes:
        free &= np.hypot(x - cell.x, y - cell.y) > 1.1 * cell.radius + a + 1
    room = np.full(n, np.inf)
    if len(red_cells):
        to_cells = np.hypot(x[:, None] - red_cells[:, 0], y[:, None] - red_cells[:, 1]) - red_cells[:, 2]
        room = to_cells.min(1) - a
    order = np.argsort(room < 0.5, kind="stable")  # candidates clear of red cells come first
    chosen: list[int] = []
    for index in order:
        if len(chosen) == count:
            break
        if free[index]:
            chosen.append(int(index))
            free &= np.hypot(x - x[index], y - y[index]) > 1.2 * (a + a[index]) + 2
    return cells[chosen]


def _specks(rng: np.random.Generator, expected: float) -> Array:
    """Stain precipitate: dots smaller and blacker than platelets, single or in a small cluster."""
    n = int(rng.poisson(expected))
    specks = np.concatenate([rng.uniform(1, WIDTH - 1, (n, 2)), rng.uniform(0.7, 1.4, (n, 1))], 1)
    if rng.random() < 0.06:
        m = int(rng.integers(4, 9))
        spot = rng.uniform(8, WIDTH - 8, 2) + rng.normal(0, 3, (m, 2))
        specks = np.concatenate([specks, np.concatenate([spot, rng.uniform(0.5, 1.0, (m, 1))], 1)])
    return specks


def _bubbles(rng: np.random.Generator) -> Array:
    n = int(rng.random() < 0.07)
    return np.concatenate([rng.uniform(0, WIDTH, (n, 2)), rng.uniform(5, 13, (n, 1))], 1)
