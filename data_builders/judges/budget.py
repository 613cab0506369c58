"""How much may be spent: a bound on requests, tokens and cost that is kept, not only watched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from data_builders.judges.asking import JudgeReply, JudgeRequest

MILLION = 1_000_000
TOKENS_PER_IMAGE = 1000  # until the server has told what prompts take


class Price(BaseModel):
    """What a model costs, in any currency, as its provider tells it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input: float = Field(0.0, ge=0, description="of a million tokens read")
    output: float = Field(0.0, ge=0, description="of a million tokens written")


class Budget(BaseModel):
    """What a build may spend in all, over every start of the same command; None is no bound."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_requests: int | None = Field(None, ge=0, description="requests, each counted once however often tried")
    max_tokens: int | None = Field(None, ge=0, description="tokens read and written")
    max_cost: float | None = Field(None, ge=0, description="in the currency of the prices")


class BudgetReached(ValueError):
    """The next request might exceed the budget. What is answered is kept."""


@dataclass(frozen=True)
class Spent:
    """What was spent: requests, tokens read and written, cost.

    Example:
        >>> Spent(1, 10, 5, 0.5) + Spent(1, 20, 5, 0.5)
        Spent(requests=2, prompt_tokens=30, completion_tokens=10, cost=1.0)
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost,
        )

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens


@dataclass
class Purse:
    """A budget being spent.

    A request is admitted only when all that is spent, what the requests in flight may take and what it may take
    itself fit. What it may take: its `max_tokens`, and of the prompt as many tokens as the longest one so far
    (before the first: a third of its characters, and 1000 for an image). So the bound is exceeded only by what a
    prompt is longer than that. Where it does not fit beside those in flight, it waits for them: they mostly take
    less than they may.

    Attributes:
        budget: the bound.
        prices: by judge id.
        earlier: what earlier starts of the same build have spent.
        spent: what this start has spent.
        untold: replies whose tokens the server did not tell, counted as the most they may have taken.
    """

    budget: Budget
    prices: Mapping[str, Price]
    earlier: Spent = field(default_factory=Spent)
    spent: Spent = field(default_factory=Spent)
    untold: int = 0
    _in_flight: dict[int, Spent] = field(default_factory=dict)
    _longest: dict[str, int] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _tickets: int = 0

    async def admit(self, judge: str, request: JudgeRequest) -> int:
        """Set aside what a request may take; the number is its ticket.

        Raises:
            BudgetReached: it does not fit.
        """
        most = self._most(judge, request)
        async with self._changed:
            while True:
                standing = self.earlier + self.spent
                if (over := self._over(standing + most)) and not self._in_flight:
                    raise BudgetReached(over)
                if not over and not self._over(sum(self._in_flight.values(), standing + most)):
                    break
                await self._changed.wait()
            self._tickets += 1
            self._in_flight[self._tickets] = most
            return self._tickets

    def took(self, judge: str, reply: JudgeReply, most: Spent) -> Spent:
        """What a reply took."""
        if reply.state == "failed" and reply.completion_tokens is None:
            return Spent(requests=1)  # a server that is down writes no bill
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            self.untold += 1
            prompt, completion = most.prompt_tokens, most.completion_tokens
        else:
            prompt, completion = reply.prompt_tokens, reply.completion_tokens
            self._longest[judge] = max(prompt, self._longest.get(judge, 0))
        return self._priced(judge, prompt, completion)

    async def settle(self, judge: str, ticket: int, reply: JudgeReply | None) -> Spent:
        """Exchange what was set aside for what was spent; None: nothing was answered."""
        async with self._changed:
            most = self._in_flight.pop(ticket)
            taken = Spent(requests=1) if reply is None else self.took(judge, reply, most)
            self.spent += taken
            self._changed.notify_all()
            return taken

    def _most(self, judge: str, request: JudgeRequest) -> Spent:
        characters = sum(len(message.text) for message in request.messages)
        guess = characters // 3 + TOKENS_PER_IMAGE * len(request.images)
        return self._priced(judge, self._longest.get(judge, guess), request.max_tokens)

    def _priced(self, judge: str, prompt: int, completion: int) -> Spent:
        price = self.prices.get(judge, Price())
        return Spent(1, prompt, completion, (prompt * price.input + completion * price.output) / MILLION)

    def _over(self, sum_: Spent) -> str:
        """Which bound a sum exceeds, in words; empty: none."""
        b = self.budget
        if b.max_requests is not None and sum_.requests > b.max_requests:
            return f"max_requests {b.max_requests}"
        if b.max_tokens is not None and sum_.tokens > b.max_tokens:
            return f"max_tokens {b.max_tokens}"
        if b.max_cost is not None and sum_.cost > b.max_cost * (1 + 1e-12):
            return f"max_cost {b.max_cost:g}"
        return ""
