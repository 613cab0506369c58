"""Asking one model many times: bounded, patient, never twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from data_builders.judges.asking import JudgeReply, JudgeRequest
from data_builders.judges.backend import Backend, EndpointError, TransientError
from data_builders.judges.budget import BudgetReached, Purse
from data_builders.judges.cache import AnswerCache, request_key
from vlmalign.records.errors import ended
from vlmalign.records.hashing import derive_seed

Sleep = Callable[[float], Awaitable[None]]


class Retries(BaseModel):
    """How often and how patiently a failed attempt is repeated.

    Before attempt k+1 the client waits `min(longest_wait, first_wait 2^(k-1)) u`, u uniform in [1/2, 1], or as
    long as the server asks (`Retry-After`), if that is longer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    attempts: int = Field(6, ge=1, description="attempts per request")
    first_wait: float = Field(1.0, ge=0, description="seconds before the second attempt")
    longest_wait: float = Field(60.0, ge=0, description="seconds between attempts, at most")
    patience: float = Field(600.0, ge=0, description="a server that asks for a longer wait fails the request")
    give_up_after: int = Field(10, ge=1, description="requests that fail one after the other end the run")

    def wait(self, attempt: int, chance: random.Random) -> float:
        """Seconds after failed attempt number `attempt` (from 1).

        Example:
            >>> 1.0 <= Retries().wait(2, random.Random(0)) <= 2.0
            True
        """
        return min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1)) * chance.uniform(0.5, 1.0)


@dataclass
class Tally:
    """What a client has done: replies it asked for, took from the cache, and attempts it repeated."""

    asked: int = 0
    cached: int = 0
    repeated: int = 0
    failed_in_a_row: int = 0
    answered: int = 0
    last_failure: str = ""


class JudgeClient:
    """How one model is asked.

    Args:
        backend: what answers.
        cache: where answers are kept.
        purse: the budget, shared by the judges of a run.
        retries: how failed attempts are repeated.
        seed: of the run: sampling, and the jitter of waits.
        sleep: waits; a test passes its own.

    Attributes:
        tally: what it has done.
        stopped: why it asks no more; None while it does.

    Example:
        A `JudgeClient` is an `Ask` by its method: `await client.ask(request)`.
    """

    def __init__(
        self,
        backend: Backend,
        cache: AnswerCache,
        purse: Purse,
        *,
        retries: Retries | None = None,
        seed: int = 0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.backend, self.cache, self.purse = backend, cache, purse
        self.retries, self.seed = retries or Retries(), seed
        self.tally = Tally()
        self.stopped: Exception | None = None
        self._sleep = sleep
        self._chance = random.Random(derive_seed(seed, backend.id, "waits"))
        self._places = asyncio.Semaphore(backend.concurrency)
        self._in_flight: dict[str, asyncio.Task[JudgeReply]] = {}
        self._not_before = 0.0  # a server that says Retry-After means all of us

    async def ask(self, request: JudgeRequest) -> JudgeReply:
        """The reply to a request, from the cache or from the model.

        Raises:
            BudgetReached: it was not asked, as the budget is spent.
            EndpointError: the run cannot go on.
            DataError: an image cannot be sent.
        """
        key = request_key(request, self.backend.identity, self.seed)
        task = self._in_flight.get(key)
        first = task is None
        if task is None:
            known = self.cache.get(key)
            if known is not None:
                self.tally.cached += 1
                return known
            task = asyncio.create_task(self._ask_new(key, request))
            self._in_flight[key] = task
            task.add_done_callback(lambda _: self._in_flight.pop(key, None))
        reply = await asyncio.shield(task)
        return reply if first else replace(reply, cached=True)

    async def drain(self) -> None:
        """Wait for what is in flight: it is answered and kept, also when nobody waits for it any more."""
        while self._in_flight:
            await asyncio.gather(*self._in_flight.values(), return_exceptions=True)

    async def _ask_new(self, key: str, request: JudgeRequest) -> JudgeReply:
        self._check()
        preparing = asyncio.create_task(self.backend.prepare(request))  # while it waits for its place in the row
        preparing.add_done_callback(lambda task: task.cancelled() or task.exception())
        async with self._places, self.cache.claimed(key):
            self._check()
            prepared = await preparing
            known = self.cache.get(key)  # another process may have asked it meanwhile
            if known is not None:
                self.tally.cached += 1
                return known
            try:
                ticket = await self.purse.admit(self.backend.id, request)
            except BudgetReached as reached:
                self.stopped = reached
                raise
            return await self._paid(key, ticket, prepared, request)

    async def _paid(self, key: str, ticket: int, prepared: Any, request: JudgeRequest) -> JudgeReply:
        reply = None
        try:
            reply = await self._patiently(key, prepared, request)
        except EndpointError as error:
            self.stopped = error
            raise
        finally:
            spent = await self.purse.settle(self.backend.id, ticket, reply)
        self.tally.asked += 1
        self.cache.put(key, reply, spent)
        self._watch(reply)
        await self.cache.written()
        return reply

    async def _patiently(self, key: str, prepared: Any, request: JudgeRequest) -> JudgeReply:
        """Ask until there is a reply, or attempts are used up."""
        seed = derive_seed(self.seed, key)
        for attempt in range(1, self.retries.attempts + 1):
            await self._until_allowed()
            if attempt > 1:
                if isinstance(self.stopped, EndpointError):  # a spent budget throws nothing in flight away
                    raise self.stopped
                self.tally.repeated += 1
            try:
                return await self.backend.answer(prepared, request, seed)
            except TransientError as error:
                reason, asked_for = error.reason, error.retry_after or 0.0
            if asked_for > self.retries.patience:
                return _failed(f"{reason}; the server asks to wait {asked_for:.0f} s", self.backend)
            self._not_before = max(self._not_before, time.monotonic() + asked_for)
            if attempt < self.retries.attempts:
                await self._sleep(max(asked_for, self.retries.wait(attempt, self._chance)))
        return _failed(f"{reason} ({attempt} attempts)", self.backend)

    async def _until_allowed(self) -> None:
        left = self._not_before - time.monotonic()
        if left > 0:
            await self._sleep(left)

    def _watch(self, reply: JudgeReply) -> None:
        """End the run when nothing but failures comes."""
        if reply.state != "failed":
            self.tally.failed_in_a_row = 0
            self.tally.answered += 1
            return
        self.tally.failed_in_a_row += 1
        self.tally.last_failure = reply.reason
        if self.tally.failed_in_a_row >= self.retries.give_up_after:
            self.stopped = no_answers(self)

    def _check(self) -> None:
        if self.stopped is not None:
            raise self.stopped


def no_answers(client: JudgeClient) -> EndpointError:
    """The error of an endpoint from which nothing but failures comes."""
    n = client.tally.failed_in_a_row
    where = client.backend.endpoint or "the model in this process"
    return EndpointError(
        f"the last {n} request{'s' * (n != 1)} to {client.backend.id!r} at {where} failed; the last one: "
        f"{ended(client.tally.last_failure)} See to the server; the same command then continues."
    )


def _failed(reason: str, backend: Backend) -> JudgeReply:
    return JudgeReply("failed", model=backend.id, reason=reason)
