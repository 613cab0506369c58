"""The MONAI expert: any of MONAI's 2-D networks, by name with our own weights or out of a bundle.

A bundle's configuration is a program: `_target_` names any Python object to call and `$` starts an expression that
is evaluated. Reading one is running it, so a bundle is loaded only where the settings say `trust_bundle: true`
and, as settings come with the folder, whoever runs it says so too: by adopting it, or in
`VLMALIGN_TRUSTED_BUNDLES`. A network by name is built from plain numbers and texts and needs no trust; arguments
that fetch weights are refused.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import monai.networks.nets
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor, nn

from experts.expert_files import check_version, load_weights, read_expert
from experts.mask_measures import MaskMeasure, check_measures, measure_members
from experts.preparation import Preparation, prepare
from experts.protocol import Examination, ExpertCard, ImageContext, Presence
from experts.views import View, check_views, show, undo
from vlmalign.records import DataError
from vlmalign.records.base import Part
from vlmalign.records.image import RelativePath

FETCHES = re.compile("pretrain|url|^checkpoint$|download")
NAMED, BUNDLE = "monai_network", "monai_bundle"


class MonaiSettings(Part):
    """What is common to MONAI experts: what goes in, what comes out, and what is measured of it."""

    task: Literal["segmentation", "multi_label", "multi_class"] = Field(
        description="segmentation: (B, C, H, W) scores of background and each structure; the others: (B, C) logits"
    )
    preparation: Preparation
    overlapping: bool = Field(
        False, description="segmentation: each channel is a structure by sigmoid, there is no background channel"
    )
    structures: tuple[str, ...] = Field((), description="segmentation: what the labels from 1 are")
    measures: tuple[MaskMeasure, ...] = Field((), description="segmentation: the concepts")
    classes: tuple[str, ...] = Field((), description="classification: the network's outputs, in order")
    no_finding: tuple[str, ...] = Field((), description="classes that are no finding, e.g. normal")
    thresholds: dict[str, float] = Field(default_factory=dict, description="classification: by concept")
    views: tuple[View, ...] = ("as_is",)
    laterality_matters: bool = Field(True, description="a mirrored image is another image; forbids 'mirrored'")
    weights: tuple[RelativePath, ...] = Field((), description="one safetensors file a member")

    @property
    def concepts(self) -> tuple[str, ...]:
        """What the expert assesses."""
        if self.task == "segmentation":
            return tuple(measure.concept for measure in self.measures)
        return tuple(name for name in self.classes if name not in self.no_finding)

    @property
    def outputs(self) -> int:
        """How many channels the network's output must have."""
        return len(self.structures) + (not self.overlapping) if self.task == "segmentation" else len(self.classes)

    @model_validator(mode="after")
    def _task_has_what_it_needs(self) -> MonaiSettings:
        if self.task == "segmentation":
            if not self.structures or not self.measures or self.classes:
                raise ValueError("a segmentation needs structures and measures, and has no classes")
            check_measures(self.measures, self.structures)
            if self.preparation.fit != "squash":
                raise ValueError(
                    "a segmentation needs preparation.fit squash: its masks are put back onto the image"
                )
        elif not self.classes or self.structures or self.measures:
            raise ValueError(f"{self.task} needs classes, and has no structures and no measures")
        wrong = sorted(set(self.thresholds) - set(self.concepts))
        if wrong:
            raise ValueError(f"thresholds hold {wrong[0]!r}, which is none of {self.concepts}")
        check_views(self.views, self.concepts, laterality_matters=self.laterality_matters)
        return self


class NamedSettings(MonaiSettings):
    """A network of `monai.networks.nets` by name."""

    network: str = Field(description="class name, e.g. UNet")
    arguments: dict[str, Any] = Field(default_factory=dict, description="of its constructor: plain values only")

    @model_validator(mode="after")
    def _has_weights(self) -> NamedSettings:
        if not self.weights:
            raise ValueError("weights is empty: give at least one safetensors file")
        if self.arguments.get("spatial_dims", 2) != 2:
            raise ValueError(
                f"arguments.spatial_dims is {self.arguments['spatial_dims']}, and experts look at 2-D images: "
                "give a 2-D network, which `examine_volume` takes through a volume slice by slice"
            )
        return self


class BundleSettings(MonaiSettings):
    """A network out of a bundle's configuration."""

    bundle: RelativePath = Field("bundle", description="folder with configs/ and models/")
    config: RelativePath = Field("configs/inference.json", description="in the bundle; JSON or YAML")
    model: RelativePath = Field(
        "models/model.pt",
        description="in the bundle; safetensors, or a state dict that torch reads with weights_only",
    )
    network_key: str = Field("network_def", description="where the configuration defines the network")
    trust_bundle: bool = Field(False, description="a bundle is a program: true means that you would run it")
    allow_torchscript: bool = Field(False, description="a TorchScript file is a program too, compiled")


