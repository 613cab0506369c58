"""Frozen-vision features: what a model makes of an image before its language model, computed once.

A row of `pixel_values` (an image with its tiles, or a tile, as the family lays them out) is one entry. It is named
by its pixels, so by the image and by all that the processor did to it, and lies in a folder that is named by every
parameter and buffer that `get_image_features` reaches: another tower, projector or processor never hits.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.utils import ModelOutput

from vlmalign.models.image_rows import content, image_rows, stack_rows
from vlmalign.models.loading import backbone_of
from vlmalign.models.vision_key import key_of, tensor_digest, vision_tensors
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
        self._seen: dict[str, tuple[int, int, bool]] = {}  # state of the weights that the key names
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
        if not rows:  # a processor's padding for prompts of text alone
            return {name: value for name, value in inputs.items() if name not in images}
        self._check_key(rows[0])
        names = [self._name(row) for row in rows]
        entries = {name: found for name in dict.fromkeys(names) if (found := self._find(name)) is not None}
        missing = {name: row for name, row in zip(names, rows, strict=True) if name not in entries}
        if missing:
            entries |= self._compute(missing)
        device = images["pixel_values"].device
        features = _join([entries[name] for name in names], device)
        rest = {name: value for name, value in inputs.items() if name != "pixel_values"}
        return {**rest, "mm_encoder_outputs": {"image": features}}

    def _check_key(self, row: Mapping[str, Tensor]) -> None:
        """Name the vision side by its weights, again where one was written to, replaced or set to be trained.

        Buffers are part of the name but not watched: DDP writes to them at each step.
        """
        weights = dict(backbone_of(self._model).named_parameters())
        if self._key is None or self._seen != _states(weights, self._seen):
            reached = vision_tensors(self._model, row)
            self._key = key_of(self._model, reached)
            self._seen = _states(weights, [name for name in reached if name in weights])

    def forget(self) -> None:
        """Drop what is kept in memory; the folder stays."""
        self._memory.clear()
        self._held = 0

    def _name(self, row: Mapping[str, Tensor]) -> str:
        """Folder of the model, then the hash of the row and of how it is computed."""
        kind = row["pixel_values"].device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        return f"{self._key}/{tensor_digest(content(row), str(autocast))}"

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
        except (SafetensorError, OSError, RuntimeError):  # the library's backends differ in what they raise
            self.counts["damaged"] += path.exists()  # else another process has just made room
            return None
        self.counts["disk"] += 1
        self._remember(name, entry)
        return entry

    @torch.no_grad()
    def _compute(self, missing: Mapping[str, Entry]) -> dict[str, Entry]:
        """Run the tower on the rows that are not known, dropout off."""
        backbone = backbone_of(self._model)
        training = backbone.training
        found: dict[str, Entry] = {}
        backbone.eval()
        try:
            for names, images in stack_rows(missing):
                output = backbone.get_image_features(**images, return_dict=True)
                found |= zip(names, _split(output, len(names)), strict=True)
        finally:
            backbone.train(training)
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


# -- a result's features by row --------------------------------------------------------------------


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


def _states(weights: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, tuple[int, int, bool]]:
    """Which objects these weights are, how often they were written to, and whether they are trained."""
    found = ((name, weights[name]) for name in names)
    return {name: (id(value), value._version, value.requires_grad) for name, value in found}
