"""What lies in a phantom field of a bone marrow aspirate: the aspirate, and the cells of one field, as numbers.

Nothing is drawn here. Lengths are in units of a field 224 units wide, about 0.85 units to the micrometre, so
that kinds of cells keep their relative sizes. Fields of one aspirate share its disease, composition and stain.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlmalign.clinical import load_logic
from vlmalign.clinical.shares import Share
from vlmalign.records.hashing import derive_seed

Disease = Literal["normal", "aml", "excess_blasts", "plasma_cell_neoplasm"]
Content = Literal["adequate", "blood", "clot"]
Array = NDArray[np.float64]

WIDTH = 224.0
CLEAR = 0.82  # posterior probability of a share's band in a field, at least: `answers_from_findings` asks 0.8
DISEASES: tuple[Disease, ...] = ("normal", "aml", "excess_blasts", "plasma_cell_neoplasm")
DISEASE_SHARES = (0.31, 0.23, 0.23, 0.23)
CONTENTS: tuple[Content, ...] = ("adequate", "blood", "clot")
BANDS: dict[Disease, tuple[str, str]] = {  # of blasts and plasma cells in an adequate field
    "normal": ("normal", "normal"),
    "aml": ("twenty_or_more", "normal"),
    "excess_blasts": ("increased", "normal"),
    "plasma_cell_neoplasm": ("normal", "ten_or_more"),
}
BLAST_SHARE = {"normal": (0.0, 0.03), "aml": (0.27, 0.85), "excess_blasts": (0.08, 0.15)}
PLASMA_SHARE = (0.18, 0.75)
KINDS: dict[str, tuple[float, float]] = {  # nucleated cells with the range of their radius
    "blast": (8.8, 11.0),
    "plasma_cell": (8.0, 9.8),
    "segmented": (7.4, 8.6),
    "eosinophil": (7.6, 8.8),
    "band": (7.6, 8.8),
    "myelocyte": (8.4, 10.2),
    "erythroblast": (5.4, 6.8),
    "lymphocyte": (5.2, 6.2),
}
OTHERS = {
    "segmented": 0.22,
    "eosinophil": 0.04,
    "band": 0.20,
    "myelocyte": 0.16,
    "erythroblast": 0.24,
    "lymphocyte": 0.14,
}
SMALLEST, LARGEST = 44, 60  # nucleated cells of an adequate field


@dataclass(frozen=True)
class Aspirate:
    """What the fields of one simulated aspirate have in common."""

    disease: Disease
    shares: dict[str, float]  # kind to its share of the nucleated cells; sums to 1
    content_shares: tuple[float, float, float]  # of fields: adequate, blood, clot
    strength: float  # factor on every optical density
    tone: Array  # (3,) factor on the optical density of each colour channel
    light: Array  # (3,) colour of the lamp through an empty slide, 0..1
    red_radius: float
    pallor: float  # depth of the pale centre of red cells, 0..1
    red_cover: float  # part of the room between nucleated cells that red cells take
    noise: float  # standard deviation of the sensor noise, 0..1
    jpeg_quality: int
    shading: tuple[float, float, float]  # illumination: slope x, slope y, fall-off to the corners


@dataclass(frozen=True)
class MarrowCell:
    """One nucleated cell: its outline and its nucleus."""

    kind: str
    x: float
    y: float
    radius: float
    stretch: float  # long to short axis of the outline
    angle: float  # of the long axis, and of the nucleus
    wobble: Array  # (3, 2) cosine and sine amplitudes of the outline's harmonics 2, 3, 4
    lobes: Array  # (n, 3): x, y, radius of each round part of the nucleus, relative to the cell's radius
    spots: Array  # (m, 3): nucleoli, relative to the cell's radius


@dataclass(frozen=True)
class MarrowScene:
    """One field before it is drawn."""

    aspirate: Aspirate
    content: Content
    cells: tuple[MarrowCell, ...]
    red_cells: Array  # (n, 6): x, y, semi-axis a, semi-axis b, angle, pallor
    platelets: Array  # (n, 4): x, y, radius, phase
    texture_seed: int

    def count(self, *kinds: str) -> int:
        """How many nucleated cells of these kinds there are; of all kinds if none is named."""
        return sum(not kinds or cell.kind in kinds for cell in self.cells)

    @property
    def answers(self) -> dict[str, str]:
        """What the field was made to show: the observed concepts of `bone_marrow`."""
        if self.content != "adequate":
            return {"content": self.content, "blasts": "inadequate", "plasma_cells": "inadequate"}
        blasts, plasma_cells = BANDS[self.aspirate.disease]
        return {"content": "adequate", "blasts": blasts, "plasma_cells": plasma_cells}


def sample_aspirate(seed: int, group: int) -> Aspirate:
    """Draw the properties of aspirate `group`; the same whatever else is drawn.

    Example:
        >>> sample_aspirate(0, 3).strength == sample_aspirate(0, 3).strength != sample_aspirate(0, 4).strength
        True
    """
    rng = np.random.default_rng(derive_seed("marrow-aspirate", seed, group))
    disease = DISEASES[rng.choice(len(DISEASES), p=DISEASE_SHARES)]
    blasts = rng.uniform(*BLAST_SHARE.get(disease, BLAST_SHARE["normal"]))
    plasma_cells = rng.uniform(*PLASMA_SHARE) if disease == "plasma_cell_neoplasm" else rng.uniform(0, 0.03)
    others = rng.dirichlet(60 * np.array([*OTHERS.values()])) * (1 - blasts - plasma_cells)
    poor = rng.choice([0.1, 0.3, 0.6], p=[0.5, 0.35, 0.15])  # most aspirates are good, some hardly
    blood = poor * rng.choice([0.25, 0.5, 0.75])
    return Aspirate(
        disease=disease,
        shares={"blast": blasts, "plasma_cell": plasma_cells, **dict(zip(OTHERS, others.tolist(), strict=True))},
        content_shares=(1 - poor, blood, poor - blood),
        strength=rng.uniform(0.8, 1.15),
        tone=np.exp(rng.normal(0, 0.06, 3)),
        light=np.clip(np.array([0.95, 0.93, 0.94]) + rng.normal(0, 0.015) + rng.normal(0, 0.01, 3), 0, 0.99),
        red_radius=rng.uniform(4.6, 5.6),
        pallor=rng.uniform(0.3, 0.6),
        red_cover=rng.uniform(0.25, 0.65),
        noise=rng.uniform(0.006, 0.02),
        jpeg_quality=int(rng.integers(70, 95)),
        shading=(rng.normal(0, 0.03), rng.normal(0, 0.03), rng.uniform(0, 0.08)),
    )


@cache
def clear_counts(concept: str, band: str, total: int) -> tuple[int, ...]:
    """Numbers k of `total` cells whose share lies in the band, and is settled to lie there by so many cells.

    Settled is a band of probability CLEAR under Beta(k + 1/2, total - k + 1/2), see `Share.band_probabilities`.

    Example:
        >>> clear_counts("blasts", "increased", 50)
        (4, 5, 6, 7)
    """
    measurement = load_logic("bone_marrow").concepts[concept].measurement
    assert measurement is not None
    return tuple(
        k
        for k in range(total + 1)
        if measurement.band(k / total) == band
        and Share(k, total).band_probabilities(measurement.bands)[band] >= CLEAR
    )


def sample_marrow(seed: int, group: int, field: int) -> MarrowScene:
    """Draw the content of field `field` of aspirate `group`.

    An adequate field shows its aspirate's disease: the share of blasts and of plasma cells is clear from the
    cells of this one field (`clear_counts`).

    Example:
        >>> scene = sample_marrow(0, 1, 0)
        >>> scene.content, SMALLEST <= scene.count() <= LARGEST
        ('adequate', True)
    """
    aspirate = sample_aspirate(seed, group)
    rng = np.random.default_rng(derive_seed("marrow-field", seed, group, field))
    content = CONTENTS[rng.choice(3, p=aspirate.content_shares)]
    if content == "adequate":
        cells = _place(rng, _kinds(rng, aspirate, int(rng.integers(SMALLEST, LARGEST + 1))))
    else:
        few = rng.choice(["segmented", "lymphocyte", "band"], size=rng.integers(0, 4), p=[0.6, 0.3, 0.1])
        cells = _place(rng, few.tolist())
    return MarrowScene(
        aspirate=aspirate,
        content=content,
        cells=cells,
        red_cells=_red_cells(rng, aspirate, content, cells),
        platelets=_platelets(rng, content, cells),
        texture_seed=int(rng.integers(2**62)),
    )


def _kinds(rng: np.random.Generator, aspirate: Aspirate, total: int) -> list[str]:
    """Kinds of `total` cells: binomial counts around the aspirate's shares, moved to the nearest clear count."""
    counts: dict[str, int] = {}
    for kind, concept, band in zip(
        ("blast", "plasma_cell"), ("blasts", "plasma_cells"), BANDS[aspirate.disease], strict=True
    ):
        drawn = int(rng.binomial(total, aspirate.shares[kind]))
        counts[kind] = min(clear_counts(concept, band, total), key=lambda k: abs(k - drawn))
    left = total - sum(counts.values())
    weights = np.array([aspirate.shares[kind] for kind in OTHERS])
    counts.update(zip(OTHERS, rng.multinomial(left, weights / weights.sum()).tolist(), strict=True))
    return [kind for kind, count in counts.items() for _ in range(count)]


