"""What lies in a phantom OCT scan of the macula: a patient's eyes, and the structures of one scan, as numbers.

Nothing is drawn here. Lengths are in micrometres of a scan 3000 um wide and 1200 um deep; x runs from left to
right, y downwards. Bruch's membrane is a smooth curve; everything else is measured from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_builders.sources.oct_signs import STAGE_SHARES, STAGES, Stage, sample_signs
from vlmalign.records.hashing import derive_seed

Eye = Literal["right", "left"]
Array = NDArray[np.float64]

WIDTH, HEIGHT = 3000.0, 1200.0
EYES: tuple[Eye, ...] = ("right", "left")
DRUSEN_WIDTH = {"small": (36.0, 54.0), "medium": (74.0, 114.0), "large": (138.0, 300.0)}  # clear of 63 and 125
HYPERTRANSMISSION_WIDTH = {"small": (90.0, 230.0), "large": (275.0, 650.0)}  # clear of 250
UNEVEN, RAISED = 10.0, 60.0  # um that the pigment epithelium rises: a small, a large irregularity
POOR_SHARE = 0.13


@dataclass(frozen=True)
class Patient:
    """What the scans of one simulated patient have in common."""

    stages: dict[Eye, Stage]
    signs: dict[Eye, dict[str, str]]
    thickness: float  # factor on the thickness of the retina
    choroid: float  # thickness of the choroid, um
    bow: float  # how far the middle lies below the ends, um
    speckle: float  # standard deviation of the speckle on the display's scale, 0..1


@dataclass(frozen=True)
class Bump:
    """A structure that lies on Bruch's membrane, or on what lies there, and so lifts the retina (or a gap)."""

    kind: str  # druse | serous | drusenoid | fibrovascular | double_layer | uneven | shrm | fibrosis | fluid | gap
    x: float
    width: float
    height: float
    phase: float

    @property
    def ends(self) -> tuple[float, float]:
        """Left and right end, um."""
        return self.x - self.width / 2, self.x + self.width / 2


@dataclass(frozen=True)
class Oval:
    """A structure within the retina."""

    kind: str  # cyst | pseudocyst | tube | focus
    x: float
    a: float  # half width
    b: float  # half height
    depth: float  # of a focus: 0 at the bottom of the inner retina, 1 at the photoreceptors


@dataclass(frozen=True)
class OctScene:
    """One scan before it is drawn."""

    patient: Patient
    eye: Eye
    stage: Stage
    quality: Literal["good", "poor"]
    signs: dict[str, str]  # as they are drawn: with the irregularity that follows from the bumps
    fovea: float  # x of the foveal pit
    level: float  # y of Bruch's membrane in the middle
    tilt: float  # um from end to end
    bumps: tuple[Bump, ...]
    ovals: tuple[Oval, ...]
    thinned: tuple[tuple[float, float], ...]  # where the outer retina is thin
    hyaloid: Literal["attached", "detached", "none"]
    vessels: Array  # (n, 3): x, y as part of the choroid's thickness, radius
    texture_seed: int

    @property
    def answers(self) -> dict[str, str]:
        """What the scan was made to show: the observed concepts of `amd_oct`."""
        return {"eye": self.eye, "quality": self.quality, **self.signs}

    def of_kind(self, *kinds: str) -> tuple[Bump, ...]:
        """The bumps of these kinds."""
        return tuple(bump for bump in self.bumps if bump.kind in kinds)

    def largest(self, *kinds: str) -> float:
        """Width of the widest bump of these kinds; 0 where there is none."""
        return max((bump.width for bump in self.of_kind(*kinds)), default=0.0)

    def highest(self, *kinds: str) -> float:
        """Height of the highest bump of these kinds; 0 where there is none."""
        return max((bump.height for bump in self.of_kind(*kinds)), default=0.0)

    @property
    def rise(self) -> float:
        """How far the pigment epithelium rises at most, um."""
        return self.highest("druse", "serous", "drusenoid", "fibrovascular", "double_layer", "uneven")


def sample_patient(seed: int, group: int) -> Patient:
    """Draw patient `group`; the second eye often has the stage of the first.

    Example:
        >>> patient = sample_patient(0, 0)
        >>> sorted(patient.stages), sample_patient(0, 0) == patient
        (['left', 'right'], True)
    """
    rng = np.random.default_rng(derive_seed("oct-patient", seed, group))
    first, other = (STAGES[rng.choice(len(STAGES), p=STAGE_SHARES)] for _ in EYES)
    second = first if rng.random() < 0.35 else other
    stages: dict[Eye, Stage] = dict(
        zip(EYES, (first, second) if rng.random() < 0.5 else (second, first), strict=True)
    )
    return Patient(
        stages=stages,
        signs={eye: sample_signs(rng, stage) for eye, stage in stages.items()},
        thickness=rng.uniform(0.92, 1.06),
        choroid=rng.uniform(170, 290),
        bow=rng.uniform(5, 45),
        speckle=rng.uniform(0.045, 0.075),
    )


