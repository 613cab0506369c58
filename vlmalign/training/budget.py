"""What a step costs, measured on the batches that training will see first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

BATCHES = 32


def mean_step_cost(
    order: Iterable[Any],
    item: Callable[[Any], Any],
    collator: Callable[[list[Any]], Any],
    cost: Callable[[Any], float],
    *,
    batch_size: int,
    accumulation: int,
) -> float:
    """Mean floating point operations of an optimiser step, from the first 32 batches.

    Args:
        order: indices in the order of training.
        item: index -> example.
        collator: examples -> batch.
        cost: batch -> floating point operations of training on it.
        batch_size: examples per batch.
        accumulation: batches per optimiser step.

    Example:
        >>> mean_step_cost([0, 1, 2, 3], lambda i: i, sum, float, batch_size=2, accumulation=3)
        9.0
    """
    costs = []
    indices = iter(order)
    while len(costs) < BATCHES and (chunk := list(itertools.islice(indices, batch_size))):
        costs.append(cost(collator([item(index) for index in chunk])))
    return accumulation * sum(costs) / len(costs)
