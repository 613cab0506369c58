"""What the client does with a server that is busy, broken, slow or silent."""

import asyncio
import random

import pytest

from data_builders.judges.asking import JudgeRequest
from data_builders.judges.backend import EndpointError
from data_builders.judges.budget import Budget, Purse
from data_builders.judges.cache import AnswerCache
from data_builders.judges.client import JudgeClient, Retries
from data_builders.judges.openai_backend import OpenAIBackend
from vlmalign.records import user

from .scripted import DROP, MALFORMED, NOT_JSON, SLOW, completion, error


@pytest.fixture
def ask(tmp_path, naps):
    """Ask a server some prompts at once; the replies, and the client."""

    def run(server, prompts, *, retries=None, **backend):
        async def all_of_them():
            cache = AnswerCache(tmp_path / "cache", run="r")
            opened = OpenAIBackend("scripted", base_url=server.url, **backend)
            client = JudgeClient(
                opened, cache, Purse(Budget(), {}), retries=Retries(**(retries or {})), sleep=naps
            )
            requests = [JudgeRequest((user(p),), (), "p@1") for p in prompts]
            replies = await asyncio.gather(*map(client.ask, requests), return_exceptions=True)
            await opened.close()
            cache.close()
            return replies, client

        return asyncio.run(all_of_them())

    return run


@pytest.mark.parametrize("fault", [error(500), error(503), error(429), DROP, MALFORMED, NOT_JSON, {"choices": []}])
def test_what_may_pass_is_asked_again_until_it_is_answered(serve, ask, naps, fault):
    server = serve(lambda prompt, attempt: fault if attempt < 3 else completion("9"))
    (reply,), client = ask(server, ["a"])
    assert (reply.state, reply.text) == ("answered", "9")
    assert server.seen["a"] == 3 and client.tally.repeated == 2 and client.tally.asked == 1
    first, second = naps.taken
    assert 0.5 <= first <= 1 and 1 <= second <= 2  # first_wait 1, doubled, times u in [1/2, 1]


def test_a_timeout_is_asked_again(serve, ask):
    server = serve(lambda prompt, attempt: SLOW if attempt == 1 else completion("9"))
    (reply,), client = ask(server, ["a"], timeout=0.5)
    assert reply.text == "9" and client.tally.repeated == server.seen["a"] - 1 > 0  # on a busy machine more than 1


def test_after_all_attempts_the_reply_is_failed_with_its_reason(serve, ask):
    server = serve(lambda prompt, attempt: error(500, "out of memory"))
    (reply,), client = ask(server, ["a"], retries={"attempts": 4})
    assert reply.state == "failed" and reply.reason.startswith("status 500: ")
    assert "out of memory" in reply.reason and "(4 attempts)" in reply.reason and server.seen["a"] == 4
    assert ask(server, ["a"], retries={"attempts": 1})[0][0].cached is False  # a failure is no answer


def test_retry_after_is_waited_for_by_everyone(serve, ask, naps):
    server = serve(lambda p, attempt: error(429, Retry_After="60") if (p, attempt) == ("a", 1) else completion())
    replies, _ = ask(server, ["a", "b"], concurrency=1)
    assert [r.state for r in replies] == ["answered"] * 2
    assert naps.taken[0] == 60.0 and all(30 < nap <= 60 for nap in naps.taken)
    assert len(naps.taken) == 3  # by a after its attempt; then, as no time has passed, by a and by b before theirs


def test_a_server_that_asks_for_too_much_patience_fails_the_request(serve, ask, naps):
    server = serve(lambda prompt, attempt: error(429, Retry_After="86400"))
    (reply,), _ = ask(server, ["a"])
    assert reply.state == "failed" and "86400 s" in reply.reason and not naps.taken


def test_an_exhausted_account_is_not_asked_again(serve, ask):
    server = serve(lambda prompt, attempt: error(429, "You exceeded your quota", "insufficient_quota"))
    (stop,), _ = ask(server, ["a"])
    assert isinstance(stop, EndpointError) and "Pay in" in str(stop) and server.seen["a"] == 1


def test_no_more_requests_than_allowed_are_in_flight(serve, ask):
    import time

    def slowly(prompt, attempt):
        time.sleep(0.02)
        return completion()

    server = serve(slowly)
    replies, _ = ask(server, [str(n) for n in range(30)], concurrency=3)
    assert len(replies) == 30 and server.most_busy == 3


def test_equal_requests_in_flight_are_asked_once(serve, ask):
    server = serve()
    replies, client = ask(server, ["a", "b", "a", "a"])
    assert server.seen == {"a": 1, "b": 1} and client.tally.asked == 2
    assert [reply.cached for reply in replies] == [False, False, True, True]


def test_cut_and_refused_replies_are_kept_as_they_cost_money(serve, ask):
    server = serve(lambda p, a: completion("7", "length") if p == "a" else completion("", "content_filter"))
    ask(server, ["a", "b"])
    again, _ = ask(server, ["a", "b"])
    assert [(r.state, r.cached) for r in again] == [("cut", True), ("refused", True)]
    assert server.seen.total() == 2


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_a_filter_before_the_model_is_a_refusal(serve, ask, code):
    (reply,), _ = ask(serve(lambda p, a: error(400, "filtered", code)), ["a"])
    assert reply.state == "refused" and reply.reason.startswith("a filter before the model: ")


def test_a_prompt_longer_than_the_model_reads_fails_alone(serve, ask):
    def script(prompt, attempt):
        return error(400, "too long", "context_length_exceeded") if prompt == "long" else completion()

    replies, _ = ask(serve(script), ["long", "short"])
    assert [r.state for r in replies] == ["failed", "answered"] and "longer than the model reads" in replies[
        0
    ].reason


def test_waits_double_up_to_their_longest():
    class Most(random.Random):
        def uniform(self, low, high):
            return high

    retries = Retries(first_wait=2, longest_wait=10)
    assert [retries.wait(k, Most()) for k in (1, 2, 3, 4, 50)] == [2, 4, 8, 10, 10]
