"""Log-probabilities of answers under starting weights, kept for other runs from the same weights.

The folder holds a folder per model, and in it one file per run that computed something: the answers that no
earlier file has. A model is named by everything that its numbers come from, an answer by exactly what the model
reads: so other weights, another image, template or processor never hit, while runs on overlapping data, with
another loss, seed or adapter rank do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlmalign.data import Example
from vlmalign.models.loading import merged_tensors, unwrap
from vlmalign.models.vision_key import tensor_digest
from vlmalign.records.hashing import sha256_bytes
from vlmalign.records.sized_folder import FolderStats, SizedFolder

SUFFIX = ".logps"
MAX_BYTES = 2**30
KEY_BYTES = 16


class ReferenceCache:
    """Summed log-probabilities of answers, by prompt, answer and model.

    Values are those of the batches in which they were computed: padding and neighbours change them by rounding
    only, which in bfloat16 may be seen. A run on the same data with the same batch size gets the same bits whether
    it finds them here or computes them. An answer has one value here, where a run without this folder computes
    it once for each pair that it is in, each time rounded differently.

    Args:
        model: the policy before its first step; the whole of it is hashed.
        folder: where the files are; several runs and processes may share it.
        autocast: whether computation is in bfloat16 under float32 weights.
        max_bytes: of all files together, 20 bytes an answer; those used longest ago are deleted.

    Attributes:
        counts: answers `found` and `computed`, and `damaged` files, whose answers are computed again.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> from vlmalign.models.tiny import build_tiny_llava
        >>> vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16,
        ...                        vision_layers=1, heads=2)
        >>> first = ReferenceCache(vlm.model, folder)
        >>> first.add(["00" * 16], torch.tensor([-1.5]))
        tensor([-1.5000])
        >>> first.save()
        >>> ReferenceCache(vlm.model, folder).find(["00" * 16])
        tensor([-1.5000])
    """

    def __init__(
        self, model: nn.Module, folder: str | Path, *, autocast: bool = False, max_bytes: int = MAX_BYTES
    ) -> None:
        self._folder = SizedFolder(Path(folder), max_bytes, SUFFIX)
        self.model = model_key(model, autocast=autocast)
        self.counts = dict.fromkeys(("found", "computed", "damaged"), 0)
        self._known: dict[str, float] = {}
        self._new: dict[str, float] = {}
        for path in sorted((Path(folder) / self.model).glob(f"*{SUFFIX}")):
            self._read(path)

    def find(self, keys: Sequence[str]) -> Tensor | None:
        """Log-probabilities of K answers, (K,); None unless all are known."""
        if not all(key in self._known for key in keys):
            return None
        self.counts["found"] += len(keys)
        return torch.tensor([self._known[key] for key in keys])

    def add(self, keys: Sequence[str], logps: Tensor) -> Tensor:
        """Take over what was computed for K answers, (K,); what is known already stays.

        A number that is not finite is not kept.

        Returns:
            What stands for these answers from now on, (K,).
        """
        self.counts["computed"] += len(keys)
        values = []
        for key, value in zip(keys, logps.tolist(), strict=True):
            if key not in self._known and torch.isfinite(torch.tensor(value)):
                self._known[key] = self._new[key] = value
            values.append(self._known.get(key, value))
        return torch.tensor(values)

    def save(self) -> None:
        """Write what was added, whole or not at all; two runs that computed the same write the same file."""
        if not self._new:
            return
        keys = b"".join(bytes.fromhex(key) for key in self._new)
        tensors = {
            "keys": torch.frombuffer(bytearray(keys), dtype=torch.uint8).view(-1, KEY_BYTES),
            "logps": torch.tensor(list(self._new.values())),
        }
        with self._folder.writing(f"{self.model}/{sha256_bytes(keys)[:32]}{SUFFIX}") as partial:
            save_file(tensors, partial)
        self._new = {}

    def _read(self, path: Path) -> None:
        try:
            if self._folder.use(f"{self.model}/{path.name}") is None:
                return
            tensors = load_file(path)
            keys, logps = tensors["keys"].numpy().tobytes().hex(), tensors["logps"].tolist()
        except (
            SafetensorError,
            OSError,
            RuntimeError,
            KeyError,
        ):  # the library's backends differ in what they raise
            self.counts["damaged"] += path.exists()  # else another process has just made room
            return
        width = 2 * KEY_BYTES
        for row, value in enumerate(logps):
            self._known.setdefault(keys[row * width : (row + 1) * width], value)


def model_key(model: nn.Module, *, autocast: bool) -> str:
    """Hash of all weights, their types, the configuration, the device's kind, and the libraries' versions.

    Adapters are hashed as what they add to the weights, so that a new one, which adds nothing, changes nothing.
    """
    inner = unwrap(model)
    kind = next(inner.parameters()).device.type
    attention = getattr(inner.config, "_attn_implementation", None)
    digest = hashlib.sha256(
        json.dumps([kind, autocast, attention, torch.__version__, transformers.__version__]).encode()
    )
    digest.update(json.dumps(_without_names(inner.config.to_dict()), sort_keys=True, default=str).encode())
    for name, value in merged_tensors(inner):
        digest.update(f"{name}={tensor_digest({'value': value})}\n".encode())
    return digest.hexdigest()[:32]


def _without_names(config: Any) -> Any:
    """A configuration without the places that it was loaded from."""
    if not isinstance(config, dict):
        return config
    return {key: _without_names(value) for key, value in config.items() if key != "_name_or_path"}


def answer_keys(example: Example) -> list[str]:
    """Name each answer by the tensors that the prompt is to the model, and by its own tokens and mask.

    Example:
        >>> from vlmalign.data import EncodedResponse
        >>> answers = (EncodedResponse((5, 2), (True, True)), EncodedResponse((6, 2), (True, True)))
        >>> one, two = answer_keys(Example("p", {"input_ids": torch.tensor([[1]])}, answers))
        >>> len(one), one == two
        (32, False)
    """
    prompt = tensor_digest(example.prompt)
    names = [f"{prompt} {answer.token_ids} {answer.loss_mask}" for answer in example.responses]
    return [sha256_bytes(name.encode())[: 2 * KEY_BYTES] for name in names]


def reference_stats(folder: Path) -> dict[str, tuple[int, int]]:
    """Answers and bytes by model; a damaged file counts with its bytes alone."""
    stats: dict[str, tuple[int, int]] = {}
    for path in sorted(folder.glob(f"*/*{SUFFIX}")):
        answers, size = stats.get(path.parent.name, (0, 0))
        try:
            size += path.stat().st_size
            with safe_open(path, "pt") as file:
                answers += file.get_slice("logps").get_shape()[0]
        except (SafetensorError, OSError, RuntimeError):
            pass
        stats[path.parent.name] = (answers, size)
    return stats


def clear_references(folder: Path) -> FolderStats:
    """Delete the files of such a folder, and nothing else there."""
    return SizedFolder(folder, MAX_BYTES, SUFFIX).clear()
