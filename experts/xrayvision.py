"""TorchXRayVision (Cohen et al. 2022, MIDL) as an expert: the mean of several of its chest X-ray networks.

VILA-M3 averages up to eight of them and asks some findings of some networks only; `only` does that here. DenseNets
need the extra `xrayvision`; the package's ResNets are torchvision's with one input channel. The package itself
downloads pickled weights and unpickles them without restriction, so it never loads any here: an expert's weights
are safetensors of its own folder, converted (`save_file(model.state_dict())`) in a place that you trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor, nn
from torchvision.models import resnet50, resnet101

from experts.expert_files import check_version, load_weights, read_expert
from experts.protocol import Examination, ExpertCard, Presence
from vlmalign.records.base import Part
from vlmalign.records.image import RelativePath

ARCHITECTURE = "xrayvision"
SIZES = {"DenseNet": 224, "ResNet50": 512, "ResNet101": 512}


class XrayNetwork(Part):
    """One network of the ensemble."""

    name: str = Field(pattern=r"^[a-z0-9_.-]+$")
    kind: Literal["DenseNet", "ResNet50", "ResNet101"] = "DenseNet"
    weights: RelativePath = Field(description="safetensors")
    pathologies: tuple[str, ...] = Field(
        min_length=1, description="in the order of its outputs; '' for an output without meaning"
    )
    thresholds: tuple[float | None, ...] | None = Field(
        None,
        description="the package's op_threshs, one an output; there the output becomes 0.5, which is no "
        "calibration; None leaves an output as it is",
    )

    @model_validator(mode="after")
    def _lengths_agree(self) -> XrayNetwork:
        if self.thresholds is not None and len(self.thresholds) != len(self.pathologies):
            raise ValueError(
                f"{self.name} has {len(self.thresholds)} thresholds for {len(self.pathologies)} pathologies"
            )
        named = [name for name in self.pathologies if name]
        if len(set(named)) < len(named):
            raise ValueError(f"{self.name} names a pathology twice")
        if self.thresholds is not None and not all(0 < t < 1 for t in self.thresholds if t is not None):
            raise ValueError(f"{self.name} has thresholds {self.thresholds}: each must lie between 0 and 1")
        return self


class XraySettings(Part):
    """What the ensemble asks of whom."""

    networks: tuple[XrayNetwork, ...] = Field(min_length=1)
    findings: dict[str, str] = Field(min_length=1, description="concept -> the package's name of the pathology")
    only: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="concept -> the networks asked for it; default all that know it"
    )
    thresholds: dict[str, float] = Field(default_factory=dict, description="by concept, of the mean probability")

    @property
    def concepts(self) -> tuple[str, ...]:
        """What the expert assesses, sorted."""
        return tuple(sorted(self.findings))

    @property
    def files(self) -> tuple[str, ...]:
        """The weight files."""
        return tuple(network.weights for network in self.networks)

    @model_validator(mode="after")
    def _every_finding_has_a_network(self) -> XraySettings:
        names = [network.name for network in self.networks]
        if len(set(names)) < len(names):
            raise ValueError(f"networks {names} hold a name twice")
        for where, keys in (("only", set(self.only)), ("thresholds", set(self.thresholds))):
            wrong = sorted(keys - set(self.findings))
            if wrong:
                raise ValueError(f"{where} holds {wrong[0]!r}, which is none of the findings {self.concepts}")
        for concept in self.findings:
            asked = self.only.get(concept, tuple(names))
            if set(asked) - set(names):
                raise ValueError(f"only.{concept} is {asked}: expected some of the networks {names}")
            knowing = [n.name for n in self.networks if self.findings[concept] in n.pathologies]
            ignorant = sorted(set(asked) - set(knowing)) if concept in self.only else []
            if ignorant or not knowing:
                who = f"{ignorant[0]} does not know" if ignorant else "no network knows"
                raise ValueError(f"{concept}: {who} {self.findings[concept]!r}")
        return self

    def asked(self, concept: str) -> tuple[XrayNetwork, ...]:
        """The networks that a concept is asked of."""
        wanted = self.only.get(concept, tuple(network.name for network in self.networks))
        return tuple(n for n in self.networks if n.name in wanted and self.findings[concept] in n.pathologies)


def xray_tensor(image: Image.Image, size: int) -> Tensor:
    """An 8-bit image as (1, size, size) in -1024..1024, the centre square, as the package's networks want it.

    Example:
        >>> found = xray_tensor(Image.new("L", (40, 20), 255), 16)
        >>> found.shape, found.max().item()
        (torch.Size([1, 16, 16]), 1024.0)
    """
    grey = image.convert("L")
    side = min(grey.size)
    left, top = (grey.width - side) // 2, (grey.height - side) // 2
    square = grey.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy((np.asarray(square, dtype=np.float32) / 255 * 2 - 1) * 1024)[None]


def calibrate(probabilities: Tensor, thresholds: Tensor) -> Tensor:
    """Piecewise linear, so that an operating point t becomes 0.5: p / 2t below, 1 - (1 - p) / 2(1 - t) above.

    Example:
        >>> calibrate(torch.tensor([0.1, 0.2, 0.6]), torch.tensor([0.2, 0.2, 0.2]))
        tensor([0.2500, 0.5000, 0.7500])
    """
    below = probabilities / (2 * thresholds)
    above = 1 - (1 - probabilities) / (2 * (1 - thresholds))
    return torch.where(probabilities < thresholds, below, above)


class XrayExpert:
    """Several networks with their card."""

    def __init__(self, networks: Mapping[str, nn.Module], card: ExpertCard, settings: XraySettings) -> None:
        self.networks = networks
        self._card = card
        self.settings = settings

    @property
    def card(self) -> ExpertCard:
        """Who it is and how good."""
        return self._card

    @torch.inference_mode()
    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """The mean probability of each finding over the networks asked for it, with its spread."""
        found = []
        for image in images:
            said = {network.name: self._ask(network, image) for network in self.settings.networks}
            presences = {}
            for concept in self.settings.concepts:
                pathology, asked = self.settings.findings[concept], self.settings.asked(concept)
                p = torch.stack([said[n.name][n.pathologies.index(pathology)] for n in asked]).double()
                presences[concept] = Presence(
                    round(float(p.mean()), 6),
                    round(float(p.std(correction=0)), 6),
                    self.settings.thresholds.get(concept),
                )
            found.append(Examination({}, presences=presences))
        return found

    def _ask(self, network: XrayNetwork, image: Image.Image) -> Tensor:
        """A network's probabilities (K,), from logits."""
        logits = self.networks[network.name](xray_tensor(image, SIZES[network.kind])[None])[0]
        if logits.shape != (len(network.pathologies),):
            raise ValueError(
                f"{network.name} gives {tuple(logits.shape)} outputs, expected {len(network.pathologies)}: name "
                "each"
            )
        p = logits.float().sigmoid()
        for k, threshold in enumerate(network.thresholds or ()):
            if threshold is not None:
                p[k] = calibrate(p[k], torch.tensor(threshold))
        return p


def load_xrayvision(folder: Path) -> XrayExpert:
    """Load an adopted ensemble.

    Raises:
        ImportError: torchxrayvision is not installed.
        DataError: a file is missing or damaged, or is not what the card names.
    """
    card, settings = read_expert(folder, XraySettings)
    check_version(folder, card, settings, settings.files)
    return XrayExpert(
        {n.name: load_weights(build_network(n), folder / n.weights) for n in settings.networks}, card, settings
    )


def build_network(network: XrayNetwork) -> nn.Module:
    """A network with random weights and one channel in, giving logits; nothing is downloaded.

    Raises:
        ImportError: torchxrayvision is needed and not installed.
    """
    outputs = len(network.pathologies)
    if network.kind != "DenseNet":
        make = resnet50 if network.kind == "ResNet50" else resnet101
        made: nn.Module = make(weights=None, num_classes=outputs)
        made.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        return made
    try:
        from torchxrayvision.models import DenseNet
    except ImportError:
        raise ImportError(
            "the expert needs torchxrayvision, which is not installed: pip install 'vlmalign[xrayvision]'"
        ) from None
    dense: nn.Module = DenseNet(weights=None, num_classes=outputs, apply_sigmoid=False)
    return dense
