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

CERTAIN = (0.2, 0.8)  # a probability of presence strictly between the two is uncertain


class Measured(NamedTuple):
    """One measurement of one image, with how sure the expert is.

    Attributes:
        value: the measurement, a count or a fraction of the image.
        std: its standard deviation.
        probability: P(count >= 1) for counts, None for the others.
    """

    value: float
    std: float
    probability: float | None = None


@dataclass(frozen=True)
class Examination:
    """All that an expert says of one image.

    Attributes:
        measurements: by concept, e.g. `platelet_count`.
        labels: (H, W) label image at the image's own size, 0 background; None if the expert draws none.
        label_of: the label of each concept's structure in `labels`.
    """

    measurements: dict[str, Measured]
    labels: NDArray[np.uint8] | None = None
    label_of: dict[str, int] = field(default_factory=dict)


class Metric(Part):
    """One number about an expert's held-out performance, with its 95 % interval over groups."""

    name: str = Field(description="dice | count_mae | presence_accuracy | presence_uncertain | cover_mae")
    structure: str
    value: float
    low: float | None = Field(description="None where all images are of one group: no interval can be had")
    high: float | None
    images: int = Field(ge=1, description="how many images it was computed on")
    groups: int = Field(ge=1, description="how many groups they come from")


class ExpertCard(Part):
    """What a user must know before trusting an expert's findings."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9_.-]+$")
    version: str = Field(min_length=1, description="first 12 hexadecimal digits of the hash of its weights")
    architecture: str = Field(description="the registry's name for what loads it")
    modality: str
    domain: str = Field(description="clinical domain of the cases it was trained on")
    structures: tuple[str, ...] = Field(description="in the order of their labels, from 1")
    concepts: tuple[str, ...] = Field(description="what it can assess; nothing else is ever in its findings")
    performance: tuple[Metric, ...] = Field(default=(), description="on groups that took no part in training")
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


class ExpertLoader(Protocol):
    """Loads an expert of one architecture from its folder; what the entry points of a user name."""

    def __call__(self, folder: Path) -> Expert:
        """Load the expert in `folder`."""
