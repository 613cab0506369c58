"""From the cup-to-disc ratios of two photographs to the asymmetry between the eyes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from vlmalign.records.finding import Finding

RATIO = "vertical_cup_disc_ratio"
ASYMMETRY = "vertical_cup_disc_ratio_asymmetry"
EYES = ("right", "left")


def compare_eyes(findings: Iterable[Finding]) -> list[Finding]:
    """Which eyes an expert has measured, and how far their vertical cup-to-disc ratios lie apart.

    The asymmetry is |r - l| of the two ratios r and l, with the standard deviation sqrt(s_r^2 + s_l^2) where
    both have one; several photographs of one eye count with their mean. Pass the result to
    `answers_from_findings` of `glaucoma_fundus` beside the findings of the eye with the larger ratio.

    Args:
        findings: of any concepts; only present ratios with a number are used, of images whose laterality is
            `right` or `left`. A ratio of an image without laterality belongs to no eye.

    Returns:
        For each expert in order of appearance a finding of `eye` (right, left or both), and one of the
        asymmetry, which is `not_assessed` where one eye is missing.

    Example:
        >>> from vlmalign.records import ImageRef
        >>> def ratio(eye, value):
        ...     image = ImageRef(path=f"images/{eye}.png", sha256="0" * 64, laterality=eye)
        ...     return Finding(id=eye, image=image, concept=RATIO, status="present", value=value, expert="cup@1")
        >>> [f.value for f in compare_eyes([ratio("right", 0.75), ratio("left", 0.5)])]
        ['both', 0.25]
        >>> [f.value or f.status for f in compare_eyes([ratio("left", 0.5)])]
        ['left', 'not_assessed']
    """
    experts: dict[str, dict[str, list[Finding]]] = {}
    for finding in findings:
        measured = finding.concept == RATIO and finding.status == "present" and not isinstance(finding.value, str)
        if measured and finding.value is not None and finding.image.laterality in EYES:
            experts.setdefault(finding.expert, {}).setdefault(finding.image.laterality, []).append(finding)
    return [made for expert, eyes in experts.items() for made in _compare(expert, eyes)]


def _compare(expert: str, eyes: dict[str, list[Finding]]) -> list[Finding]:
    seen = [eye for eye in EYES if eye in eyes]
    image = eyes[seen[0]][0].image
    eye = "both" if len(seen) == 2 else seen[0]
    found = Finding(id=f"{expert}-eye", image=image, concept="eye", status="present", value=eye, expert=expert)
    common = {"id": f"{expert}-{ASYMMETRY}", "image": image, "concept": ASYMMETRY, "expert": expert}
    if len(seen) < 2:
        return [found, Finding(**common, status="not_assessed")]
    (right, right_std), (left, left_std) = (_mean(eyes[side]) for side in EYES)
    std = None if right_std is None or left_std is None else math.hypot(right_std, left_std)
    apart = round(abs(right - left), 9)  # 0.7 - 0.5 is a fifth, not a little less
    return [found, Finding(**common, status="present", value=apart, unit="1", std=std)]


def _mean(findings: list[Finding]) -> tuple[float, float | None]:
    values = [float(f.value) for f in findings if isinstance(f.value, int | float)]
    stds = [f.std for f in findings if f.std is not None]
    std = math.sqrt(sum(s**2 for s in stds)) / len(findings) if len(stds) == len(findings) else None
    return sum(values) / len(values), std
