"""A bound that is kept: what is in flight counts as the most it may take."""

import asyncio

import pytest

from data_builders.judges.asking import JudgeImage, JudgeReply, JudgeRequest
from data_builders.judges.budget import Budget, BudgetReached, Price, Purse, Spent
from vlmalign.records import user

REQUEST = JudgeRequest((user("x" * 30),), (), "p@1", max_tokens=50)  # at most 10 + 50 tokens, by the first guess


def run(steps):
    return asyncio.run(steps)


def test_what_is_in_flight_counts_as_the_most_it_may_take():
    async def steps():
        purse = Purse(Budget(max_tokens=125), {})
        first, second = await purse.admit("j", REQUEST), await purse.admit("j", REQUEST)  # 120 set aside
        waiting = asyncio.create_task(purse.admit("j", REQUEST))
        await asyncio.sleep(0)
        assert not waiting.done()
        await purse.settle("j", first, JudgeReply("answered", "7", prompt_tokens=12, completion_tokens=1))
        await asyncio.sleep(0)
        assert not waiting.done()  # 13 spent, 60 in flight, 12 + 50 wanted: 135
        await purse.settle("j", second, JudgeReply("answered", "7", prompt_tokens=12, completion_tokens=1))
        ticket = await waiting  # 26 spent, 62 wanted
        with pytest.raises(BudgetReached, match="max_tokens 125"):
            await asyncio.gather(purse.admit("j", REQUEST), purse.settle("j", ticket, _reply(12, 50)))
        assert purse.spent == Spent(3, 36, 52) and purse.spent.tokens <= 125

    run(steps())


def _reply(prompt, completion):
    return JudgeReply("answered", "7", prompt_tokens=prompt, completion_tokens=completion)


def test_costs_are_those_of_each_judge():
    async def steps():
        purse = Purse(Budget(), {"a": Price(input=2, output=10), "b": Price(input=1)})
        for judge in "abc":
            await purse.settle(judge, await purse.admit(judge, REQUEST), _reply(1000, 100))
        assert purse.spent.cost == pytest.approx(0.002 + 0.001 + 0.001)

    run(steps())


def test_what_a_server_does_not_tell_counts_as_the_most_and_a_dead_server_as_nothing():
    async def steps():
        purse = Purse(Budget(), {})
        with_image = JudgeRequest(REQUEST.messages, (JudgeImage("x", "0" * 64),), "p@1", max_tokens=50)
        await purse.settle("j", await purse.admit("j", with_image), JudgeReply("answered", "7"))
        assert purse.spent == Spent(1, 1010, 50) and purse.untold == 1
        await purse.settle("j", await purse.admit("j", REQUEST), JudgeReply("failed", reason="status 503"))
        assert purse.spent == Spent(2, 1010, 50) and purse.untold == 1

    run(steps())


def test_earlier_starts_count():
    purse = Purse(Budget(max_requests=3), {}, earlier=Spent(requests=3))
    with pytest.raises(BudgetReached, match="max_requests 3"):
        run(purse.admit("j", REQUEST))
