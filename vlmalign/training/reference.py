"""Log-probabilities of all answers under the policy as the stage began: computed once, kept in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vlmalign.data import CasePairs, PairBatch
from vlmalign.models import FeatureCache, batch_flops, forward_responses, sequence_logps

FILE = "reference.safetensors"


class Reference:
    """Reference log-probabilities by pair.

    Attributes:
        flops: floating point operations of computing them.
    """

    def __init__(self, keys: Sequence[str], logps: Tensor, flops: float) -> None:
        if logps.shape != (len(keys), 2):
            raise ValueError(f"logps has shape {tuple(logps.shape)}, expected ({len(keys)}, 2): chosen, rejected")
        self.row = {key: row for row, key in enumerate(keys)}
        self.logps = logps
        self.flops = flops

    def of(self, keys: Sequence[str]) -> Tensor:
        """Log-probabilities of the chosen and rejected answers of B pairs, (B, 2)."""
        return self.logps[[self.row[key] for key in keys]]

    def check_covers(self, keys: Sequence[str], where: Path) -> None:
        """Refuse a reference that lacks a pair or a number.

        Raises:
            ValueError: naming a pair that is missing.
        """
        missing = [key for key in keys if key not in self.row or not self.of([key]).isfinite().all()]
        if missing:
            raise ValueError(
                f"{where} has no reference log-probabilities of {len(missing)} of {len(keys)} pairs, e.g. "
                f"{missing[0]!r}. Delete the file to compute them again."
            )

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        metadata = {"keys": json.dumps(list(self.row)), "flops": repr(self.flops)}
        save_file({"logps": self.logps}, partial, metadata=metadata)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read the file."""
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            return cls(json.loads(metadata["keys"]), file.get_tensor("logps"), float(metadata["flops"]))


def reference_of(
    model: nn.Module,
    datasets: Sequence[CasePairs],
    path: Path,
    *,
    collator: Callable[[list[Any]], PairBatch],
    batch_size: int,
    autocast: bool = False,
    features: FeatureCache | None = None,
) -> Reference:
    """Read the reference of all pairs, or compute it with the model as it is now; processes share the work.

    Args:
        model: the policy, before its first step.
        datasets: pairs.
        path: of the file.
        collator: examples -> batch.
        batch_size: items per forward pass.
        autocast: compute in bfloat16, as training will.
        features: where features of images come from, if not from the model's own vision tower.

    Raises:
        ValueError: a file that does not cover all pairs.
    """
    keys = list(dict.fromkeys(key for data in datasets for key in data.keys()))
    processes = PartialState()
    processes.wait_for_everyone()  # all must have looked before one writes
    if not path.exists():
        computed = _compute(model, datasets, keys, collator, batch_size, autocast, features)
        if processes.is_main_process:
            computed.save(path)
    processes.wait_for_everyone()
    reference = Reference.load(path)
    reference.check_covers(keys, path)
    return reference


@torch.no_grad()
def _compute(
    model: nn.Module,
    datasets: Sequence[CasePairs],
    keys: Sequence[str],
    collator: Callable[[list[Any]], PairBatch],
    batch_size: int,
    autocast: bool,
    features: FeatureCache | None,
) -> Reference:
    device, processes = next(model.parameters()).device, PartialState()
    model.eval()
    reference = Reference(keys, torch.full((len(keys), 2), float("nan")), 0.0)
    for data in datasets:
        starts = range(0, len(data.groups), batch_size)
        for start in starts[processes.process_index :: processes.num_processes]:
            inputs = collator([data.item(group) for group in data.groups[start : start + batch_size]])
            batch = inputs["batch"].to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                output = forward_responses(model, batch, features=features)
            rows = [reference.row[key] for key in inputs["ids"]]
            reference.logps[rows] = sequence_logps(output, batch)[inputs["pairs"].to(device)].float().cpu()
            reference.flops += batch_flops(model, batch, training=False)
    return _joined(reference, device) if processes.num_processes > 1 else reference


def _joined(share: Reference, device: torch.device) -> Reference:
    """What all processes have computed; NaN where none has."""
    known = share.logps.isfinite()
    sums = reduce(torch.where(known, share.logps, 0.0).to(device), reduction="sum")
    counts = reduce(known.float().to(device), reduction="sum")
    flops = reduce(torch.tensor(share.flops, dtype=torch.float64, device=device), reduction="sum")
    return Reference(list(share.row), (sums / counts).cpu(), flops.item())  # 0 / 0 is NaN
