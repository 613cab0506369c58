"""How many steps a budget of floating point operations pays for, measured on the first batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from accelerate import PartialState

from vlmalign.training.config import StageConfig
from vlmalign.training.schedule import planned_steps

BATCHES = 32


def steps_of(
    config: StageConfig,
    order: Any,
    dataset: Any,
    collator: Callable[[list[Any]], Any],
    cost: Callable[[Any], float],
    *,
    spent: float = 0.0,
) -> int:
    """Optimiser steps that a configuration asks for.

    Args:
        config: sets exactly one of epochs, max_steps and max_flops.
        order: indices in the order of training.
        dataset: index -> example.
        collator: examples -> batch.
        cost: batch -> floating point operations of training on it.
        spent: operations that count towards max_flops and are done already.

    Raises:
        ValueError: max_flops does not pay for one step.
    """
    step_cost = 0.0
    world = PartialState().num_processes
    if config.max_flops is not None:
        size = config.batch_size
        step_cost = mean_cost(order, dataset.__getitem__, collator, cost, batch_size=size)
        step_cost *= config.gradient_accumulation * world
    return planned_steps(config, len(order), step_cost, world_size=world, spent=spent)


def mean_cost(
    order: Iterable[Any],
    item: Callable[[Any], Any],
    collator: Callable[[list[Any]], Any],
    cost: Callable[[Any], float],
    *,
    batch_size: int,
) -> float:
    """Mean floating point operations of a batch, over the first 32 batches.

    Example:
        >>> mean_cost([0, 1, 2, 3], lambda i: i, sum, float, batch_size=2)
        3.0
    """
    costs: list[float] = []
    indices = iter(order)
    while len(costs) < BATCHES and (chunk := list(itertools.islice(indices, batch_size))):
        costs.append(cost(collator([item(index) for index in chunk])))
    return sum(costs) / len(costs)
