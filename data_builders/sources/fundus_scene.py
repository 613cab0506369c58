"""What lies in phantom photographs of the optic disc: persons, and the disc and signs of one eye, as numbers.

Nothing is drawn here. Lengths are in millimetres on the retina. Angles run from temporal (0) over superior
(90 degrees) to nasal (180) and inferior (270), so that a number means the same in both eyes; the drawing mirrors
right eyes. Rim widths are in units of the disc's vertical radius.

A rim is `regular`, `thinned` over a whole sector (or at both poles: `diffuse`), or `notched`: a dip of some 35
degrees. Rim loss is drawn from ratios of about 0.55 on, as a thin rim round a small cup contradicts itself.
An ungradable visit leaves both eyes ungradable, so that a pair has one quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlmalign.records.hashing import derive_seed

EyeName = Literal["right", "left"]
Array = NDArray[np.float64]

EYES: tuple[EyeName, EyeName] = ("right", "left")
CARDINAL = {"temporal": 0.0, "superior": np.pi / 2, "nasal": np.pi, "inferior": 3 * np.pi / 2}
RATIOS = {"normal": (0.22, 0.455), "borderline": (0.545, 0.655), "large": (0.745, 0.92)}  # clear of the edges
RATIO_SHARES = (0.45, 0.25, 0.3)
DISC_SIZES = {"small": (1.25, 1.41), "average": (1.60, 2.09), "large": (2.31, 2.60)}  # mm; clear of 1.5 and 2.2
DISC_SHARES = (0.2, 0.55, 0.25)
ALIKE, APART = 0.13, 0.27  # largest and least difference of the ratios of two eyes; the edge 0.2 lies between
THINNED = {"inferior": 0.4, "superior": 0.25, "temporal": 0.2, "nasal": 0.15}
NOTCHED = {"inferior": 0.45, "superior": 0.3, "temporal": 0.15, "nasal": 0.1}
SIGNS = ("haemorrhage", "rnfl_defect", "peripapillary_atrophy")
WORSE = ("regular", "thinned", "notched")


@dataclass(frozen=True)
class Disc:
    """One optic disc with its cup."""

    diameter: float  # vertical, mm
    oval: float  # horizontal diameter relative to the vertical one
    rim: str
    sector: str
    widths: tuple[float, float, float, float]  # rim at the temporal, superior, nasal and inferior pole
    notch: tuple[float, float, float] | None  # angle, depth (share of the rim), half-width in radians

    def edge(self, angle: Array) -> Array:
        """Radius of the disc in the direction, in units of its vertical radius."""
        return 1 / np.sqrt((np.cos(angle) / self.oval) ** 2 + np.sin(angle) ** 2)

    def rim_width(self, angle: Array) -> Array:
        """Width of the rim in the direction, in units of the disc's vertical radius."""
        temporal, superior, nasal, inferior = self.widths
        across = np.where(np.cos(angle) > 0, temporal, nasal) * np.cos(angle) ** 2
        width = across + np.where(np.sin(angle) > 0, superior, inferior) * np.sin(angle) ** 2
        if self.notch is not None:
            centre, depth, half = self.notch
            away = np.angle(np.exp(1j * (angle - centre)))
            width = width * (1 - depth * np.exp(-((away / half) ** 2)))
        return np.asarray(width)

    @cached_property
    def ratio(self) -> float:
        """Vertical cup-to-disc ratio: height of the cup over height of the disc."""
        angle = np.linspace(0, 2 * np.pi, 1441)
        rise = (self.edge(angle) - self.rim_width(angle)) * np.sin(angle)
        return float(rise.max() - rise.min()) / 2

    @cached_property
    def sector_widths(self) -> dict[str, float]:
        """Mean rim width within 20 degrees of each pole."""
        near = np.radians(np.linspace(-20, 20, 41))
        return {name: float(self.rim_width(angle + near).mean()) for name, angle in CARDINAL.items()}

    @cached_property
    def isnt_margin(self) -> float:
        """How far the rim widths keep the order inferior, superior, nasal, temporal; negative where broken."""
        ordered = [self.sector_widths[name] for name in ("inferior", "superior", "nasal", "temporal")]
        return min(wide - narrow for wide, narrow in zip(ordered[:-1], ordered[1:], strict=True))


