"""Log-probabilities of all answers under the policy as the stage began: computed once, kept in the run's file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vlmalign.data import CasePairs, PairBatch, PairItem
from vlmalign.models import FeatureCache, batch_flops, forward_responses, sequence_logps
from vlmalign.training.naming import naming_records
from vlmalign.training.reference_cache import ReferenceCache, answer_keys


class Reference:
    """Reference log-probabilities by pair.

    Attributes:
        flops: floating point operations of computing them, counted alike where they came from a cache.
    """

    def __init__(self, keys: Sequence[str], logps: Tensor, flops: float) -> None:
        if logps.ndim != 2 or len(logps) != len(keys) or logps.shape[1] not in (2, 3):
            raise ValueError(
                f"logps has shape {tuple(logps.shape)}, expected ({len(keys)}, 2 or 3): chosen, rejected (and "
                "mismatched)."
            )
        self.row = {key: row for row, key in enumerate(keys)}
        self.logps = logps
        self.flops = flops

    def of(self, keys: Sequence[str]) -> Tensor:
        """Log-probabilities of the chosen, rejected (and mismatched) answers of B pairs, (B, 2 or 3)."""
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
    shared: str | Path | None = None,
) -> Reference:
    """Read the reference of all pairs, or compute it with the model as it is now; processes share the work.

    Args:
        model: the policy, before its first step.
        datasets: pairs.
        path: of the file; once written, nothing else is asked.
        collator: examples -> batch.
        batch_size: items per forward pass.
        autocast: compute in bfloat16, as training will.
        features: where features of images come from, if not from the model's own vision tower.
        shared: folder of a `ReferenceCache`: answers that are in it are not computed. They count towards `flops`
            as if they were, so that a budget buys the same training with and without it.

    Raises:
        ValueError: a file that does not cover all pairs.
    """
    keys = list(dict.fromkeys(key for data in datasets for key in data.keys()))
    processes = PartialState()
    processes.wait_for_everyone()  # all must have looked before one writes
    if not path.exists():
        cache = None if shared is None else ReferenceCache(model, shared, autocast=autocast)
        computed = _compute(model, datasets, keys, collator, batch_size, autocast, features, cache)
        if processes.is_main_process:
            computed.save(path)
        if cache is not None:
            cache.save()
    processes.wait_for_everyone()
    reference = Reference.load(path)
    reference.check_covers(keys, path)
    return reference


def reference_flops(
    model: nn.Module,
    datasets: Sequence[CasePairs],
    collator: Callable[[list[Any]], PairBatch],
    batch_size: int,
) -> float:
    """Floating point operations of computing a reference, from the shapes of all batches; images are read."""
    return sum(
        batch_flops(model, collator(items)["batch"], training=False) for items in _batches(datasets, batch_size)
    )


def _batches(
    datasets: Sequence[CasePairs], batch_size: int, process: int = 0, processes: int = 1
) -> Iterator[list[PairItem]]:
    """The batches of one of several processes."""
    places = [(data, group) for data in datasets for group in data.groups]
    for start in range(0, len(places), batch_size)[process::processes]:
        yield [data.item(group) for data, group in places[start : start + batch_size]]


@torch.no_grad()
def _compute(
    model: nn.Module,
    datasets: Sequence[CasePairs],
    keys: Sequence[str],
    collator: Callable[[list[Any]], PairBatch],
    batch_size: int,
    autocast: bool,
    features: FeatureCache | None,
    cache: ReferenceCache | None,
) -> Reference:
    """Items with an answer that no cache has wait until they fill a batch; no cache, no item is passed over.

    Each process does its share, and all get the whole.
    """
    device, processes = next(model.parameters()).device, PartialState()
    model.eval()
    found: dict[str, Tensor] = {}
    waiting: list[tuple[PairItem, list[str]]] = []
    flops = 0.0

    def keep(item: PairItem, logps: Tensor) -> None:
        found.update(zip(item.keys, logps[torch.tensor(item.pairs)], strict=True))

    def score(items: list[tuple[PairItem, list[str]]], inputs: PairBatch) -> None:
        batch = inputs["batch"].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast), naming_records(inputs["ids"]):
            output = forward_responses(model, batch, features=features)
        own = sequence_logps(output, batch).float().cpu().split([len(i.example.responses) for i, _ in items])
        for (item, names), logps in zip(items, own, strict=True):
            keep(item, logps if cache is None else cache.add(names, logps))

    for items in _batches(datasets, batch_size, processes.process_index, processes.num_processes):
        inputs = collator(items)
        flops += batch_flops(model, inputs["batch"], training=False)
        if cache is None:
            score([(item, []) for item in items], inputs)
            continue
        for item in items:
            names = answer_keys(item.example)
            known = cache.find(names)
            if known is None:
                waiting.append((item, names))
            else:
                keep(item, known)
        while len(waiting) >= batch_size:
            score(waiting[:batch_size], collator([item for item, _ in waiting[:batch_size]]))
            del waiting[:batch_size]
    if waiting:
        score(waiting, collator([item for item, _ in waiting]))
    if processes.num_processes > 1:
        shares = gather_object([({key: logps.tolist() for key, logps in found.items()}, flops)])
        found = {key: torch.tensor(logps) for share, _ in shares for key, logps in share.items()}
        flops = sum(cost for _, cost in shares)
    return Reference(keys, torch.stack([found[key] for key in keys]), flops)
