"""Checkpoints that are whole or absent: written aside, then renamed into place.

A folder `checkpoint-N` holds the trained parameters (safetensors, names of the model in memory), the
optimiser's and scheduler's state, the random generators' state and the trainer's counters.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from vlmalign.models.sharding import (
    fill,
    is_main_process,
    load_optimizer_state,
    whole_optimizer_state,
    whole_tensors,
)

PREFIX = "checkpoint-"
PARTIAL = ".partial"
WEIGHTS = "trained.safetensors"


def complete_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, newest first; half-written ones are not among them."""
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if p.is_dir() and p.name.startswith(PREFIX)]
    found = [p for p in found if p.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The optimiser step a checkpoint was taken after."""
    return int(checkpoint.name.removeprefix(PREFIX))


def place_checkpoint(folder: Path, step: int, keep: int) -> None:
    """Rename a finished checkpoint from its partial place, then delete all but the newest `keep`."""
    name = f"{PREFIX}{step}"
    replace_folder(folder / PARTIAL / name, folder / name)
    for old in complete_checkpoints(folder)[keep:]:
        shutil.rmtree(old)


def replace_folder(partial: Path, target: Path) -> None:
    """Put a finished folder in its place; after a kill there is the old one, the new one or none."""
    for path in partial.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    if target.exists():
        shutil.rmtree(target)
    os.replace(partial, target)


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name; frozen ones come from the starting model again."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save_trained(model: nn.Module, folder: Path) -> None:
    """Write the trained parameters; every process must call this, and the main one writes."""
    tensors = whole_tensors(trained_parameters(model).items())
    if is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / WEIGHTS)


def load_trained(model: nn.Module, folder: Path) -> None:
    """Read the trained parameters back into a model.

    Raises:
        ValueError: the checkpoint holds other parameters than the model trains.
    """
    saved = load_file(folder / WEIGHTS)
    trained = trained_parameters(model)
    if differing := sorted(saved.keys() ^ trained.keys()):
        raise ValueError(
            f"{folder} and the model differ in {len(differing)} trained parameters, e.g. {differing[0]!r}. "
            "Continue with the versions that began the run, or pass --overwrite to start anew."
        )
    for name, parameter in trained.items():
        fill(parameter, saved[name])


def save_optimizer(optimizer: torch.optim.Optimizer, scheduler: Any, folder: Path) -> None:
    """Write the state of an optimiser whose parameters are spread over processes, and the schedule's.

    Every process must call this, and the main one writes; the number of processes may differ when it is read.
    """
    state = whole_optimizer_state(optimizer)
    if is_main_process():
        torch.save(state, folder / OPTIMIZER_NAME)
        torch.save(scheduler.state_dict(), folder / SCHEDULER_NAME)


def load_optimizer(optimizer: torch.optim.Optimizer, scheduler: Any, folder: Path) -> None:
    """Read what `save_optimizer` wrote."""
    state = torch.load(folder / OPTIMIZER_NAME, map_location="cpu", mmap=True, weights_only=True)
    load_optimizer_state(optimizer, state)
    scheduler.load_state_dict(torch.load(folder / SCHEDULER_NAME, weights_only=True))
