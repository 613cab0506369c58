import pytest

from vlmalign.training import SftConfig
from vlmalign.training.budget import mean_cost
from vlmalign.training.schedule import checkpoint_interval, planned_steps, steps_per_epoch

BASE = {"model": "m", "data": ["d"], "out": "o"}


def test_the_last_batch_and_the_last_accumulation_may_be_smaller():
    assert steps_per_epoch(examples=9, batch_size=4, accumulation=2) == 2
    assert steps_per_epoch(examples=9, batch_size=2, accumulation=1, world_size=2) == 3


@pytest.mark.parametrize(
    ("length", "steps"), [({"max_steps": 7}, 7), ({"epochs": 2.5}, 13), ({"max_flops": 1000.0}, 9)]
)
def test_steps_follow_from_whatever_is_given(length, steps):
    config = SftConfig(**BASE, **length, batch_size=2)
    assert planned_steps(config, examples=10, flops_per_step=100.0, spent=100.0) == steps


def test_a_budget_that_pays_for_no_step_is_refused_with_its_numbers():
    config = SftConfig(**BASE, max_flops=90.0)
    with pytest.raises(ValueError, match="left is 90 .* one step costs 100"):
        planned_steps(config, examples=10, flops_per_step=100.0)


def test_the_cost_of_a_batch_is_the_mean_over_the_first_ones_only():
    read = []
    cost = mean_cost(range(1000), lambda i: read.append(i) or i, len, float, batch_size=4)
    assert cost == 4.0 and len(read) == 32 * 4


@pytest.mark.parametrize(
    ("steps", "given", "interval"),
    [
        (100, {}, 50),
        (1000, {}, 100),
        (1001, {}, 110),
        (100, {"logging_steps": 40}, 80),
        (100, {"save_steps": 7}, 7),
    ],
)
def test_checkpoints_are_a_tenth_of_the_run_apart_at_least_50_steps_and_fall_on_logged_steps(
    steps, given, interval
):
    assert checkpoint_interval(SftConfig(**BASE, epochs=1, **given), steps) == interval
