"""The processes of one run: how they begin, and what their launch configuration must not ask for.

`torchrun` and `accelerate launch` tell a process by environment variables what it is part of. Where accelerate
would go on with something else than what was asked for, or against the stage's own settings, that is refused here.
"""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import DistributedType, PartialState

from vlmalign.models.quantization import check_quantization
from vlmalign.training.config import RunConfig, StageConfig

PATIENCE = timedelta(hours=2)  # the others wait while the first one writes a large model


def start_processes(config: RunConfig) -> None:
    """Join the other processes of the run; a single process has none.

    Args:
        config: of the stage.

    Raises:
        ValueError: a launch configuration that cannot be followed, or that contradicts the settings.
        ImportError: settings that need a package that is not installed.
    """
    state = PartialState(cpu=uses_cpu(config), timeout=PATIENCE)
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if state.num_processes != launched:
        raise ValueError(
            f"{launched} processes were launched and accelerate joins {state.num_processes} of them: each would "
            "train alone. Launch with torchrun or accelerate, and set device: cpu where there is no accelerator."
        )
    _check_precision(config)
    if not isinstance(config, StageConfig):  # nothing of the model is trained, nor spread over processes
        return
    if config.lora is not None and config.lora.quantize is not None:
        check_quantization()
    if launch_flag("ACCELERATE_USE_FSDP"):
        check_fsdp(config, state.distributed_type)
    if launch_flag("ACCELERATE_USE_DEEPSPEED"):
        check_deepspeed(config, state.distributed_type)


def uses_cpu(config: RunConfig) -> bool:
    """Whether a stage runs on the CPU: it is asked to, or there is nothing else."""
    return config.device == "cpu" or not torch.accelerator.is_available()


def launch_flag(name: str) -> bool:
    """Whether the launcher set a switch.

    Example:
        >>> launch_flag("VLMALIGN_NO_SUCH_SWITCH")
        False
    """
    return os.environ.get(name, "false").lower() in ("true", "1", "yes")


def is_sharded() -> bool:
    """Whether each process keeps a part of the weights only.

    Example:
        >>> is_sharded()
        False
    """
    return launch_flag("ACCELERATE_USE_FSDP") or launch_flag("ACCELERATE_USE_DEEPSPEED")


def _check_precision(config: RunConfig) -> None:
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked not in ("no", "bf16" if config.dtype == "mixed" else "no"):
        raise ValueError(
            f"the launch configuration says mixed_precision: {asked} and dtype is {config.dtype!r}: say "
            "mixed_precision: 'no' there, and choose with dtype alone (mixed: float32 weights, bfloat16 computing)"
        )


def check_fsdp(config: StageConfig, kind: DistributedType) -> None:
    """Refuse what a stage cannot do under FSDP.

    Args:
        config: of the stage.
        kind: what accelerate found.

    Raises:
        ValueError: naming the key and the remedy.
    """
    name = "the launch configuration asks for FSDP"
    if kind in (DistributedType.NO, DistributedType.MULTI_CPU):
        raise ValueError(f"{name} on a CPU, where accelerate would not shard: drop fsdp_config, or run on GPUs")
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise ValueError(f"{name} of version 1, expected 2: set fsdp_version: 2")
    if launch_flag("FSDP_CPU_RAM_EFFICIENT_LOADING"):
        raise ValueError(
            f"{name} with fsdp_cpu_ram_efficient_loading, which leaves all processes but one without weights, and "
            "the reference is computed before sharding: set it to false"
        )
    if launch_flag("FSDP_ACTIVATION_CHECKPOINTING"):
        raise ValueError(
            f"{name} with fsdp_activation_checkpointing: set it to false, and gradient_checkpointing in the stage"
        )
    _check_sharded(config, "FSDP")


def check_deepspeed(config: StageConfig, kind: DistributedType) -> None:
    """Refuse what a stage cannot do under DeepSpeed; arguments and errors as for `check_fsdp`."""
    if kind in (DistributedType.NO, DistributedType.MULTI_CPU):
        raise ValueError(
            "the launch configuration asks for DeepSpeed on a CPU, where accelerate would not use it: drop "
            "deepspeed_config, or run on GPUs"
        )
    if config.save_steps:
        raise ValueError(
            f"save_steps is {config.save_steps} and DeepSpeed's own checkpoints cannot be resumed exactly: drop "
            "save_steps to train without checkpoints, or launch with FSDP2"
        )
    _check_sharded(config, "DeepSpeed")


def _check_sharded(config: StageConfig, what: str) -> None:
    if config.feature_cache is not None:
        raise ValueError(
            f"feature_cache is set and {what} keeps a part of the vision tower in each process, which the cache "
            "cannot run: drop feature_cache, or launch without sharding"
        )
    if config.lora is not None and config.lora.quantize is not None:
        raise ValueError(
            f"lora.quantize is set and {what} cannot spread four-bit weights over processes: drop one of the two; "
            "without sharding, each process keeps all of the small weights"
        )
