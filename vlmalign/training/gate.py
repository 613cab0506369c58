"""Training a mixture's gates on preference pairs, its heads frozen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlmalign.losses import bradley_terry_loss
from vlmalign.models.mixture_head import MixtureHead
from vlmalign.training.mixture_config import Gate


class PairStates(NamedTuple):
    """M pairs as a frozen model has them.

    Attributes:
        chosen: states of the chosen answers, (M, H).
        rejected: of the rejected ones, (M, H).
        prompts: of the prompts, (M, H).
        tasks: of the prompts, (M,) integer.
        weights: factors of the pairs' losses, (M,).
    """

    chosen: Tensor
    rejected: Tensor
    prompts: Tensor
    tasks: Tensor
    weights: Tensor

    def take(self, rows: Tensor) -> PairStates:
        """Some of them."""
        return PairStates(*(part[rows] for part in self))


def train_gates(mixture: MixtureHead, pairs: PairStates, settings: Gate, seed: int) -> Iterator[dict[str, Any]]:
    """Train by Bradley-Terry on R = sum_k g_k r'_k; yields the figures of each epoch.

    The loss of a step is the weighted mean over its pairs. The order of pairs and dropout come from the seed; the
    gates are left in evaluation mode.

    Args:
        mixture: its heads are set.
        pairs: to train on.
        settings: length, batch and optimiser.
        seed: of order and dropout.
    """
    optimiser = torch.optim.AdamW(
        mixture.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    with torch.no_grad():
        difference = mixture.objectives_of(pairs.chosen) - mixture.objectives_of(pairs.rejected)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(1, settings.epochs + 1):
        order = torch.randperm(len(difference), generator=generator)
        total = 0.0
        for rows in order.split(settings.batch_size):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
                mixture.train()
                margins = (mixture.gate(pairs.prompts[rows], pairs.tasks[rows]) * difference[rows]).sum(1)
            losses = bradley_terry_loss(margins, torch.zeros_like(margins)).losses * pairs.weights[rows]
            optimiser.zero_grad()
            losses.mean().backward()
            optimiser.step()
            total += losses.detach().sum().item()
        yield {"step": epoch, "loss": total / len(difference), **pair_figures(mixture, pairs)}


@torch.no_grad()
def pair_figures(mixture: MixtureHead, pairs: PairStates, prefix: str = "") -> dict[str, Any]:
    """How a mixture tells chosen from rejected answers, beside what it is made of.

    `accuracy` and `ties` are shares of pairs; `uniform_accuracy` is that of the plain mean of all objectives, and
    `best_single_accuracy` that of the best single objective on these very pairs. `weight/NAME` is the mean weight
    of an objective, and `varies/NAME` its standard deviation over prompts.
    """
    mixture.eval()
    difference = mixture.objectives_of(pairs.chosen) - mixture.objectives_of(pairs.rejected)
    gate = mixture.gate(pairs.prompts, pairs.tasks)
    margins = (gate * difference).sum(1)
    single = [float((difference[:, k] > 0).float().mean()) for k in range(difference.shape[1])]
    figures: dict[str, Any] = {
        "pairs": len(margins),
        "accuracy": float((margins > 0).float().mean()),
        "ties": float((margins == 0).float().mean()),
        "uniform_accuracy": float((difference.mean(1) > 0).float().mean()),
        "best_single_accuracy": max(single),
        "best_single": mixture.objectives[single.index(max(single))],
    }
    for k, name in enumerate(mixture.objectives):
        figures[f"weight/{name}"] = float(gate[:, k].mean())
        figures[f"varies/{name}"] = float(gate[:, k].std(correction=0))
    return {prefix + name: value for name, value in figures.items()}