@dataclass(frozen=True)
class Person:
    """What both photographs of a person have in common, and the two discs."""

    discs: dict[EyeName, Disc]
    disc_size: str
    ungradable: bool
    field_mm: float  # width of the photograph on the retina
    spacing_known: bool
    tone: Array  # (3,) colour of the fundus, 0..1
    tessellation: float  # strength of the choroid's pattern
    light: float
    noise: float
    jpeg_quality: int
    signs: frozenset[str]  # to which this person tends


@dataclass(frozen=True)
class Scene:
    """One photograph before it is drawn."""

    person: Person
    eye: EyeName
    disc: Disc
    quality: str
    blur_mm: float
    gain: float  # factor on the light
    haze: float  # share of stray light
    centre: tuple[float, float]  # of the disc from the middle of the field, mm, temporal and superior positive
    signs: frozenset[str]
    haemorrhage: tuple[float, float, float]  # angle, length, width in mm
    wedge: tuple[float, float]  # angle at the disc, half-width in radians
    atrophy: tuple[float, float, float]  # middle angle, half-extent in radians, width in disc radii
    vessel_seed: int
    texture_seed: int


def sample_person(seed: int, group: int) -> Person:
    """Draw person `group`; the same whatever else is drawn.

    Example:
        >>> sorted(sample_person(0, 3).discs)
        ['left', 'right']
    """
    rng = np.random.default_rng(derive_seed("fundus-person", seed, group))
    disc_size = str(rng.choice([*DISC_SIZES], p=DISC_SHARES))
    pigment = rng.uniform(0.6, 1.0)
    return Person(
        discs=_discs(rng, disc_size),
        disc_size=disc_size,
        ungradable=bool(rng.random() < 0.12),
        field_mm=rng.uniform(6.2, 7.6),
        spacing_known=bool(rng.random() < 0.6),
        tone=np.array([0.80, 0.40, 0.19]) * np.array([0.75 + 0.25 * pigment, pigment, pigment]),
        tessellation=rng.uniform(0.02, 0.09),
        light=rng.uniform(0.88, 1.08),
        noise=rng.uniform(0.006, 0.02),
        jpeg_quality=int(rng.integers(75, 95)),
        signs=frozenset(sign for sign in SIGNS if rng.random() < 0.3),
    )


def sample_scene(seed: int, group: int, eye: EyeName) -> Scene:
    """Draw the photograph of one eye of person `group`.

    Example:
        >>> scene = sample_scene(0, 0, "left")
        >>> scene.disc is not None, scene.quality in ("good", "limited", "ungradable")
        (True, True)
    """
    person = sample_person(seed, group)
    disc = person.discs[eye]
    rng = np.random.default_rng(derive_seed("fundus-eye", seed, group, eye))
    quality = "ungradable" if person.ungradable else "limited" if rng.random() < 0.25 else "good"
    dark = rng.random() < 0.5  # an ungradable photograph is too dark or too blurred
    blur = {"good": (0.0, 0.012), "limited": (0.045, 0.07), "ungradable": (0.3, 0.5) if not dark else (0.1, 0.15)}
    gain = {"good": (0.95, 1.05), "limited": (0.75, 0.95), "ungradable": (0.09, 0.14) if dark else (0.5, 0.8)}
    chance = 0.15 if disc.rim == "regular" else 0.4
    upper = rng.random() < (0.7 if disc.sector == "superior" else 0.35)
    arc = np.radians(rng.uniform(40, 62)) * (1 if upper else -1)  # superotemporal or inferotemporal
    return Scene(
        person=person,
        eye=eye,
        disc=disc,
        quality=quality,
        blur_mm=rng.uniform(*blur[quality]),
        gain=rng.uniform(*gain[quality]),
        haze={"good": 0.0, "limited": rng.uniform(0.08, 0.16), "ungradable": 0.0 if dark else 0.35}[quality],
        centre=(rng.uniform(-1.05, -0.8), rng.uniform(-0.2, 0.2)),
        signs=frozenset(s for s in SIGNS if rng.random() < (0.75 if s in person.signs else chance / 2)),
        haemorrhage=(-arc * rng.uniform(0.5, 1.1), rng.uniform(0.42, 0.6), rng.uniform(0.12, 0.16)),
        wedge=(arc, rng.uniform(0.18, 0.28)),
        atrophy=(rng.uniform(-0.35, 0.35), rng.uniform(1.0, 1.5), rng.uniform(0.28, 0.45)),
        vessel_seed=int(rng.integers(2**62)),
        texture_seed=int(rng.integers(2**62)),
    )


