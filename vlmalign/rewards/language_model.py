"""Language models that rewards are read from: loaded from a folder or a run, and named by their weights."""

from __future__ import annotations

from pathlib import Path

import torch

from vlmalign.models import VLM, load_vlm
from vlmalign.models.loading import merged_tensors, model_folder
from vlmalign.models.vision_key import tensor_digest
from vlmalign.records.hashing import config_hash, sha256_file


def load_language_model(model: str | Path, *, dtype: str, device: str) -> VLM:
    """Load a model to read log-probabilities from.

    Args:
        model: a model folder, the folder of a run, a Hub id, or `builtin:NAME`.
        dtype: as for `load_vlm`.
        device: where to; "auto": the accelerator, if there is one.

    Raises:
        FileNotFoundError: no such model.
        ValueError: a folder that holds another kind of model.
    """
    return load_vlm(model_folder(model), dtype=dtype, device=chosen_device(device))


def chosen_device(device: str) -> str:
    """A device's name, "auto" resolved."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def weights_hashes(folder: str | Path) -> list[str]:
    """Hashes of a model folder's files of weights, by name of the file."""
    return [sha256_file(path) for path in sorted(Path(folder).glob("*.safetensors"))]


def model_digest(vlm: VLM) -> str:
    """Hash of a model's weights, their types and its chat template, wherever it was loaded from."""
    weights = [tensor_digest({name: value}) for name, value in merged_tensors(vlm.model)]
    return config_hash([weights, vlm.processor.chat_template])
