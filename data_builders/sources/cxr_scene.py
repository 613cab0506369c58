"""What lies in phantom chest films: persons, and the acquisition, findings and devices of one film, as numbers.

Nothing is drawn here. Lengths are in pixels of a film 192 pixels wide; `right` is the patient's right, the left
of the picture. Heights in a lung are shares `v` from the apex (0) to the dome of the diaphragm (1), places
across it shares `u` from its medial (0) to its lateral border (1).

Two findings that would hide each other are not put into one lung: nothing but a fracture or a device joins a
pneumothorax or a large effusion, and a moderate effusion leaves the upper zone. Pneumothoraces are drawn on
erect films only; lying, they need other signs. The heart looks larger on AP, supine, shallow and rotated films.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlmalign.records.hashing import derive_seed

Side = Literal["right", "left"]
SIDES: tuple[Side, Side] = ("right", "left")
WIDTH = 192.0
RATIOS = {"absent": (0.38, 0.475), "mild": (0.525, 0.56), "moderate": (0.58, 0.63), "severe": (0.65, 0.71)}
RATIO_SHARES = (0.64, 0.14, 0.12, 0.1)
EFFUSION = {"small": (-0.03, 0.02), "moderate": (0.18, 0.30), "large": (0.46, 0.62)}  # level over the dome
VEIL = {"small": (0.22, 0.30), "moderate": (0.45, 0.58), "large": (0.8, 0.95)}  # height of a supine veil
COLLAPSE = {"small": (0.84, 0.90), "moderate": (0.66, 0.75), "large": (0.40, 0.52)}  # scale of the lung
SIZE_SHARES = (0.4, 0.35, 0.25)
OPACITIES = ("consolidation", "atelectasis", "lung_lesion", "haze", "edema")
TUBES = ("airway", "gastric", "chest")


@dataclass(frozen=True)
class Person:
    """What the films of a person have in common."""

    age_group: str
    heart: str  # `absent` (of normal size) or the severity of the enlargement
    ratio: float  # cardiothoracic, on a film that may be measured
    mediastinum: str
    half_width: float  # of the thorax inside the ribs
    apex: float  # row of the apices
    dome: float  # row of the right dome on a full breath
    sulcus: float  # row of the costophrenic angles on a full breath
    bulk: float  # soft tissue
    lying: bool  # tends to bedside films and devices
    pacemaker: bool
    exposure: float
    noise: float


@dataclass(frozen=True)
class Opacity:
    """One opacity in one lung."""

    kind: str
    side: Side
    u: float
    v: float
    across: float  # half-axes
    along: float
    tilt: float


@dataclass(frozen=True)
class Scene:
    """One film before it is drawn."""

    person: Person
    projection: str
    position: str
    inspiration: str
    rotation: str
    turn: float  # shift of the spine against the breastbone, positive to the patient's left
    ratio: float  # width of the heart over width of the thorax, as drawn
    opacities: tuple[Opacity, ...]
    effusion_size: str
    effusions: dict[Side, float]  # level of the fluid, or height of the veil on a supine film
    pneumothorax_size: str
    pneumothoraces: dict[Side, float]  # scale of the collapsed lung
    thickening: Side | None
    fracture: tuple[Side, str, float] | None  # side, bone, place along it
    devices: frozenset[str]
    chest_tube: Side
    texture_seed: int

    @property
    def measurable(self) -> bool:
        """Whether a cardiothoracic ratio means anything: adult, PA, erect, full breath, straight."""
        return (self.person.age_group, self.projection, self.position, self.inspiration, self.rotation) == (
            "adult", "pa", "erect", "adequate", "straight"
        )  # fmt: skip


def sample_person(seed: int, group: int) -> Person:
    """Draw person `group`; the same whatever else is drawn.

    Example:
        >>> sample_person(0, 3).age_group in ("adult", "child")
        True
    """
    rng = np.random.default_rng(derive_seed("cxr-person", seed, group))
    child = rng.random() < 0.15
    heart = str(rng.choice([*RATIOS], p=RATIO_SHARES))
    dome = rng.uniform(114, 120) if child else rng.uniform(130, 138)
    return Person(
        age_group="child" if child else "adult",
        heart=heart,
        ratio=rng.uniform(*RATIOS[heart]),
        mediastinum="widened" if rng.random() < 0.12 else "normal",
        half_width=rng.uniform(57, 62) if child else rng.uniform(66, 74),
        apex=rng.uniform(38, 42) if child else rng.uniform(24, 29),
        dome=dome,
        sulcus=dome + rng.uniform(15, 20),
        bulk=rng.uniform(0.9, 1.12),
        lying=bool(rng.random() < 0.35),
        pacemaker=bool(not child and rng.random() < 0.15),
        exposure=rng.uniform(1.0, 1.3),
        noise=rng.uniform(0.008, 0.022),
    )


def sample_scene(seed: int, group: int, film: int) -> Scene:
    """Draw film `film` of person `group`.

    Example:
        >>> scene = sample_scene(0, 0, 0)
        >>> 0.3 < scene.ratio < 0.8
        True
    """
    person = sample_person(seed, group)
    rng = np.random.default_rng(derive_seed("cxr-film", seed, group, film))
    bedside = rng.random() < (0.8 if person.lying else 0.12)
    position = "supine" if bedside and rng.random() < 0.7 else "erect"
    inspiration = "shallow" if rng.random() < (0.4 if bedside else 0.1) else "adequate"
    rotation = "rotated" if rng.random() < (0.25 if bedside else 0.08) else "straight"
    larger = (
        (1.1 if bedside else 1) * (1.05 if position == "supine" else 1) * (1.08 if inspiration == "shallow" else 1)
    )
    larger *= 1.12 if person.age_group == "child" else 1
    healthy = rng.random() < 0.3
    effusion_size, effusions = _effusions(rng, position, 0.0 if healthy else 0.3)
    free = [side for side in SIDES if side not in effusions]
    pneumothorax_size, collapsed = _pneumothoraces(rng, free, 0.0 if healthy or position == "supine" else 0.25)
    full = effusion_size != "small"
    clear = [s for s in SIDES if s not in collapsed and not (full and s in effusions)]
    upper = [s for s in SIDES if s not in collapsed and not (effusion_size == "large" and s in effusions)]
    opacities = () if healthy else _opacities(rng, upper, clear, person.heart != "absent")
    busy = {*effusions, *collapsed, *(opacity.side for opacity in opacities)}
    chest_tube = _side(rng, [*collapsed, *effusions] or [*SIDES])
    return Scene(
        person=person,
        projection="ap" if bedside else "pa",
        position=position,
        inspiration=inspiration,
        rotation=rotation,
        turn=float(rng.choice([-1, 1]) * rng.uniform(8, 11)) if rotation == "rotated" else 0.0,
        ratio=min(person.ratio * larger, 0.73),
        opacities=opacities,
        effusion_size=effusion_size,
        effusions=effusions,
        pneumothorax_size=pneumothorax_size,
        pneumothoraces=collapsed,
        thickening=_side(rng, clear) if not healthy and clear and rng.random() < 0.14 else None,
        fracture=None if healthy or rng.random() > 0.17 else _fracture(rng, [s for s in SIDES if s not in busy]),
        devices=_devices(rng, person, bedside, bool(collapsed or effusions)),
        chest_tube=chest_tube,
        texture_seed=int(rng.integers(2**62)),
    )


def intended_answers(scene: Scene) -> dict[str, str]:
    """The answers of `chest_xray` that a film is drawn for, without those that it cannot settle.

    Heart size and its severity are left out where the ratio means nothing, with them the cardiomediastinum
    beside a normal mediastinum, and the summary where nothing else is abnormal. Pneumonia is left out beside a
    consolidation, whose cause is not drawn.

    Example:
        >>> "cardiomegaly" in intended_answers(sample_scene(0, 0, 0)) == sample_scene(0, 0, 0).measurable
        False
    """
    kinds = {o.kind for o in scene.opacities}
    tubes = [tube for tube in TUBES if tube in scene.devices]
    present = {
        "lung_opacity": bool(kinds),
        **{kind: kind in kinds for kind in OPACITIES if kind != "haze"},
        "pneumothorax": bool(scene.pneumothoraces),
        "pleural_effusion": bool(scene.effusions),
        "pleural_other": scene.thickening is not None,
        "fracture": scene.fracture is not None,
        "support_devices": bool(scene.devices),
        "central_line": "central_line" in scene.devices,
        "cardiac_device": "cardiac_device" in scene.devices,
        "tube": bool(tubes),
    }
    answers = {name: "present" if there else "absent" for name, there in present.items()}
    answers |= {
        "age_group": scene.person.age_group,
        "projection": scene.projection,
        "position": scene.position,
        "inspiration": scene.inspiration,
        "rotation": scene.rotation,
        "mediastinum": scene.person.mediastinum,
        "opacity_side": side_of({o.side for o in scene.opacities}),
        "pneumothorax_side": side_of(scene.pneumothoraces),
        "pneumothorax_size": scene.pneumothorax_size,
        "effusion_side": side_of(scene.effusions),
        "effusion_size": scene.effusion_size,
        "tube_kind": "several" if len(tubes) > 1 else tubes[0] if tubes else "not_applicable",
    }
    if "consolidation" not in kinds:
        answers["pneumonia"] = "absent"
    return answers | _of_heart(scene, any(list(present.values())[:9]))


def _of_heart(scene: Scene, abnormal: bool) -> dict[str, str]:
    widened = scene.person.mediastinum == "widened"
    enlarged = scene.measurable and scene.person.heart != "absent"
    answers = {}
    if scene.measurable:
        answers["cardiomegaly"] = "present" if enlarged else "absent"
        answers["cardiomegaly_severity"] = scene.person.heart if enlarged else "not_applicable"
    if scene.measurable or widened:
        answers["enlarged_cardiomediastinum"] = "present" if enlarged or widened else "absent"
    if scene.measurable or widened or abnormal:
        answers["no_finding"] = "absent" if enlarged or widened or abnormal else "present"
    return answers


def side_of(sides: set[Side] | dict[Side, float]) -> str:
    """The value of a side concept.

    Example:
        >>> side_of({"left"}), side_of({"left", "right"}), side_of(set())
        ('left', 'both', 'not_applicable')
    """
    return "both" if len(sides) == 2 else next(iter(sides)) if sides else "not_applicable"


def _side(rng: np.random.Generator, sides: list[Side]) -> Side:
    return sides[int(rng.integers(len(sides)))]


def _effusions(rng: np.random.Generator, position: str, chance: float) -> tuple[str, dict[Side, float]]:
    if rng.random() >= chance:
        return "not_applicable", {}
    size = str(rng.choice([*EFFUSION], p=SIZE_SHARES))
    sides = [*SIDES] if rng.random() < 0.3 else [_side(rng, [*SIDES])]
    levels = (EFFUSION if position == "erect" else VEIL)[size]
    return size, {side: rng.uniform(*levels) for side in sides}


def _pneumothoraces(rng: np.random.Generator, free: list[Side], chance: float) -> tuple[str, dict[Side, float]]:
    if not free or rng.random() >= chance:
        return "not_applicable", {}
    size = str(rng.choice([*COLLAPSE], p=SIZE_SHARES))
    sides = free if rng.random() < 0.12 else [_side(rng, free)]
    return size, {side: rng.uniform(*COLLAPSE[size]) for side in sides}


def _opacities(
    rng: np.random.Generator, upper: list[Side], clear: list[Side], large_heart: bool
) -> tuple[Opacity, ...]:
    """Opacities in zones of their own: upper ones of `upper` lungs, lower ones of `clear` lungs."""
    if len(clear) == 2 and rng.random() < (0.3 if large_heart else 0.08):
        return tuple(Opacity("edema", side, 0.25, 0.62, 30, 34, 0) for side in SIDES)
    zones: list[tuple[Side, bool]] = [(side, False) for side in upper] + [(side, True) for side in clear]
    rng.shuffle(zones)
    found = []
    for kind, chance in (("atelectasis", 0.2), ("consolidation", 0.25), ("lung_lesion", 0.18), ("haze", 0.14)):
        if rng.random() >= chance:
            continue
        for _ in range(2 if kind != "atelectasis" and rng.random() < 0.25 else 1):
            fit = [zone for zone in zones if zone[1] or kind != "atelectasis"]
            if fit:
                zones.remove(fit[0])
                found.append(_opacity(rng, kind, *fit[0]))
    return tuple(found)


def _opacity(rng: np.random.Generator, kind: str, side: Side, low: bool) -> Opacity:
    v = rng.uniform(0.66, 0.76) if low else rng.uniform(0.24, 0.36)
    u = rng.uniform(0.5, 0.68)
    tilt = rng.uniform(-0.35, 0.35)
    if kind == "lung_lesion":
        radius = rng.uniform(5, 10)
        return Opacity(kind, side, u, v, radius, radius * rng.uniform(0.85, 1), tilt)
    if kind == "atelectasis":
        return Opacity(kind, side, 0.5, rng.uniform(0.74, 0.84), rng.uniform(16, 22), rng.uniform(2.2, 3.2), tilt)
    return Opacity(kind, side, u, v, rng.uniform(17, 24), rng.uniform(13, 18), tilt)


def _fracture(rng: np.random.Generator, free: list[Side]) -> tuple[Side, str, float]:
    """A rib of a lung in which nothing covers it, or a clavicle."""
    if free and rng.random() < 0.6:
        return _side(rng, free), "rib", rng.uniform(0.42, 0.56)
    return _side(rng, [*SIDES]), "clavicle", rng.uniform(0.45, 0.6)


def _devices(rng: np.random.Generator, person: Person, bedside: bool, drained: bool) -> frozenset[str]:
    chance = {
        "central_line": 0.45 if bedside else 0.06,
        "airway": 0.35 if bedside else 0.01,
        "gastric": 0.35 if bedside else 0.04,
        "chest": 0.35 if drained else 0.02,
    }
    found = {device for device, p in chance.items() if rng.random() < p}
    return frozenset(found | ({"cardiac_device"} if person.pacemaker else set()))
