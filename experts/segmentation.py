"""The segmentation expert: a small U-Net that says of every pixel which structure it belongs to.

On disk it is a folder: `weights.safetensors`, and `expert.json` with the card, the network's settings and
how to measure. The version is the hash of the weights.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets import UNet
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError
from safetensors.torch import load_file, save
from torch import Tensor

from experts.measurement import Scale, measure
from experts.protocol import Examination, ExpertCard, Measured
from experts.targets import to_array
from experts.uncertainty import MEMBERS, summarise_counts, summarise_covers, turn, turn_back
from vlmalign.records import DataError
from vlmalign.records.base import Part
from vlmalign.records.hashing import sha256_bytes, sha256_file
from vlmalign.records.manifest import write_atomic

CARD, WEIGHTS = "expert.json", "weights.safetensors"
ARCHITECTURE = "segmentation"
CHUNK = 16  # images a forward pass


class NetworkSettings(Part):
    """Shape of the U-Net: each level after the first halves the resolution."""

    channels: tuple[int, ...] = Field(default=(16, 32, 64), min_length=2, description="feature maps of each level")
    residual_units: int = Field(
        default=1, ge=0, le=4, description="residual units in a level; 0: plain convolutions"
    )


class SegmentationSettings(Part):
    """What a segmentation expert needs besides its weights."""

    network: NetworkSettings
    size: int = Field(ge=16, description="longest side of the working resolution, in pixels")
    scales: dict[str, Scale] = Field(description="by structure: how to count it")
    floors: dict[str, float] = Field(
        default_factory=dict, description="by concept: root mean square error that the members do not see"
    )


def build_network(settings: NetworkSettings, n_structures: int) -> torch.nn.Module:
    """MONAI's U-Net with instance normalisation: RGB in, one logit for background and each structure out.

    Example:
        >>> network = build_network(NetworkSettings(channels=(4, 8)), 3)
        >>> network(torch.zeros(1, 3, 16, 16)).shape
        torch.Size([1, 4, 16, 16])
    """
    network = UNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=n_structures + 1,
        channels=settings.channels,
        strides=(2,) * (len(settings.channels) - 1),
        num_res_units=settings.residual_units,
    )
    return network.to(memory_format=torch.channels_last)


def to_batch(images: Sequence[NDArray[np.uint8]], multiple: int) -> Tensor:
    """Images (H, W, 3) of one shape as (B, 3, H', W') in 0..1, mirrored at right and bottom to a multiple.

    Example:
        >>> to_batch([np.zeros((5, 8, 3), dtype=np.uint8)], 4).shape
        torch.Size([1, 3, 8, 8])
    """
    stack = np.stack(images)
    bottom, right = -stack.shape[1] % multiple, -stack.shape[2] % multiple
    if bottom or right:
        stack = np.pad(stack, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="symmetric")
    batch = torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255
    return batch.contiguous(memory_format=torch.channels_last)


def most_likely(scores: Tensor) -> Tensor:
    """Index of the largest of (B, S + 1, H, W) over the classes, as uint8; the first on a tie.

    The same as `argmax(1)`, which on a processor takes as long as the whole network.

    Example:
        >>> most_likely(torch.tensor([[[[0.1, 0.4]], [[0.7, 0.4]], [[0.2, 0.2]]]])).tolist()
        [[[1, 0]]]
    """
    best, index = scores[:, 0], torch.zeros_like(scores[:, 0], dtype=torch.uint8)
    for k in range(1, scores.shape[1]):
        better = scores[:, k] > best
        index = index.masked_fill(better, k)
        best = torch.maximum(best, scores[:, k])
    return index


class SegmentationExpert:
    """A trained network with its card; examines images under eight flips and turns."""

    def __init__(self, network: torch.nn.Module, card: ExpertCard, settings: SegmentationSettings) -> None:
        self.network = network.eval()
        self._card = card
        self.settings = settings

    @property
    def card(self) -> ExpertCard:
        """Who it is and how good."""
        return self._card

    @torch.inference_mode()
    def segment(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Label images of B images of one shape: of each member (M, B, H, W), and of their mean (B, H, W)."""
        height, width = images[0].shape[:2]
        batch = to_batch(images, 2 ** (len(self.settings.network.channels) - 1))
        members, total = [], torch.zeros(())
        for member in MEMBERS:
            turned = turn(batch, member).contiguous(memory_format=torch.channels_last)
            probabilities = turn_back(self.network(turned).softmax(1), member)
            members.append(most_likely(probabilities)[:, :height, :width])
            total = total + probabilities
        return torch.stack(members).numpy(), most_likely(total)[:, :height, :width].numpy()

    def examine(self, images: Sequence[Image.Image]) -> list[Examination]:
        """Measure every structure in each image, and draw where it lies.

        Counts and covers are taken from each member's label image at the working resolution; the label
        image returned is that of the members' mean probability, at the image's own size.
        """
        arrays = [to_array(image, self.settings.size) for image in images]
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, array in enumerate(arrays):
            by_shape[array.shape].append(i)
        waiting: dict[int, Future[Examination]] = {}
        with ThreadPoolExecutor(1) as worker:  # measures one chunk while the network sees the next
            for indices in by_shape.values():
                for start in range(0, len(indices), CHUNK):
                    chunk = indices[start : start + CHUNK]
                    labels, mean = self.segment([arrays[i] for i in chunk])
                    for place, i in enumerate(chunk):
                        waiting[i] = worker.submit(
                            self._examination, labels[:, place], mean[place], images[i].size
                        )
            return [waiting[i].result() for i in range(len(images))]

    def _examination(
        self, members: NDArray[np.uint8], mean: NDArray[np.uint8], size: tuple[int, int]
    ) -> Examination:
        measurements: dict[str, Measured] = {}
        floors = self.settings.floors
        for k, structure in enumerate(self.card.structures, start=1):
            scale = self.settings.scales[structure]
            counts, covers = zip(*(measure(mask, scale) for mask in members == k), strict=True)
            name = f"{structure}_count"
            measurements[name] = summarise_counts(counts, floors.get(name, 0.0))
            name = f"{structure}_cover"
            measurements[name] = summarise_covers(covers, floors.get(name, 0.0))
        if mean.shape != size[::-1]:
            mean = np.asarray(Image.fromarray(mean).resize(size, Image.Resampling.NEAREST))
        label_of = {
            f"{structure}_{what}": k
            for k, structure in enumerate(self.card.structures, start=1)
            for what in ("count", "cover")
        }
        return Examination(measurements, mean, label_of)


