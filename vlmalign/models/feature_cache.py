"""Frozen-vision features: what a model makes of an image before its language model, computed once.

A row of `pixel_values` (an image, a tile, or the images of one prompt, as the family lays them out) is one entry.
It is named by its pixels, so by the image and by all that the processor did to it, and lies in a folder that is
named by every parameter and buffer that `get_image_features` reaches: another tower, projector or processor
never hits.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.utils import ModelOutput

from vlmalign.models.loading import backbone_of
from vlmalign.models.vision_key import tensor_digest, vision_key
from vlmalign.records.sized_folder import SizedFolder

Entry = dict[str, Tensor]


@dataclass
class ImageFeatures(ModelOutput):  # type: ignore[misc]  # transformers is not typed
    """What models take as `mm_encoder_outputs["image"]`.

    Attributes:
        pooler_output: features by row, a list of (tokens, H) or one tensor (rows, tokens, H).
        deepstack_features: for families that feed deeper layers, the same by layer.
    """

    pooler_output: Any = None
    deepstack_features: Any = None


class FeatureCache:
    """Features of images by a vision tower and projector that are not trained.

    Args:
        model: a Hugging Face image-text model, possibly wrapped; its vision side must be frozen.
        folder: where entries are kept; None: in memory only. Several processes may share it.
        max_bytes: of the folder, all models together; the entries that were used longest ago are deleted.
        memory_bytes: of features kept in memory besides.

    Attributes:
        counts: `memory` and `disk` hits, `computed` rows, and `damaged` files that were computed again.

    Raises:
        ValueError: a parameter that `get_image_features` reaches is trained.

    Example:
        >>> from vlmalign.models.tiny import build_tiny_llava
        >>> vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16,
        ...                        vision_layers=1, heads=2)
        >>> _ = vlm.model.requires_grad_(False)
        >>> cache = FeatureCache(vlm.model)
        >>> inputs = {"pixel_values": torch.zeros(2, 3, 24, 24)}
        >>> cache.replace_images(inputs)["mm_encoder_outputs"]["image"].pooler_output[0].shape
        torch.Size([4, 16])
        >>> dict(cache.counts)  # both images are the same
        {'memory': 0, 'disk': 0, 'computed': 1, 'damaged': 0}
    """

    def __init__(
        self,
        model: nn.Module,
        folder: str | Path | None = None,
        *,
        max_bytes: int = 20 * 2**30,
        memory_bytes: int = 2**30,
    ) -> None:
        self._model = model
        self._folder = None if folder is None else SizedFolder(Path(folder), max_bytes)
        self._memory_bytes = memory_bytes
        self._memory: OrderedDict[str, Entry] = OrderedDict()
        self._held = 0
        self._key: str | None = None
        self.counts = dict.fromkeys(("memory", "disk", "computed", "damaged"), 0)

    def replace_images(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with `mm_encoder_outputs` in the place of `pixel_values`; text alone stays as it is.

        Args:
            inputs: a processor's output, other entries along.

        Raises:
            ValueError: see the class; or features that cannot be told apart by row.
        """
        if inputs.get("pixel_values") is None:
            return dict(inputs)
        accepted = inspect.signature(backbone_of(self._model).get_image_features).parameters
        images = {name: value for name, value in inputs.items() if name in accepted}
        rows = list(image_rows(images))
        if self._key is None:
            self._key = vision_key(self._model, rows[0])
        names = [self._name(row) for row in rows]
        entries = {name: found for name in dict.fromkeys(names) if (found := self._find(name)) is not None}
        missing = {name: row for name, row in zip(names, rows, strict=True) if name not in entries}
        if missing:
            entries |= self._compute(missing)
        device = images["pixel_values"].device
        features = _join([entries[name] for name in names], device)
        rest = {name: value for name, value in inputs.items() if name != "pixel_values"}
        return {**rest, "mm_encoder_outputs": {"image": features}}

    def forget(self) -> None:
        """Drop what is kept in memory; the folder stays."""
        self._memory.clear()
        self._held = 0

    def _name(self, row: Mapping[str, Tensor]) -> str:
        """Folder of the model, then the hash of the row and of how it is computed."""
        kind = row["pixel_values"].device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        return f"{self._key}/{tensor_digest(row, str(autocast))}"

    def _find(self, name: str) -> Entry | None:
        if name in self._memory:
            self._memory.move_to_end(name)
            self.counts["memory"] += 1
            return self._memory[name]
        path = None if self._folder is None else self._folder.use(name + ".safetensors")
        if path is None:
            return None
        try:
            entry = load_file(path)
        except FileNotFoundError:  # another process has just made room
            return None
        except (SafetensorError, OSError):
            self.counts["damaged"] += 1
            return None
        self.counts["disk"] += 1
        self._remember(name, entry)
        return entry

    @torch.no_grad()
    def _compute(self, missing: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Entry]:
        """Run the tower on the rows that are not known, dropout off."""
        backbone = backbone_of(self._model)
        training = backbone.training
        backbone.eval()
        try:
            output = backbone.get_image_features(**_stack(list(missing.values())), return_dict=True)
        finally:
            backbone.train(training)
        pieces = _split(output, len(missing))
        found = dict(zip(missing, pieces, strict=True))
        self.counts["computed"] += len(found)
        for name, entry in found.items():
            if self._folder is not None:
                with self._folder.writing(name + ".safetensors") as partial:
                    save_file({key: value.contiguous().cpu() for key, value in entry.items()}, partial)
            self._remember(name, entry)
        return found

    def _remember(self, name: str, entry: Entry) -> None:
        self._memory[name] = entry
        self._held += _size(entry)
        while self._held > self._memory_bytes and self._memory:
            self._held -= _size(self._memory.popitem(last=False)[1])


# -- rows of images ---------------------------------------------------------------------------------


def image_rows(images: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The images one by one, each with a first dimension of its own."""
    if "image_grid_thw" in images:  # patches of all images in one long row
        patches = images["image_grid_thw"].prod(1).tolist()
        pixels = images["pixel_values"].split(patches)
        for i, own in enumerate(pixels):
            yield {"pixel_values": own, "image_grid_thw": images["image_grid_thw"][i : i + 1]}
        return
    for i in range(images["pixel_values"].shape[0]):
        yield {name: value[i : i + 1] for name, value in images.items()}


def _stack(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def _split(output: Any, n: int) -> list[Entry]:
    """A result's features by row."""
    fields = {"pooler": output.pooler_output}
    for layer, features in enumerate(getattr(output, "deepstack_features", None) or ()):
        fields[f"deepstack.{layer}"] = features
    entries: list[Entry] = [{} for _ in range(n)]
    for name, value in fields.items():
        if len(value) != n:
            raise ValueError(
                f"{name} features have {len(value)} rows for {n} rows of images: use no feature cache."
            )
        stacked = isinstance(value, Tensor)
        for entry, features in zip(entries, value, strict=True):
            entry[name + (".stacked" if stacked else "")] = features.detach()
    return entries


def _join(entries: Sequence[Entry], device: torch.device) -> ImageFeatures:
    def gather(name: str) -> Any:
        if name in entries[0]:
            return [entry[name].to(device) for entry in entries]
        return torch.stack([entry[name + ".stacked"].to(device) for entry in entries])

    layers = [f"deepstack.{layer}" for layer in range(sum("deepstack" in name for name in entries[0]))]
    return ImageFeatures(gather("pooler"), [gather(name) for name in layers] or None)


def _size(entry: Entry) -> int:
    return sum(value.nbytes for value in entry.values())
