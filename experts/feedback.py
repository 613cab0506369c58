"""What an expert's findings say to a language model: a coloured overlay, its key, and the measurements in words.

Each structure has one colour, by its place on the expert's card, on every image: the key can never disagree with
the picture. Probabilities and standard deviations are told, not cut at one half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experts.trigger import EVERYTHING
from vlmalign.records.finding import Finding

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "yellow": (255, 215, 0),
    "red": (230, 25, 75),
    "blue": (0, 130, 255),
    "green": (60, 200, 75),
    "orange": (245, 130, 48),
    "purple": (160, 50, 210),
    "cyan": (70, 240, 240),
    "pink": (250, 120, 200),
}
OPACITY = 0.45


@dataclass(frozen=True)
class Feedback:
    """An expert's answer to a call.

    Attributes:
        text: findings in words, and the key of the overlay.
        overlay: the image with its structures coloured; None where the expert draws none.
    """

    text: str
    overlay: Image.Image | None = None


def write_feedback(
    image: Image.Image,
    findings: Sequence[Finding],
    labels: NDArray[np.uint8] | None = None,
    *,
    structures: Sequence[str] = (),
    argument: str = EVERYTHING,
) -> Feedback:
    """Findings of one image as a model and a reader get them.

    Args:
        image: what was examined.
        findings: all that the expert says of it.
        labels: (H, W) label image at the image's size, 0 background, k the k-th structure.
        structures: of the expert's card, in its order.
        argument: only findings of this structure or concept; `everything`: all.

    Raises:
        ValueError: a label image of another size, or more structures than there are colours.

    Example:
        >>> from vlmalign.records import ImageRef
        >>> ref = ImageRef(path="images/x.png", sha256="0" * 64)
        >>> finding = Finding(id="f", image=ref, expert="cells@1", concept="platelet_count", status="present",
        ...                   value=3.0, std=0.4, probability=0.98)
        >>> write_feedback(Image.new("RGB", (4, 4)), [finding]).text
        'Findings of cells@1: platelet count 3 (std 0.4), present (probability 0.98).'
    """
    wanted = [f for f in findings if argument == EVERYTHING or _is_about(f.concept, argument)]
    expert = ", ".join(dict.fromkeys(f.expert for f in findings))
    said = "; ".join(_say(finding) for finding in wanted) or f"nothing of {argument.replace('_', ' ')}"
    text = f"Findings of {expert}: {said}." if expert else f"The expert found {said}."
    if labels is None or not structures:
        return Feedback(text)
    shown = [k for k, name in enumerate(structures, start=1) if argument in (EVERYTHING, name)]
    key = "; ".join(f"{colour_of(k)}: {structures[k - 1].replace('_', ' ')}" for k in shown)
    return Feedback(f"{text} Colours: {key}.", draw_overlay(image, labels, shown))


def draw_overlay(image: Image.Image, labels: NDArray[np.uint8], shown: Sequence[int]) -> Image.Image:
    """The image with the structures of these labels tinted in their colours.

    Raises:
        ValueError: a label image of another size.
    """
    if labels.shape != image.size[::-1]:
        raise ValueError(f"labels has shape {labels.shape}, expected {image.size[::-1]}: that of the image")
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32).copy()
    for k in shown:
        inside = labels == k
        pixels[inside] = (1 - OPACITY) * pixels[inside] + OPACITY * np.array(COLOURS[colour_of(k)])
    return Image.fromarray(pixels.round().astype(np.uint8))


def colour_of(label: int) -> str:
    """Name of the colour of a label, from 1 on.

    Raises:
        ValueError: there are no more colours.

    Example:
        >>> colour_of(1), colour_of(2)
        ('yellow', 'red')
    """
    if not 1 <= label <= len(COLOURS):
        raise ValueError(f"label is {label}: overlays tell 1 to {len(COLOURS)} apart; ask for one structure")
    return [*COLOURS][label - 1]


def _is_about(concept: str, argument: str) -> bool:
    return concept == argument or concept.startswith(f"{argument}_")


def _say(finding: Finding) -> str:
    name = finding.concept.replace("_", " ")
    if finding.status == "not_assessed":
        return f"{name} not assessed"
    said = name
    if isinstance(finding.value, str):
        said += f" {finding.value.replace('_', ' ')}"
    elif finding.value is not None:
        said += f" {_number(finding.value)}"
        if finding.unit not in (None, "1"):
            said += f" {finding.unit}"
        if finding.std:
            said += f" (std {_number(finding.std)})"
    if finding.probability is None:
        return said if finding.value is not None else f"{said} {finding.status}"
    return f"{said}, {finding.status} (probability {finding.probability:.2f})"


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"
