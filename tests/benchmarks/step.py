"""An optimiser step: the same on both sides of a benchmark but for the loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from benchmarks.setting import Pair
from torch import Tensor, nn


class Step:
    """Loss, backward, AdamW.

    Args:
        model: with adapters, which are what is trained.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-5)
        model.train()

    def __call__(self, pairs: Sequence[Pair]) -> float:
        """Step; the loss before it."""
        loss = self.loss(pairs)
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        return float(loss.detach())

    def loss(self, pairs: Sequence[Pair]) -> Tensor:
        """Mean DPO loss over all pairs."""
        raise NotImplementedError
