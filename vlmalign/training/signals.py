"""Health signals: sums and counts that are gathered over batches and processes, and read as means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor


class Signals:
    """Means of named numbers since they were last read."""

    def __init__(self) -> None:
        self._pairs: dict[str, list[Tensor]] = {}

    def add(self, signals: Mapping[str, tuple[Any, Any]]) -> None:
        """Add sums with their counts, by name; every process adds the same names."""
        for name, (total, count) in signals.items():
            pair = torch.stack([torch.as_tensor(part).detach().float().cpu() for part in (total, count)])
            self._pairs.setdefault(name, []).append(pair)

    def read(self, accelerator: Accelerator) -> dict[str, float]:
        """Means over processes, without those of nothing; they then begin anew."""
        if not self._pairs:
            return {}
        sums = torch.stack([torch.stack(pairs).double().sum(0) for pairs in self._pairs.values()])
        sums = accelerator.reduce(sums.to(accelerator.device)).tolist()
        means = {name: total / count for name, (total, count) in zip(self._pairs, sums, strict=True) if count}
        self._pairs = {}
        return means


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """The same with None for NaN and infinity, which JSON does not know."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