def build_named(settings: NamedSettings) -> nn.Module:
    """A network of MONAI with random weights.

    Raises:
        ValueError: no such network, or arguments that it does not take.
    """
    found = getattr(monai.networks.nets, settings.network, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(
            f"network is {settings.network!r}, which is no network of monai.networks.nets: use a class name such "
            "as UNet"
        )
    fetching = [name for name, value in settings.arguments.items() if FETCHES.search(name) and value]
    if fetching:
        raise ValueError(
            f"arguments.{fetching[0]} has {settings.network} fetch or unpickle weights of its own: leave it out, "
            "or set it to false; the expert's weights are its safetensors files"
        )
    if "pretrained" in inspect.signature(found).parameters:  # true by default in some networks
        settings = settings.model_copy(update={"arguments": {**settings.arguments, "pretrained": False}})
    try:
        return found(**settings.arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{settings.network} cannot be made with {settings.arguments}: {error}") from None


class MonaiExpert:
    """Networks with their card; segments or classifies 2-D images, which may be slices of a volume."""

    def __init__(self, networks: Sequence[nn.Module], card: ExpertCard, settings: MonaiSettings) -> None:
        self.networks = [network.eval() for network in networks]
        self._card = card
        self.settings = settings

    @property
    def card(self) -> ExpertCard:
        """Who it is and how good."""
        return self._card

    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """Examine images, with nothing known of them but their pixels."""
        return self.examine_in_context(images, [ImageContext()] * len(images))

    @torch.inference_mode()
    def examine_in_context(
        self, images: Sequence[Image.Image], contexts: Sequence[ImageContext]
    ) -> list[Examination]:
        """Examine images one by one; lengths are in millimetres where an image's spacing is known, else in pixels.

        Masks are measured at the image's own size, each member's alone. The label image shown is that of the
        members' mean probability.
        """
        one = self._segment if self.settings.task == "segmentation" else self._classify
        return [one(image, context) for image, context in zip(images, contexts, strict=True)]

    def _outputs(self, image: Image.Image) -> list[tuple[View, Tensor]]:
        found = []
        for view in self.settings.views:
            batch = prepare(show(image, view), self.settings.preparation)[None]
            found += [(view, self._output(network, batch)) for network in self.networks]
        return found

    def _output(self, network: nn.Module, batch: Tensor) -> Tensor:
        """One image's output, (C, ...)."""
        try:
            output = network(batch)
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"the network of {self.card.name} cannot take an input of shape {tuple(batch.shape)} "
                f"({(str(error).splitlines() or [''])[0]}): check preparation.size and preparation.channels"
            ) from error
        if isinstance(output, (list, tuple)):  # deep supervision, auxiliary heads: the first is the answer
            output = output[0]
        dims = 4 if self.settings.task == "segmentation" else 2
        if output.ndim != dims or output.shape[1] != self.settings.outputs:
            raise ValueError(
                f"the network of {self.card.name} gives shape {tuple(output.shape)}, expected "
                f"{self.settings.outputs} "
                f"channels in {dims} dimensions for {self.settings.task}: check structures, classes and arguments"
            )
        return output[0].float()

    def _classify(self, image: Image.Image, context: ImageContext) -> Examination:
        logits = torch.stack([output for _, output in self._outputs(image)]).double()
        p = logits.softmax(-1) if self.settings.task == "multi_class" else logits.sigmoid()
        mean, std = p.mean(0), p.std(0, correction=0)
        presences = {
            name: Presence(round(float(mean[k]), 6), round(float(std[k]), 6), self.settings.thresholds.get(name))
            for k, name in enumerate(self.settings.classes)
            if name in self.settings.concepts
        }
        return Examination({}, presences=presences)

    def _segment(self, image: Image.Image, context: ImageContext) -> Examination:
        size = (image.height, image.width)
        members, total = [], np.zeros((), dtype=np.float64)
        for view, scores in self._outputs(image):
            full = torch.nn.functional.interpolate(scores[None], size, mode="bilinear", align_corners=False)[0]
            p = full.sigmoid() if self.settings.overlapping else full.softmax(0)
            back: NDArray[Any] = np.stack([undo(layer, view) for layer in p.numpy()])
            members.append(self._labels(back))
            total = total + back
        labels = self._labels(total / len(members))
        structures, spacing = self.settings.structures, context.spacing_mm
        measured, presences, undefined = measure_members(members, structures, self.settings.measures, spacing)
        label_of = {m.concept: structures.index(m.of) + 1 for m in self.settings.measures if "+" not in m.of}
        return Examination(measured, labels, label_of, presences, undefined)

    def _labels(self, probabilities: NDArray[Any]) -> NDArray[np.uint8]:
        """Label image (H, W) of (C, H, W); where structures overlap the later ones lie on top."""
        if not self.settings.overlapping:
            return probabilities.argmax(0).astype(np.uint8)
        labels = np.zeros(probabilities.shape[1:], dtype=np.uint8)
        for k, layer in enumerate(probabilities, start=1):
            labels[layer > 0.5] = k
        return labels


def load_named(folder: Path) -> MonaiExpert:
    """Load a MONAI network with our own weights.

    Raises:
        DataError: a file is missing or damaged, or the settings do not make a network that fits the weights.
    """
    card, settings = read_expert(folder, NamedSettings)
    check_version(folder, card, settings, settings.weights)
    try:
        networks = [build_named(settings) for _ in settings.weights]
    except ValueError as error:
        raise DataError(str(error), "Correct settings.network.", file=folder, field="settings.network") from None
    for network, name in zip(networks, settings.weights, strict=True):
        load_weights(network, folder / name)
    return MonaiExpert(networks, card, settings)