def sample_oct(seed: int, group: int, eye: Eye, scan: int) -> OctScene:
    """Draw scan number `scan` of an eye: its signs are the eye's, their places and sizes the scan's own.

    Example:
        >>> scene = sample_oct(0, 0, "left", 0)
        >>> scene.stage == scene.patient.stages["left"], scene.answers["eye"]
        (True, 'left')
    """
    patient = sample_patient(seed, group)
    rng = np.random.default_rng(derive_seed("oct-scan", seed, group, eye, scan))
    signs = dict(patient.signs[eye])
    fovea = WIDTH / 2 + rng.uniform(-250, 250)
    bumps = _bumps(rng, signs, fovea)
    thinned: tuple[tuple[float, float], ...] = ()
    if signs["outer_retina"] == "thinned":
        thinned = tuple((b.ends[0] - 60, b.ends[1] + 60) for b in bumps if b.kind in ("gap", "fibrosis"))
    scene = OctScene(
        patient=patient,
        eye=eye,
        stage=patient.stages[eye],
        quality="poor" if rng.random() < POOR_SHARE else "good",
        signs=signs,
        fovea=fovea,
        level=rng.uniform(800, 840),
        tilt=rng.normal(0, 30),
        bumps=bumps,
        ovals=_ovals(rng, signs, bumps, thinned, fovea),
        thinned=thinned,
        hyaloid="attached" if signs["traction"] == "present" else "detached" if rng.random() < 0.3 else "none",
        vessels=_vessels(rng),
        texture_seed=int(rng.integers(2**62)),
    )
    signs["rpe_irregularity"] = "large" if scene.rise > RAISED else "small" if scene.rise > UNEVEN else "none"
    return scene


def _bumps(rng: np.random.Generator, signs: dict[str, str], fovea: float) -> tuple[Bump, ...]:
    """Side by side along the scan: lesions, gaps and drusen; more drusen between them; fluid over a lesion."""
    wide: list[tuple[str, float, float]] = []  # kind, width, height
    ped = {"serous": (110, 190), "drusenoid": (75, 130), "fibrovascular": (80, 150)}.get(signs["ped"])
    if ped is not None:
        wide.append((signs["ped"], rng.uniform(450, 850), rng.uniform(*ped)))
    if signs["double_layer_sign"] == "present":
        wide.append(("double_layer", rng.uniform(500, 800), rng.uniform(26, 42)))
    if signs["shrm"] == "present":
        wide.append(("shrm", rng.uniform(350, 600), rng.uniform(60, 100)))
    if signs["fibrosis"] == "present":
        wide.append(("fibrosis", rng.uniform(450, 750), rng.uniform(60, 110)))
    if not wide and rng.random() < 0.25:
        wide.append(("uneven", rng.uniform(400, 900), rng.uniform(14, 24)))
    exact: list[tuple[str, float, float]] = []
    if signs["hypertransmission"] != "none":
        exact.append(("gap", rng.uniform(*HYPERTRANSMISSION_WIDTH[signs["hypertransmission"]]), 0.0))
    if signs["drusen"] != "none":
        exact.append(("druse", *_druse(rng, signs["drusen"])))
    room = 2300 - sum(width for _, width, _ in exact)
    shrunk = min(1.0, room / max(sum(width for _, width, _ in wide), 1.0))
    items = exact + [(kind, width * shrunk, height) for kind, width, height in wide]
    bumps = _side_by_side(rng, [items[i] for i in rng.permutation(len(items))])
    if signs["drusen"] != "none":
        bumps += _more_drusen(rng, signs["drusen"], bumps)
    if signs["subretinal_fluid"] == "present":
        bumps.append(_fluid(rng, bumps, fovea))
    return tuple(bumps)


def _druse(rng: np.random.Generator, size: str) -> tuple[float, float]:
    """Width and height; heights leave out what lies about the limit of a large irregularity."""
    height = {"small": (15, 26), "medium": (26, 46), "large": (42, 54)}[size]
    if size == "large" and rng.random() < 0.5:
        height = (68, 105)
    return rng.uniform(*DRUSEN_WIDTH[size]), rng.uniform(*height)


