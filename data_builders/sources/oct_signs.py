"""Which signs the macula of a phantom eye shows: a stage is drawn first, then signs that make that stage.

The rules are those of `amd_oct` under its default policy; the tests derive the stage back from the signs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Stage = Literal[
    "healthy", "early", "intermediate", "late_dry", "late_wet_inactive", "late_wet_active", "undetermined"
]  # fmt: skip

STAGES: tuple[Stage, ...] = (
    "healthy", "early", "intermediate", "late_dry", "late_wet_inactive", "late_wet_active", "undetermined"
)  # fmt: skip
STAGE_SHARES = (0.20, 0.11, 0.17, 0.14, 0.13, 0.15, 0.10)
NORMAL = {
    "drusen": "none",
    "hyperreflective_foci": "absent",
    "rpe_irregularity": "none",
    "ped": "none",
    "double_layer_sign": "absent",
    "shrm": "absent",
    "fibrosis": "absent",
    "subretinal_fluid": "absent",
    "intraretinal_fluid": "absent",
    "pseudocysts": "absent",
    "outer_retinal_tubulation": "absent",
    "traction": "absent",
    "hypertransmission": "none",
    "outer_retina": "preserved",
}
NEOVASCULAR = {  # any of these is a sign of neovascular disease
    "shrm": {"shrm": "present"},
    "fibrosis": {"fibrosis": "present"},
    "fibrovascular": {"ped": "fibrovascular"},
    "double_layer": {"double_layer_sign": "present"},
}


def sample_signs(rng: np.random.Generator, stage: Stage) -> dict[str, str]:
    """Values of the observed concepts (without eye, quality and `rpe_irregularity`) that make a stage.

    The irregularity of the pigment epithelium follows from how far the drawn structures raise it.

    Example:
        >>> signs = sample_signs(np.random.default_rng(0), "early")
        >>> signs["drusen"], signs["shrm"]
        ('medium', 'absent')
    """
    signs = dict(NORMAL)
    if stage == "healthy":
        signs["drusen"] = _one(rng, none=0.6, small=0.4)
    elif stage == "early":
        signs["drusen"] = "medium"
    else:
        signs["drusen"] = _one(rng, none=0.3, small=0.15, medium=0.25, large=0.3)
        if rng.random() < 0.3:
            signs["hyperreflective_foci"] = "present"
    if stage in ("healthy", "early", "intermediate") and rng.random() < 0.08:
        signs["traction"] = "present"
    later = {
        "intermediate": _intermediate,
        "late_dry": _late_dry,
        "late_wet_inactive": _late_wet_inactive,
        "late_wet_active": _late_wet_active,
        "undetermined": _undetermined,
    }
    return signs | later[stage](rng) if stage in later else signs


def _one(rng: np.random.Generator, **shares: float) -> str:
    return [*shares][rng.choice(len(shares), p=[*shares.values()])]


def _intermediate(rng: np.random.Generator) -> dict[str, str]:
    sign = _one(rng, drusen=0.3, foci=0.15, drusenoid=0.15, serous=0.15, atrophy=0.25)
    if sign == "atrophy":
        if rng.random() < 0.3:  # much light passes, but the outer retina is still there: not yet complete
            return {"hypertransmission": "large"}
        return {"hypertransmission": "small", "outer_retina": _one(rng, preserved=0.5, thinned=0.5)}
    made = {"drusen": {"drusen": "large"}, "foci": {"hyperreflective_foci": "present"}}
    return made.get(sign, {"ped": sign})


def _degenerative(rng: np.random.Generator) -> dict[str, str]:
    """What old lesions show beside the rest; none of it is fluid."""
    signs = {"pseudocysts": "present"} if rng.random() < 0.3 else {}
    return signs | ({"outer_retinal_tubulation": "present"} if rng.random() < 0.35 else {})


def _late_dry(rng: np.random.Generator) -> dict[str, str]:
    ped = {"ped": "drusenoid"} if rng.random() < 0.1 else {}
    return {"hypertransmission": "large", "outer_retina": "thinned"} | ped | _degenerative(rng)


def _neovascular(rng: np.random.Generator) -> dict[str, str]:
    """One or two signs of neovascular disease."""
    n = 1 if rng.random() < 0.65 else 2
    chosen = rng.choice([*NEOVASCULAR], size=n, replace=False).tolist()
    return {concept: value for sign in chosen for concept, value in NEOVASCULAR[sign].items()}


def _late_wet_inactive(rng: np.random.Generator) -> dict[str, str]:
    signs = _neovascular(rng)
    if rng.random() < 0.25:
        signs["hypertransmission"] = _one(rng, small=0.5, large=0.5)
    anchored = "fibrosis" in signs or "hypertransmission" in signs
    if anchored and rng.random() < 0.75:
        signs |= {"outer_retina": "thinned"} | _degenerative(rng)
    return signs


def _late_wet_active(rng: np.random.Generator) -> dict[str, str]:
    fluid = _one(rng, subretinal=0.45, intraretinal=0.3, both=0.25)
    signs = _neovascular(rng) | _fluid(fluid)
    if fluid != "intraretinal" and rng.random() < 0.08:
        signs["traction"] = "present"
    if "fibrosis" in signs and rng.random() < 0.4:
        signs["outer_retina"] = "thinned"
    return signs


def _undetermined(rng: np.random.Generator) -> dict[str, str]:
    """Fluid that nothing explains, fluid by traction, or cysts that traction or a neovascular lesion explains."""
    case = _one(rng, unexplained=0.5, traction=0.3, either=0.2)
    if case == "either":
        return _neovascular(rng) | _fluid("intraretinal") | {"traction": "present"}
    fluid = _fluid(_one(rng, subretinal=0.4, intraretinal=0.6))
    return fluid | ({"traction": "present"} if case == "traction" else {})


def _fluid(where: str) -> dict[str, str]:
    sites = ("subretinal", "intraretinal") if where == "both" else (where,)
    return {f"{site}_fluid": "present" for site in sites}