def _place(rng: np.random.Generator, kinds: list[str]) -> tuple[MarrowCell, ...]:
    """Cells at random places, the largest first, which never touch; more than half of each is in the field."""
    radii = [rng.uniform(*KINDS[kind]) for kind in kinds]
    placed: list[tuple[float, float, float]] = []
    cells = []
    for index in np.argsort(radii)[::-1]:
        x, y, radius = _free_spot(rng, radii[index], np.array(placed).reshape(-1, 3))
        placed.append((x, y, radius))
        cells.append(_cell(rng, kinds[index], x, y, radius))
    return tuple(cells)


def _free_spot(rng: np.random.Generator, radius: float, placed: Array) -> tuple[float, float, float]:
    """A point at random whose disc is a tenth of the radius off all others; in a crowd the cell is smaller."""
    for tries in itertools.count(1):
        x, y = rng.uniform(0.35 * radius, WIDTH - 0.35 * radius, (2, 64))
        room = np.hypot(x[:, None] - placed[:, 0], y[:, None] - placed[:, 1]) - 1.1 * placed[:, 2]
        free = np.flatnonzero((room > 1.1 * radius + 1).all(1))
        if len(free):
            return float(x[free[0]]), float(y[free[0]]), radius
        if tries % 8 == 0:
            radius *= 0.95
    raise AssertionError("unreachable: a radius near zero fits")