def concepts_of(structures: Sequence[str]) -> tuple[str, ...]:
    """What a segmentation expert measures.

    Example:
        >>> concepts_of(["platelet"])
        ('platelet_count', 'platelet_cover')
    """
    return tuple(f"{structure}_{what}" for structure in structures for what in ("count", "cover"))


def save_expert(expert: SegmentationExpert, folder: str | Path) -> Path:
    """Write weights and `expert.json`, the latter last: its presence marks the folder as complete."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / WEIGHTS, weight_bytes(expert.network))
    content = {"card": expert.card.model_dump(mode="json"), "settings": expert.settings.model_dump(mode="json")}
    write_atomic(folder / CARD, (json.dumps(content, sort_keys=True, indent=2) + "\n").encode())
    return folder


def weight_bytes(network: torch.nn.Module) -> bytes:
    """A network's parameters and buffers in safetensors form; equal weights give equal bytes."""
    return save({name: tensor.detach().contiguous() for name, tensor in sorted(network.state_dict().items())})


def weight_version(network: torch.nn.Module) -> str:
    """Hash of a network's weights, first 12 hexadecimal digits."""
    return sha256_bytes(weight_bytes(network))[:12]


def load_segmentation(folder: Path) -> SegmentationExpert:
    """Load what `save_expert` wrote.

    Raises:
        DataError: a file is missing or damaged, or the weights are not those that the card names.
    """
    remedy = "Train the expert again with --overwrite, or restore the file."
    file = folder / CARD
    try:
        content = json.loads(file.read_bytes())
        card = ExpertCard.model_validate_json(json.dumps(content["card"]))
        settings = SegmentationSettings.model_validate_json(json.dumps(content["settings"]))
    except FileNotFoundError:
        raise DataError("not a trained expert: expert.json is missing", remedy, file=folder) from None
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DataError(f"expert.json is not readable ({error})", remedy, file=file) from None
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise DataError("the expert's weights are missing", remedy, file=weights)
    found = sha256_file(weights)[:12]
    if found != card.version:
        raise DataError(f"the weights' hash is {found}, the card says {card.version}", remedy, file=weights)
    network = build_network(settings.network, len(card.structures))
    network.load_state_dict(load_file(weights))
    return SegmentationExpert(network, card, settings)
