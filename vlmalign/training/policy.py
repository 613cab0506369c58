"""The model a stage begins with."""

from __future__ import annotations

from typing import Any, Literal

import torch
from accelerate import PartialState
from torch import nn
from transformers import set_seed

from vlmalign.models import VLM, FeatureCache, LoraSettings, load_vlm
from vlmalign.models.loading import model_folder
from vlmalign.training.config import RunConfig, StageConfig
from vlmalign.training.freezing import freeze_parts
from vlmalign.training.processes import uses_cpu


def stage_device(config: RunConfig) -> torch.device:
    """Where a stage runs."""
    return PartialState(cpu=uses_cpu(config)).device


def load_policy(config: StageConfig) -> VLM:
    """Load the starting model as the configuration says: adapters, frozen parts, precision, device.

    The random generators are seeded first, so that new weights depend on the seed only.
    """
    set_seed(config.seed)
    vlm = load_vlm(
        model_folder(config.model),
        lora=lora_settings(config),
        dtype=weights_type(config),
        device=str(stage_device(config)),
    )
    prepare(vlm.model, config)
    return vlm


def lora_settings(config: StageConfig) -> LoraSettings | None:
    """The configuration's adapters, as models take them."""
    if config.lora is None:
        return None
    return LoraSettings(
        r=config.lora.rank,
        alpha=config.lora.alpha,
        dropout=config.lora.dropout,
        targets=config.lora.targets or "language",
        quantize=None if config.lora.quantize is None else _computation(config),
    )


def weights_type(config: StageConfig) -> str:
    """The type of the weights."""
    return "bfloat16" if config.dtype == "bfloat16" else "float32"


def prepare(model: Any, config: StageConfig) -> None:
    """Freeze parts, and switch on what saves memory."""
    freeze_parts(model, config.freeze)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def _computation(config: StageConfig) -> Literal["float32", "bfloat16"]:
    return "float32" if config.dtype == "float32" else "bfloat16"


def feature_cache_of(config: StageConfig, model: nn.Module) -> FeatureCache | None:
    """Where features of images come from, None where the configuration names no cache."""
    if config.feature_cache is None:
        return None
    return FeatureCache(model, config.feature_cache, max_bytes=int(config.feature_cache_gb * 2**30))