def intended_answers(scene: Scene) -> dict[str, str]:
    """The answers of `glaucoma_fundus` that one photograph is drawn for; no disc size where no spacing is known.

    Example:
        >>> intended_answers(sample_scene(0, 0, "right"))["eye"]
        'right'
    """
    answers = {"eye": scene.eye, **_of_disc(scene), "asymmetry": "one_eye"}
    return _completed(answers, scene.signs)


def intended_answers_of_pair(right: Scene, left: Scene) -> dict[str, str]:
    """The answers for both photographs of a person: the larger ratio, the worse rim, any sign.

    Example:
        >>> intended_answers_of_pair(*(sample_scene(0, 0, eye) for eye in ("right", "left")))["eye"]
        'both'
    """
    worse = worse_eye(right, left)
    answers = {"eye": "both", **_of_disc(worse)}
    if worse.quality != "ungradable":
        qualities = {right.quality, left.quality}
        answers["image_quality"] = "limited" if "limited" in qualities else "good"
        answers["vcdr"] = band(max(right.disc.ratio, left.disc.ratio))
        followed = right.disc.isnt_margin > 0 and left.disc.isnt_margin > 0
        answers["isnt"] = "followed" if followed else "broken"
        answers["asymmetry"] = "present" if abs(right.disc.ratio - left.disc.ratio) > 0.2 else "none"
    return _completed(answers, right.signs | left.signs)


def worse_eye(right: Scene, left: Scene) -> Scene:
    """The eye whose rim a report on the pair describes: the worse rim, else the larger ratio."""
    return max((right, left), key=lambda scene: (WORSE.index(scene.disc.rim), scene.disc.ratio))


def band(ratio: float) -> str:
    """Name of the range that a ratio was drawn from."""
    return min(RATIOS, key=lambda name: max(RATIOS[name][0] - ratio, ratio - RATIOS[name][1]))


def _of_disc(scene: Scene) -> dict[str, str]:
    return {
        "image_quality": scene.quality,
        "vcdr": band(scene.disc.ratio),
        **({"disc_size": scene.person.disc_size} if scene.person.spacing_known else {}),
        "rim": scene.disc.rim,
        "rim_sector": scene.disc.sector,
        "isnt": "followed" if scene.disc.isnt_margin > 0 else "broken",
    }


def _completed(answers: dict[str, str], signs: frozenset[str]) -> dict[str, str]:
    """With the signs and the impression; nothing of an ungradable photograph is graded."""
    if answers["image_quality"] == "ungradable":
        kept = {"eye": answers["eye"], "image_quality": "ungradable", "impression": "not_assessable"}
        names = ("vcdr", "disc_size", "rim", "rim_sector", "isnt", *SIGNS, "asymmetry")
        return {**kept, **dict.fromkeys(names, "not_gradable")}
    found = {sign: "present" if sign in signs else "absent" for sign in SIGNS}
    suspect = (
        answers["vcdr"] == "large"
        or answers["rim"] != "regular"
        or not signs.isdisjoint(("haemorrhage", "rnfl_defect"))
        or answers["asymmetry"] == "present"
    )
    return {**answers, **found, "impression": "suspect" if suspect else "not_suspect"}


