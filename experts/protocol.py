"""What an expert is: something with a card that looks at images and measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from vlmalign.records.base import Part
from vlmalign.records.manifest import DataUse

CERTAIN = (0.2, 0.8)  # a probability of presence strictly between the two is uncertain


class Measured(NamedTuple):
    """One measurement of one image, with how sure the expert is.

    Attributes:
        value: the measurement, e.g. a count, a ratio or an area.
        std: its standard deviation.
        probability: P(count >= 1) for counts; the share of members that could measure at all for ratios, areas
            and distances of structures that may be missing; None for the others.
        unit: 1 for counts, shares and ratios; mm, mm2, px or px2 for lengths and areas.
    """

    value: float
    std: float
    probability: float | None = None
    unit: str = "1"


class Presence(NamedTuple):
    """That a finding is there, as a probability.

    Attributes:
        probability: of presence, averaged over members.
        std: its standard deviation over members (networks, views); 0 where there is one member.
        threshold: from here on the finding counts as present; None where none was chosen.
    """

    probability: float
    std: float = 0.0
    threshold: float | None = None


@dataclass(frozen=True)
class Examination:
    """All that an expert says of one image.

    Attributes:
        measurements: by concept, e.g. `platelet_count`.
        labels: (H, W) label image at the image's own size, 0 background; None if the expert draws none.
        label_of: the label of each concept's structure in `labels`.
        presences: by concept, e.g. `pneumonia`.
        not_assessed: concepts that the expert knows and could not assess in this image, with the reason.
    """

    measurements: dict[str, Measured]
    labels: NDArray[np.uint8] | None = None
    label_of: dict[str, int] = field(default_factory=dict)
    presences: dict[str, Presence] = field(default_factory=dict)
    not_assessed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageContext:
    """What is known of an image besides its pixels.

    Attributes:
        spacing_mm: height and width of a pixel in millimetres; None where nobody knows.
        laterality: left, right or bilateral; None where nobody knows.
        data_use: where the image may be sent; the strictest rule unless its folder says otherwise.
    """

    spacing_mm: tuple[float, float] | None = None
    laterality: str | None = None
    data_use: DataUse = "local_only"


class Metric(Part):
    """One number about an expert's held-out performance, with its 95 % interval over groups."""

    name: str = Field(
        description="dice | mean_dice | mae | bias | not_assessed | count_mae | presence_accuracy | "
        "presence_uncertain | cover_mae | auroc | sensitivity | specificity | ece | brier | "
        "pixel_baseline_auroc | auroc_above_pixels"
    )
    structure: str = Field(description="the structure, or the concept")
    value: float
    low: float | None = Field(description="None where all images are of one group: no interval can be had")
    high: float | None
    images: int = Field(ge=1, description="how many images it was computed on")
    groups: int = Field(ge=1, description="how many groups they come from")


class OperatingPoint(Part):
    """The threshold of one concept, how it was chosen, and what it gave on the cases it was chosen on."""

    concept: str
    rule: str = Field(description="youden | f1 | sensitivity>=X")
    threshold: float = Field(ge=0, le=1, description="present from this probability on")
    threshold_low: float | None = Field(description="95 % interval over groups: how firmly the data fix it")
    threshold_high: float | None
    sensitivity: float
    sensitivity_low: float | None
    sensitivity_high: float | None
    specificity: float
    specificity_low: float | None
    specificity_high: float | None
    images: int = Field(ge=1)
    positives: int = Field(ge=1)
    groups: int = Field(ge=1)


class ExpertCard(Part):
    """What a user must know before trusting an expert's findings."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9_.-]+$")
    version: str = Field(
        min_length=1,
        description="first 12 hexadecimal digits of the hash of its weights (and settings, if adopted)",
    )
    architecture: str = Field(description="the registry's name for what loads it")
    modality: str
    domain: str = Field(description="clinical domain of the cases it was trained on")
    structures: tuple[str, ...] = Field(default=(), description="in the order of their labels, from 1")
    concepts: tuple[str, ...] = Field(description="what it can assess; nothing else is ever in its findings")
    performance: tuple[Metric, ...] = Field(default=(), description="on groups that took no part in training")
    operating_points: tuple[OperatingPoint, ...] = Field(
        default=(), description="thresholds, chosen on groups that its performance was not measured on"
    )
    training_data: tuple[str, ...] = Field(default=(), description="hashes of the record files it was trained on")
    training_groups: tuple[str, ...] = Field(
        default=(), description="group ids that training, choice or fit has seen"
    )
    limits: tuple[str, ...] = Field(default=(), description="what it cannot do, for the reader")

    @property
    def id(self) -> str:
        """Name and version, as findings carry it.

        Example:
            >>> ExpertCard(name="cells", version="3f2a", architecture="segmentation", modality="xray",
            ...            domain="d", structures=(), concepts=()).id
            'cells@3f2a'
        """
        return f"{self.name}@{self.version}"


@runtime_checkable
class Expert(Protocol):
    """Anything with a card that examines images. It must not depend on which images share a call."""

    @property
    def card(self) -> ExpertCard:
        """Who it is and how good."""

    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """Examine images of any sizes, in order."""


@runtime_checkable
class ContextExpert(Expert, Protocol):
    """An expert that also uses what is known of an image besides its pixels, e.g. to measure millimetres."""

    def examine_in_context(
        self, images: Sequence[Image.Image], contexts: Sequence[ImageContext]
    ) -> list[Examination]:
        """Examine images of any sizes, in order; `examine` is this with nothing known."""


class ExpertLoader(Protocol):
    """Loads an expert of one architecture from its folder; what the entry points of a user name."""

    def __call__(self, folder: Path) -> Expert:
        """Load the expert in `folder`."""


def examine(expert: Expert, images: Sequence[Image.Image], contexts: Sequence[ImageContext]) -> list[Examination]:
    """Examine images, with what is known of them where the expert can use it."""
    if isinstance(expert, ContextExpert):
        return expert.examine_in_context(images, contexts)
    return expert.examine(images)
