"""What an online run remembers from round to round, and its checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlmalign.losses.advantages import Moments
from vlmalign.training import checkpoints

STATE, OPTIMIZER, RNG = "state.json", "optimizer.pt", "rng_state.pth"
BEST = "best-"


@dataclass
class OnlineState:
    """Where a run stands; all of it is in every checkpoint.

    Attributes:
        round: rounds that are done.
        updates: optimiser steps that were taken.
        kl_coefficient: beta of the next round.
        baseline: see `Shaper`.
        seen: see `Shaper`.
        flops: floating point operations so far, by what they were for.
        last_flops: those of the last round.
        answers: how many were sampled.
        invalid: answers without a score of the reward, by reason, whatever the settings counted them as.
        best: the evaluation of the best checkpoint so far, with its round.
        first: the evaluation before the first round.
        last: the newest evaluation.
        stopped: why the run ended early, None if it did not.
    """

    round: int = 0
    updates: int = 0
    kl_coefficient: float = 0.0
    baseline: float | None = None
    seen: Moments = field(default_factory=Moments)
    flops: dict[str, float] = field(default_factory=dict)
    last_flops: float = 0.0
    answers: int = 0
    invalid: dict[str, int] = field(default_factory=dict)
    best: dict[str, float | None] | None = None
    first: dict[str, float | None] | None = None
    last: dict[str, float | None] | None = None
    stopped: str | None = None

    def count(self, answers: int, invalid: Mapping[str, int], flops: Mapping[str, float]) -> None:
        """Add a round's answers, those without a score by reason, and its operations."""
        self.answers += answers
        for reason, number in invalid.items():
            self.invalid[reason] = self.invalid.get(reason, 0) + number
        for name, value in flops.items():
            self.flops[name] = self.flops.get(name, 0.0) + value
        self.last_flops = sum(flops.values())

    def summary(self) -> dict[str, Any]:
        """What of it belongs into summary.json."""
        return {
            "steps": self.round,
            "updates": self.updates,
            "answers": self.answers,
            "invalid": dict(sorted(self.invalid.items())),
            "stopped": self.stopped,
            "kept_round": self.round if self.best_round is None else self.best_round,
            "evaluation": {"first": self.first, "last": self.last, "kept": self.best},
            "flops": {**self.flops, "total": sum(self.flops.values())},
        }

    @property
    def best_round(self) -> int | None:
        """The round after which the best checkpoint was taken."""
        return None if self.best is None else int(self.best["round"] or 0)


def save_best(folder: Path, model: nn.Module, number: int) -> None:
    """Keep the trained parameters as they are after a round."""
    partial = folder / checkpoints.PARTIAL / f"{BEST}{number}"
    shutil.rmtree(partial, ignore_errors=True)
    checkpoints.save_trained(model, partial)
    checkpoints.replace_folder(partial, folder / f"{BEST}{number}")


def load_best(folder: Path, model: nn.Module, number: int) -> None:
    """Put the parameters of that round back."""
    checkpoints.load_trained(model, folder / f"{BEST}{number}")


def save_checkpoint(folder: Path, model: nn.Module, optimizer: Any, state: OnlineState, keep: int) -> None:
    """Write a checkpoint, whole or not at all, and delete what no checkpoint needs any more.

    Args:
        folder: of checkpoints.
        model: its trained parameters are saved.
        optimizer: its state is saved.
        state: where the run stands.
        keep: how many checkpoints stay.
    """
    partial = folder / checkpoints.PARTIAL / f"{checkpoints.PREFIX}{state.round}"
    shutil.rmtree(partial, ignore_errors=True)
    checkpoints.save_trained(model, partial)
    torch.save(optimizer.state_dict(), partial / OPTIMIZER)
    torch.save(_generators(), partial / RNG)
    (partial / STATE).write_text(json.dumps(asdict(state), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    checkpoints.place_checkpoint(folder, state.round, keep)
    for old in folder.glob(f"{BEST}*"):
        if old.name != f"{BEST}{state.best_round}":
            shutil.rmtree(old)


def load_checkpoint(checkpoint: Path, model: nn.Module, optimizer: Any, device: torch.device) -> OnlineState:
    """Put model, optimiser and random generators back as they were, and return where the run stood.

    Raises:
        ValueError: the checkpoint is of another model or of another version of this package.
    """
    found = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    known = {entry.name for entry in fields(OnlineState)}
    if differing := sorted(found.keys() ^ known):
        raise ValueError(
            f"{checkpoint} and this version differ in {differing[0]!r}. Continue with the version that began "
            "the run, or pass --overwrite to start anew."
        )
    checkpoints.load_trained(model, checkpoint)
    optimizer.load_state_dict(torch.load(checkpoint / OPTIMIZER, map_location=device, weights_only=True))
    _restore_generators(torch.load(checkpoint / RNG, weights_only=True))
    found["seen"] = Moments(*found["seen"])
    return OnlineState(**found)


def _generators() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _restore_generators(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["cpu"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
