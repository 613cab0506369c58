"""The classification expert: timm networks that say how probable each finding is.

Several weight files make an ensemble, several views test-time augmentation; each pair of both is a member. The
probability is the members' mean and its standard deviation their spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import timm
import torch
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor, nn

from experts.expert_files import check_version, load_weights, read_expert
from experts.preparation import Preparation, prepare
from experts.protocol import Examination, ExpertCard, Presence
from experts.views import View, check_views, show
from vlmalign.records.base import Part
from vlmalign.records.image import RelativePath

ARCHITECTURE = "classification"
CHUNK = 16  # images a forward pass


class ClassifierSettings(Part):
    """What a classification expert needs besides its weights.

    Example:
        >>> ClassifierSettings(network="test_resnet", classes=("normal", "pneumonia"), kind="multi_class",
        ...                    no_finding=("normal",), weights=("a.safetensors",),
        ...                    preparation=Preparation(size=32)).concepts
        ('pneumonia',)
    """

    network: str = Field(description="timm's name of the architecture, e.g. resnet10t")
    classes: tuple[str, ...] = Field(min_length=1, description="in the order of the network's outputs")
    kind: Literal["multi_label", "multi_class"] = Field(
        description="multi_label: each output alone, by sigmoid; multi_class: one of them, by softmax"
    )
    no_finding: tuple[str, ...] = Field((), description="classes that are no finding, e.g. normal")
    weights: tuple[RelativePath, ...] = Field(min_length=1, description="one safetensors file a member")
    preparation: Preparation
    temperature: float = Field(1.0, gt=0, description="divides the logits; fitted on data not trained on")
    thresholds: dict[str, float] = Field(default_factory=dict, description="by concept; none: 0.2 and 0.8 decide")
    views: tuple[View, ...] = Field(("as_is",), description="test-time augmentation")
    laterality_matters: bool = Field(True, description="a mirrored image is another image; forbids 'mirrored'")

    @property
    def concepts(self) -> tuple[str, ...]:
        """What the expert assesses, in the order of the outputs."""
        return tuple(name for name in self.classes if name not in self.no_finding)

    @model_validator(mode="after")
    def _settings_agree(self) -> ClassifierSettings:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes {self.classes} hold a name twice: each output needs a name of its own")
        if len(set(self.weights)) < len(self.weights):
            raise ValueError(f"weights {self.weights} hold a file twice: a member would count double")
        if self.kind == "multi_class" and len(self.classes) < 2:
            raise ValueError("kind is multi_class with one class, whose softmax is always 1: use multi_label")
        for name in self.no_finding:
            if name not in self.classes:
                raise ValueError(f"no_finding holds {name!r}, which is not one of the classes {self.classes}")
        if not self.concepts:
            raise ValueError("every class is in no_finding: nothing is left to find")
        for name, threshold in self.thresholds.items():
            if name not in self.concepts or not 0 <= threshold <= 1:
                raise ValueError(
                    f"thresholds hold {name!r}: {threshold}; expected one of {self.concepts} with a value in 0..1"
                )
        check_views(self.views, self.concepts, laterality_matters=self.laterality_matters)
        return self


def build_classifier(settings: ClassifierSettings) -> nn.Module:
    """Timm's network with random weights and one output a class; nothing is downloaded.

    Raises:
        ValueError: timm knows no such network.
    """
    if settings.network not in timm.list_models():
        near = [name for name in timm.list_models(f"*{settings.network[:6]}*")][:5]
        raise ValueError(
            f"network is {settings.network!r}, which timm {timm.__version__} does not have: use one of its names"
            + (f", such as {', '.join(near)}" if near else "")
        )
    return timm.create_model(
        settings.network,
        pretrained=False,
        num_classes=len(settings.classes),
        in_chans=settings.preparation.channels,
    )


def to_probabilities(logits: Tensor, settings: ClassifierSettings) -> Tensor:
    """Probabilities (..., K) of logits (..., K) at the settings' temperature.

    Example:
        >>> settings = ClassifierSettings(network="test_resnet", classes=("a", "b"), kind="multi_class",
        ...     weights=("a.safetensors",), preparation=Preparation(size=32), temperature=2.0)
        >>> to_probabilities(torch.tensor([0.0, 2.0]), settings).tolist()  # 1 / (1 + e^-1)
        [0.2689414322376251, 0.7310585975646973]
    """
    scaled = logits.float() / settings.temperature
    return scaled.softmax(-1) if settings.kind == "multi_class" else scaled.sigmoid()


class ClassificationExpert:
    """Trained networks with their card."""

    def __init__(self, networks: Sequence[nn.Module], card: ExpertCard, settings: ClassifierSettings) -> None:
        self.networks = [network.eval() for network in networks]
        self._card = card
        self.settings = settings

    @property
    def card(self) -> ExpertCard:
        """Who it is and how good."""
        return self._card

    @torch.inference_mode()
    def logits(self, images: Sequence[Image.Image]) -> Tensor:
        """Logits of each member, (M, B, K); members are networks times views, views fastest."""
        found: list[Tensor] = []
        for start in range(0, len(images), CHUNK):
            chunk = images[start : start + CHUNK]
            batches = [
                torch.stack([prepare(show(image, view), self.settings.preparation) for image in chunk])
                for view in self.settings.views
            ]
            found.append(torch.stack([network(batch) for network in self.networks for batch in batches]))
        return torch.cat(found, 1)

    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """The probability of each finding in each image, with its spread over members."""
        if not images:
            return []
        members = to_probabilities(self.logits(images), self.settings).double()
        mean, std = members.mean(0), members.std(0, correction=0)
        index = [self.settings.classes.index(name) for name in self.settings.concepts]
        return [
            Examination(
                {},
                presences={
                    name: Presence(
                        round(float(mean[i, k]), 6), round(float(std[i, k]), 6), self.settings.thresholds.get(name)
                    )
                    for name, k in zip(self.settings.concepts, index, strict=True)
                },
            )
            for i in range(len(images))
        ]


def load_classification(folder: Path) -> ClassificationExpert:
    """Load an adopted or trained classifier.

    Raises:
        DataError: a file is missing or damaged, or the weights are not those that the card names.
    """
    card, settings = read_expert(folder, ClassifierSettings)
    check_version(folder, card, settings, settings.weights)
    networks = [load_weights(build_classifier(settings), folder / name) for name in settings.weights]
    return ClassificationExpert(networks, card, settings)