def _cell(rng: np.random.Generator, kind: str, x: float, y: float, radius: float) -> MarrowCell:
    ragged = {"blast": 1.0, "plasma_cell": 0.4, "erythroblast": 0.5, "lymphocyte": 0.5}.get(kind, 0.8)
    lobes = _lobes(rng, kind)
    spots = np.zeros((0, 3))
    if kind == "blast":
        n = int(rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15]))
        angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi / n * np.arange(n) + rng.normal(0, 0.3, n)
        off = rng.uniform(0.2, 0.45, n) * lobes[0, 2]
        spots = np.stack(
            [lobes[0, 0] + off * np.cos(angles), lobes[0, 1] + off * np.sin(angles), rng.uniform(0.13, 0.19, n)], 1
        )
    return MarrowCell(
        kind=kind,
        x=x,
        y=y,
        radius=radius,
        stretch=rng.uniform(1.15, 1.3) if kind == "plasma_cell" else rng.uniform(1.0, 1.08),
        angle=rng.uniform(0, 2 * np.pi),
        wobble=rng.normal(0, 1, (3, 2)) * np.array([[0.022], [0.016], [0.010]]) * ragged,
        lobes=lobes,
        spots=spots,
    )


def _lobes(rng: np.random.Generator, kind: str) -> Array:
    """Round parts of the nucleus, in the cell's own axes: x along its long axis."""
    if kind in ("segmented", "eosinophil"):
        n = 2 if kind == "eosinophil" else int(rng.choice([3, 4, 5], p=[0.4, 0.4, 0.2]))
        spacing, size = {2: (2.2, 0.36), 3: (1.75, 0.30), 4: (1.42, 0.26), 5: (1.2, 0.235)}[n]
        angles = spacing * (np.arange(n) - (n - 1) / 2) + rng.normal(0, 0.08, n)
        distance = 0.47 + rng.normal(0, 0.03, n)
        return np.stack([distance * np.cos(angles), distance * np.sin(angles), size * rng.uniform(0.9, 1.1, n)], 1)
    if kind == "band":  # one horseshoe
        angles = np.linspace(-1.5, 1.5, 7) * rng.uniform(0.85, 1.1)
        return np.stack([0.48 * np.cos(angles), 0.48 * np.sin(angles), np.full(7, rng.uniform(0.20, 0.25))], 1)
    radius, shift = {
        "blast": (rng.uniform(0.80, 0.86), rng.uniform(0.0, 0.09)),
        "plasma_cell": (rng.uniform(0.48, 0.54), rng.uniform(0.42, 0.47)),
        "myelocyte": (rng.uniform(0.55, 0.62), rng.uniform(0.22, 0.32)),
        "erythroblast": (rng.uniform(0.56, 0.68), rng.uniform(0.0, 0.12)),
        "lymphocyte": (rng.uniform(0.80, 0.86), rng.uniform(0.0, 0.08)),
    }[kind]
    return np.array([[shift, 0.0, radius]])


