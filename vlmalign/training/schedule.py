"""How many optimiser steps a stage takes."""

from __future__ import annotations

import math

from vlmalign.training.config import StageConfig

LEAST_INTERVAL = 50


def steps_per_epoch(examples: int, batch_size: int, accumulation: int, world_size: int = 1) -> int:
    """Optimiser steps of one pass; the last batch and the last accumulation may be smaller.

    Example:
        >>> steps_per_epoch(examples=10, batch_size=4, accumulation=2)
        2
    """
    return math.ceil(math.ceil(examples / (batch_size * world_size)) / accumulation)


def planned_steps(
    config: StageConfig, examples: int, flops_per_step: float, *, world_size: int = 1, spent: float = 0.0
) -> int:
    """Number of optimiser steps that a configuration asks for.

    Args:
        config: sets exactly one of epochs, max_steps and max_flops.
        examples: length of the training set, repeats counted.
        flops_per_step: mean cost of a step; used for max_flops only.
        world_size: processes that share the data.
        spent: floating point operations that count towards max_flops and are done already.

    Raises:
        ValueError: max_flops does not pay for one step.
    """
    if config.max_steps is not None:
        return config.max_steps
    if config.epochs is not None:
        per_epoch = steps_per_epoch(examples, config.batch_size, config.gradient_accumulation, world_size)
        return max(1, math.ceil(config.epochs * per_epoch))
    return affordable_steps((config.max_flops or 0.0) - spent, flops_per_step)


def checkpoint_interval(config: StageConfig, steps: int) -> int:
    """Optimiser steps between two checkpoints; 0: none are taken.

    By default about a tenth of the run and at least 50 steps, so that short runs of small models do not spend
    their time on writing; a multiple of `logging_steps`, so that no logged mean is cut in two by a kill.

    Example:
        >>> config = StageConfig(model="m", data="d", out="o", max_steps=4321, logging_steps=20)
        >>> checkpoint_interval(config, steps=4321)
        440
    """
    if config.save_steps is not None:
        return config.save_steps
    wanted = max(LEAST_INTERVAL, math.ceil(steps / 10))
    return math.ceil(wanted / config.logging_steps) * config.logging_steps


def affordable_steps(budget: float, flops_per_step: float) -> int:
    """Steps that a budget of floating point operations pays for.

    Example:
        >>> affordable_steps(1e9, 3e8)
        3
    """
    if budget < flops_per_step:
        raise ValueError(
            f"the budget left is {budget:.3g} floating point operations and one step costs {flops_per_step:.3g}: "
            "raise max_flops or lower batch_size"
        )
    return int(budget // flops_per_step)
