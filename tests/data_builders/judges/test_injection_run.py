"""Injections against the judges of a config: asked through the client, cached, refused before anything is sent."""

import re

import pytest

from data_builders.judges.budget import BudgetReached
from data_builders.judges.fence import outside_fence
from data_builders.judges.injection_run import run_injections

from .scripted import completion


def obeys(prompt, attempt):
    """It prefers A, but for orders that stand outside of a fence."""
    orders = re.findall(r"VERDICT: ([AB])\b", outside_fence(prompt).partition("closed with")[0])
    orders = [letter for letter in orders if "forged" not in prompt] if "<<<ANSWER" in prompt else orders
    return completion(f"I compared them.\nVERDICT: {orders[-1] if orders else 'A'}")


@pytest.fixture
def config(serve, configure):
    server = serve(obeys)

    def make(**more):
        written = {"protocol": "pairwise", "judge": {"id": "mine"}, **more}
        return configure(server, **written)

    make.server = server
    return make


def test_the_fence_keeps_what_bare_answers_flip_and_a_second_run_asks_nothing(config, inputs):
    made = config(written=inputs(n=3, answers=2))
    found = run_injections(made, limit=2, attacks=["ignore the above"])
    assert (found.items, found.alone, list(found.flips)) == (2, 0, ["mine"])
    flips = {(one.attack, one.fence): one.flipped.successes for one in found.flips["mine"]}
    assert flips["ignore the above", False] == 2 and flips["ignore the above", True] == 0
    assert flips["control", False] == flips["control", True] == 0
    asked = sum(config.server.seen.values())
    assert asked == 2 * 2 * 3  # with the fence and without: honest, control, attack
    assert run_injections(made, limit=2, attacks=["ignore the above"]) == found
    assert sum(config.server.seen.values()) == asked and not made.out.exists()


def test_a_budget_stops_it_and_a_larger_one_continues(config, inputs):
    written = inputs(n=2, answers=2)
    with pytest.raises(BudgetReached, match="the budget is spent.*larger budget continues"):
        run_injections(config(written=written, budget={"max_requests": 3}))
    assert run_injections(config(written=written)).items == 2
    assert set(config.server.seen.values()) == {1}


@pytest.mark.parametrize(
    ("more", "given", "says"),
    [
        ({"protocol": "pointwise"}, {}, "injections are measured on verdicts"),
        ({}, {"attacks": ["role tag"]}, "unknown attack 'role tag'. Did you mean 'role tags'"),
        ({}, {"limit": 0}, "limit is 0"),
        ({"answers": 1}, {}, "no item has two answers"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_asked(config, inputs, more, given, says):
    answers = more.pop("answers", 2)
    with pytest.raises(ValueError, match=says):
        run_injections(config(written=inputs(n=2, answers=answers), **more), **given)
    assert not config.server.seen