def _side_by_side(rng: np.random.Generator, items: list[tuple[str, float, float]]) -> list[Bump]:
    """The items in this order, with random gaps of at least 70 um; those in the middle near the fovea."""
    spare = WIDTH - 2 * 120 - sum(width for _, width, _ in items) - 70 * len(items)
    gaps = rng.dirichlet([3.0] + [0.7] * (len(items) - 1) + [3.0]) * spare if items else np.zeros(1)
    x, bumps = 120.0, []
    for (kind, width, height), gap in zip(items, gaps, strict=False):
        x += gap + 35
        bumps.append(Bump(kind, float(x + width / 2), float(width), float(height), rng.uniform(0, 2 * np.pi)))
        x += width + 35
    return bumps


def _more_drusen(rng: np.random.Generator, size: str, bumps: list[Bump]) -> list[Bump]:
    """Drusen smaller than the largest one, clear of everything else."""
    sizes = ["small", "medium", "large"][: ["small", "medium", "large"].index(size) + 1]
    largest = next(bump.width for bump in bumps if bump.kind == "druse")
    found: list[Bump] = []
    for _ in range(int(rng.integers(0, 8))):
        width, height = _druse(rng, str(rng.choice(sizes)))
        x = rng.uniform(120 + width, WIDTH - 120 - width)
        apart = (abs(x - other.x) > (width + other.width) / 2 + 45 for other in [*bumps, *found])
        if width <= largest and all(apart):
            found.append(Bump("druse", float(x), width, height, 0.0))
    return found


def _fluid(rng: np.random.Generator, bumps: list[Bump], fovea: float) -> Bump:
    lesions = [b for b in bumps if b.kind not in ("druse", "gap", "uneven")]
    x = lesions[int(rng.integers(len(lesions)))].x + rng.uniform(-200, 200) if lesions else fovea
    width = rng.uniform(650, 1200)
    x = float(np.clip(x, 100 + width / 2, WIDTH - 100 - width / 2))
    return Bump("fluid", x, width, rng.uniform(65, 130), 0.0)


def _ovals(
    rng: np.random.Generator,
    signs: dict[str, str],
    bumps: tuple[Bump, ...],
    thinned: tuple[tuple[float, float], ...],
    fovea: float,
) -> tuple[Oval, ...]:
    found: list[Oval] = []
    lesions = [b.x for b in bumps if b.kind in ("fibrovascular", "shrm", "fibrosis", "double_layer")]
    if signs["intraretinal_fluid"] == "present":
        middle = fovea if signs["traction"] == "present" or not lesions else lesions[0]
        found += _row(rng, "cyst", middle, int(rng.integers(2, 6)), (45, 95), (28, 52))
    old = thinned[int(rng.integers(len(thinned)))] if thinned else (fovea - 200, fovea + 200)
    if signs["pseudocysts"] == "present":
        found += _row(
            rng, "pseudocyst", sum(old) / 2 + rng.uniform(-60, 60), int(rng.integers(1, 4)), (22, 32), (14, 19)
        )
    if signs["outer_retinal_tubulation"] == "present":
        found += _row(rng, "tube", old[int(rng.integers(2))], int(rng.integers(1, 3)), (38, 60), (21, 27))
    if signs["hyperreflective_foci"] == "present":
        near = [b.x for b in bumps if b.kind in ("druse", "drusenoid")] or [fovea]
        for _ in range(int(rng.integers(3, 9))):
            x = float(np.clip(rng.choice(near) + rng.normal(0, 130), 60, WIDTH - 60))
            found.append(Oval("focus", x, rng.uniform(11, 17), rng.uniform(8, 12), rng.uniform(0.1, 0.8)))
    return tuple(found)


def _row(
    rng: np.random.Generator, kind: str, middle: float, n: int, a: tuple[float, float], b: tuple[float, float]
) -> list[Oval]:
    """Ovals in a row with walls between them."""
    halves = rng.uniform(*a, n)
    gaps = rng.uniform(14, 30, n)
    right = np.cumsum(2 * halves + gaps)
    x = right - halves - gaps - (right[-1] - gaps[-1]) / 2
    start = float(np.clip(middle, 100 + right[-1] / 2, WIDTH - 100 - right[-1] / 2))
    return [
        Oval(kind, start + xi, ai, rng.uniform(*b), 0.5)
        for xi, ai in zip(x.tolist(), halves.tolist(), strict=True)
    ]


def _vessels(rng: np.random.Generator) -> Array:
    n = int(rng.integers(10, 18))
    return np.stack([rng.uniform(0, WIDTH, n), rng.uniform(0.25, 0.85, n), rng.uniform(16, 42, n)], 1)