def _red_cells(
    rng: np.random.Generator, aspirate: Aspirate, content: Content, cells: tuple[MarrowCell, ...]
) -> Array:
    """Red cells between the others; in blood they are many, in a clot they are heaped on each other."""
    n = 1500
    edge = aspirate.red_radius
    x, y = rng.uniform(-edge, WIDTH + edge, (2, n))
    a = edge * np.exp(rng.normal(0, 0.06, n))
    b = a * (1 - rng.uniform(0, 0.2, n))
    found = np.stack([x, y, a, b, rng.uniform(0, np.pi, n), aspirate.pallor * rng.uniform(0.8, 1.2, n)], 1)
    apart = 0.55 if content == "clot" else 0.90
    free = np.ones(n, dtype=bool)
    taken = 0.0
    for cell in cells:
        free &= np.hypot(x - cell.x, y - cell.y) > a + 1.08 * cell.radius * np.sqrt(cell.stretch)
        taken += np.pi * cell.radius**2
    cover = {"adequate": 0.6 * aspirate.red_cover, "blood": 0.50 + 0.25 * aspirate.red_cover, "clot": 0.5}[content]
    wanted = cover * (WIDTH**2 - taken)
    chosen: list[int] = []
    while wanted > 0 and free.any():
        index = int(np.argmax(free))
        chosen.append(index)
        wanted -= np.pi * a[index] * b[index]
        free &= np.hypot(x - x[index], y - y[index]) > apart * (a + a[index])
    return found[chosen]


def _platelets(rng: np.random.Generator, content: Content, cells: tuple[MarrowCell, ...]) -> Array:
    n = int(rng.poisson({"adequate": 3.0, "blood": 5.0, "clot": 0.0}[content]))
    x, y = rng.uniform(3, WIDTH - 3, (2, n))
    found = np.stack([x, y, rng.uniform(1.5, 2.3, n), rng.uniform(0, 2 * np.pi, n)], 1)
    clear = [all(np.hypot(p[0] - c.x, p[1] - c.y) > 1.3 * c.radius + 3 for c in cells) for p in found]
    return found[np.array(clear, dtype=bool)]
