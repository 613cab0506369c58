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
            place = total.device if isinstance(total, Tensor) else None
            pair = [torch.as_tensor(part, device=place).detach().double() for part in (total, count)]
            self._pairs.setdefault(name, []).append(torch.stack(pair))

    def read(self, accelerator: Accelerator) -> dict[str, float]:
        """Means over processes, without those of nothing; they then begin anew."""
        if not self._pairs:
            return {}
        own = [torch.stack(pairs).sum(0).to(accelerator.device) for pairs in self._pairs.values()]
        sums = accelerator.reduce(torch.stack(own)).tolist()
        means = {name: total / count for name, (total, count) in zip(self._pairs, sums, strict=True) if count}
        self._pairs = {}
        return means


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """The same with None for NaN and infinity, which JSON does not know."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