@dataclass(frozen=True)
class _Plan:
    """What a disc is to be like, before its numbers are drawn."""

    band: str
    ratio: float
    rim: str = "regular"
    sector: str = "not_applicable"
    disorder: bool = False  # a regular rim that breaks the ISNT rule, as many healthy ones do


def _discs(rng: np.random.Generator, disc_size: str) -> dict[EyeName, Disc]:
    """Two discs of like size, whose ratios lie clearly close together or clearly apart."""
    diameter = rng.uniform(*DISC_SIZES[disc_size])
    oval = rng.uniform(0.88, 0.96)
    apart = rng.random() < 0.22
    low, high = DISC_SIZES[disc_size]
    while True:
        right, left = (_disc(rng, float(np.clip(diameter + rng.normal(0, 0.03), low, high)), oval) for _ in EYES)
        difference = abs(right.ratio - left.ratio)
        if difference > APART if apart else difference < ALIKE:
            return {"right": right, "left": left}


def _plan(rng: np.random.Generator) -> _Plan:
    name = str(rng.choice([*RATIOS], p=RATIO_SHARES))
    loss = {"normal": (1.0, 0.0, 0.0), "borderline": (0.6, 0.2, 0.2), "large": (0.25, 0.45, 0.3)}[name]
    rim = str(rng.choice(["regular", "thinned", "notched"], p=loss))
    ratio = rng.uniform(*RATIOS[name])
    if rim == "regular":
        return _Plan(name, min(ratio, 0.77), disorder=bool(rng.random() < 0.2))
    if rim == "thinned" and name == "large" and rng.random() < 0.35:
        return _Plan(name, rng.uniform(0.83, 0.9), rim, "diffuse")
    shares = THINNED if rim == "thinned" else NOTCHED
    sector = str(rng.choice([*shares], p=[*shares.values()]))
    polar = sector in ("superior", "inferior")
    if rim == "notched" and polar:  # the notch adds to the ratio
        return _Plan(name, ratio - 0.1, rim, sector)
    return _Plan(name, min(ratio, 0.82 if polar else 0.78), rim, sector)


def _disc(rng: np.random.Generator, diameter: float, oval: float) -> Disc:
    """Draw until the ratio lies in its range and the ISNT rule is clearly kept or clearly broken."""
    while True:
        plan = _plan(rng)
        disc = Disc(diameter, oval, plan.rim, plan.sector, _widths(rng, plan), _notch(rng, plan))
        low, high = RATIOS[plan.band]
        if low <= disc.ratio <= high and not -0.03 < disc.isnt_margin < 0.02:
            return disc


def _widths(rng: np.random.Generator, plan: _Plan) -> tuple[float, float, float, float]:
    """Rim widths at the four poles; superior and inferior ones add up to twice the mean 1 - ratio."""
    mean = 1 - plan.ratio
    inferior, superior = 1.14, 0.86
    nasal, temporal = 0.50 + 0.34 * mean, 0.24 + 0.5 * mean  # relative to the mean; a small cup is round
    if plan.disorder:
        inferior, superior = 0.86, 1.14
    if plan.rim == "thinned":
        thin = rng.uniform(0.3, 0.45)
        if plan.sector == "inferior":
            inferior, superior = thin, 2 - thin
        elif plan.sector == "superior":
            superior, inferior = thin, 2 - thin
        elif plan.sector == "nasal":
            nasal = 0.3 * temporal
        elif plan.sector == "temporal":
            temporal = 0.3 * temporal
        else:
            inferior, superior, nasal, temporal = 0.95, 1.05, 2.0, 1.4
    return (temporal * mean, superior * mean, nasal * mean, inferior * mean)


def _notch(rng: np.random.Generator, plan: _Plan) -> tuple[float, float, float] | None:
    if plan.rim != "notched":
        return None
    towards_temple = {"inferior": 1, "superior": -1}.get(plan.sector, 0)
    angle = CARDINAL[plan.sector] + towards_temple * np.radians(rng.uniform(5, 18))
    return (float(angle), rng.uniform(0.82, 0.92), rng.uniform(0.26, 0.34))
