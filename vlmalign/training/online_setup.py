"""What an online run needs before its first round."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import DistributedType
from torch import nn

from vlmalign.models import FeatureCache
from vlmalign.models.actor_critic import ActorCritic, ActorCriticOutput
from vlmalign.training.policy import feature_cache_of
from vlmalign.training.ppo_config import PpoConfig
from vlmalign.training.processes import uses_cpu


def online_accelerator(config: PpoConfig, folder: Path) -> Accelerator:
    """One process, or several that each hold the whole model; what `report_to` names logs below the folder.

    Raises:
        ValueError: sharded weights.
    """
    trains_vision = not config.lora and "vision" not in config.freeze
    accelerator = Accelerator(
        cpu=uses_cpu(config),
        log_with=list(config.report_to) or None,
        project_dir=str(folder),
        mixed_precision="bf16" if config.dtype == "mixed" else "no",
        kwargs_handlers=[
            DistributedDataParallelKwargs(
                # a tower's last layers may get no gradient (LLaVA reads an earlier one), nor any part of it in a
                # batch of texts
                find_unused_parameters=trains_vision,
                # they are constants here, and where processes have different numbers of held-out batches their
                # broadcast, one a forward, would lack a partner: NCCL waits for it for ever
                broadcast_buffers=False,
            )
        ],
    )
    plain = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
    if accelerator.distributed_type not in plain:
        raise ValueError(
            f"ppo runs on {accelerator.distributed_type.value}, and answers cannot be sampled from sharded "
            "weights: launch it with DDP (and lora, to save memory)"
        )
    return accelerator


def disable_dropout(model: nn.Module) -> None:
    """Set every dropout to 0: the ratio of two policies must not depend on chance."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def round_features(config: PpoConfig, model: nn.Module) -> tuple[FeatureCache | None, bool]:
    """Where features of images come from, and whether they are kept over rounds.

    A folder that the configuration names; else, where vision and projector are frozen, memory, for one round.
    """
    named = feature_cache_of(config, model)
    if named is not None:
        return named, True
    frozen = config.lora is not None or {"vision", "projector"} <= set(config.freeze)
    return (FeatureCache(model) if frozen else None), False


def reference_policy(
    config: PpoConfig, model: nn.Module, features: FeatureCache | None
) -> Callable[..., ActorCriticOutput]:
    """The policy as the stage began: adapters off, or a frozen copy that shares what is not trained."""
    if config.lora:
        actor = ActorCritic(model, critic=False)
        return partial(actor, features=features, temperature=config.temperature, without_adapters=True)
    shared = {id(p): p for p in model.parameters() if not p.requires_grad}
    frozen = copy.deepcopy(model, shared).requires_grad_(False).eval()
    return partial(ActorCritic(frozen, critic=False), features=features, temperature=config.temperature)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What is trained, for AdamW: matrices with weight decay, vectors without."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [([p for p in trained if p.ndim > 1], weight_decay), ([p for p in trained if p.ndim <= 1], 0.0)]
    return [{"params": params, "weight_decay": decay} for params, decay in groups if params]


def planned_rounds(config: PpoConfig, cases: int, processes: int) -> int | None:
    """Rounds to take; None where floating point operations decide."""
    if config.max_steps is not None:
        return config.max_steps
    if config.epochs is not None:
        return max(1, math.ceil(config.epochs * cases / (config.batch_size * processes)))
    return None


def learning_rate_factor(config: PpoConfig, done: float, step: float) -> float:
    """Share of the peak learning rate for the round after a share `done` of the run, itself a share `step` of it.

    Example:
        >>> settings = {"model": "m", "data": "d", "out": "o", "max_steps": 4, "reward": "symbolic"}
        >>> config = PpoConfig(**settings, warmup=0.5, lr_schedule="linear")
        >>> [learning_rate_factor(config, round / 4, 1 / 4) for round in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """
    if config.warmup and done + step <= config.warmup:
        return (done + step) / config.warmup
    share = min(1.0, max(0.0, (done - config.warmup) / (1 - config.warmup)))
    if config.lr_schedule == "constant":
        return 1.0
    return 1 - share if config.lr_schedule == "linear" else 0.5 * (1 + math.cos(math.pi * share))
