"""Running judges over a folder of answers: judgements in input order, and nothing is paid for twice."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from data_builders.judges.asking import Ask, JudgeProtocol, JudgeReply, JudgeRequest
from data_builders.judges.backend import Backend
from data_builders.judges.budget import BudgetReached, Price, Purse, Spent
from data_builders.judges.cache import AnswerCache
from data_builders.judges.client import JudgeClient, Sleep, no_answers
from data_builders.judges.config import JudgeConfig
from data_builders.judges.data_use import check_data_use
from data_builders.judges.items import Items, Unit
from data_builders.judges.registry import make_protocol
from vlmalign.records import DatasetBuild, Judgement
from vlmalign.records.hashing import config_hash
from vlmalign.records.manifest import strictest
from vlmalign.records.progress import progress_bar

AHEAD = 8  # units in work per request that the judges take at once: a slow one does not hold up the others
STATES = ("answered", "cut", "refused", "failed")


@dataclass(frozen=True)
class JudgeRun:
    """What a start of a run did.

    Attributes:
        out: the folder.
        counts: of the manifest; empty where the folder is not complete.
        asked: requests that were sent.
        cached: replies that the cache had.
        repeated: attempts beyond the first.
        spent: by this start.
        earlier: by earlier starts of the same run.
        untold: replies whose tokens the server did not tell; they count as the most they may have taken.
        torn: lines of the cache that a kill had cut.
    """

    out: Path
    counts: Mapping[str, int] = field(default_factory=dict)
    asked: int = 0
    cached: int = 0
    repeated: int = 0
    spent: Spent = Spent()
    earlier: Spent = Spent()
    untold: int = 0
    torn: int = 0


def run_judges(
    config: JudgeConfig,
    *,
    overwrite: bool = False,
    sleep: Sleep = asyncio.sleep,
    tell: Callable[[JudgeRun], None] | None = None,
) -> JudgeRun:
    """Judge answers and write judgements. Resumable: the same command continues, also after a kill.

    Every answer is in the cache before it is used, so that no request that was answered is sent again, whatever
    happens, and the folder has the same bytes however often the run was killed. The settings that decide them are
    the protocol with its options, the judges' models and options, the seed and the input folders; hosts, keys,
    budget, retries and the cache may change between starts. A request that failed after all attempts gives what
    the protocol makes of it, an invalid judgement; with `overwrite` only such requests are sent again.

    Counted in the manifest: what `Items` leaves out; replies by state (`replies_answered`, `replies_cut`,
    `replies_refused`, `replies_failed`); `invalid` judgements.

    Args:
        config: what to judge, how, and by whom.
        overwrite: replace a complete folder, or an unfinished one of other settings.
        sleep: waits between attempts; a test passes its own.
        tell: called at the end with what was done, also when the run stops before its end.

    Returns:
        What was done.

    Raises:
        DataUseError: the data may not be sent there; nothing was sent.
        BudgetReached: the budget is spent; all that was answered is kept.
        EndpointError: an endpoint that answers nothing, or says that it never will.
        DataError: a folder or an image that cannot be used.
        ValueError: settings that cannot be used.
    """
    items = Items(config)
    endpoints = [getattr(judge, "base_url", None) for judge in config.judges]
    check_data_use(items.folders, endpoints, config.approved_endpoints)
    options = {key: value for key, value in config.protocol.items() if key != "name"}
    protocol = make_protocol(config.protocol["name"], options)
    backends = [judge.open() for judge in config.judges]
    _check_jury(backends)
    settings = {
        "stage": "judge", "protocol": protocol.id, "seed": config.seed,
        "options": getattr(protocol, "fingerprint", options),  # with its templates' hashes, where it has them
        "judges": {backend.id: dict(backend.identity) for backend in backends},
        **items.config, "limit": config.limit,
    }  # fmt: skip
    data_use = strictest(items.folders.values())
    prices = {b.id: judge.price for b, judge in zip(backends, config.judges, strict=True)}
    with ExitStack() as stack:
        build = DatasetBuild(config.out, "judgement", settings, overwrite=overwrite, data_use=data_use)
        stack.enter_context(build)
        if build.finished:
            return JudgeRun(build.path, build.counts)
        cache = AnswerCache(config.cache, run=config_hash(settings))
        stack.callback(cache.close)
        run = _Run(config, protocol, backends, cache, prices, build, sleep)
        try:
            _to_its_end(run.through(items))
        except BaseException:
            if tell is not None:
                tell(run.report({}))
            raise
    report = run.report(build.counts)
    if tell is not None:
        tell(report)
    return report


def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Run it; where a loop runs already, as in a notebook, in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def _check_jury(backends: list[Backend]) -> None:
    for what, names in (
        ("id", [backend.id for backend in backends]),
        ("model with the same options", [config_hash(dict(backend.identity)) for backend in backends]),
    ):
        twice = next((n for n, name in enumerate(names) if name in names[:n]), None)
        if twice is not None:
            raise ValueError(
                f"judge {twice + 1} ({backends[twice].id!r}) has the {what} of an earlier one: members of a jury "
                "differ. Drop one; of one model ask several samples."
            )


@dataclass
class _Done:
    """A unit, judged."""

    name: str
    judgements: list[Judgement]
    counts: Counter[str]


class _Run:
    """One start of a run."""

    def __init__(
        self,
        config: JudgeConfig,
        protocol: JudgeProtocol,
        backends: list[Backend],
        cache: AnswerCache,
        prices: Mapping[str, Price],
        build: DatasetBuild,
        sleep: Sleep,
    ) -> None:
        self.protocol, self.cache, self.build = protocol, cache, build
        self.purse = Purse(config.budget, prices, earlier=cache.spent_before)
        self.clients = [
            JudgeClient(b, cache, self.purse, retries=config.retries, seed=config.seed, sleep=sleep)
            for b in backends
        ]
        self.width = AHEAD * sum(backend.concurrency for backend in backends)
        self.working = 2 * sum(backend.concurrency for backend in backends)

    async def through(self, items: Items) -> None:
        """Judge what is not judged yet, of a shard its part; commit in input order."""
        mine = self.build.part(len(items))
        total, done = len(mine), 0
        try:
            with progress_bar("Judging", total) as show:
                async with aclosing(self._in_order(islice(iter(items), mine.start, mine.stop))) as results:
                    async for result in results:
                        if result is not None:
                            self.build.commit(result.name, result.judgements, result.counts)
                        done += 1
                        show(done, self._note())
        except BudgetReached as reached:
            raise BudgetReached(
                f"the budget is spent: the next request might exceed {reached}. {done} of {total} are judged, "
                f"{total - done} are left; all answers are kept, and the same command with a larger budget "
                "continues."
            ) from None
        finally:
            for client in self.clients:
                await client.drain()
                await client.backend.close()

    async def _in_order(self, units: Iterator[Unit]) -> Any:
        """Results in input order; None for what was judged before. Errors come after what stands before them."""
        slots = asyncio.Semaphore(self.working)
        window: deque[asyncio.Task[_Done | None]] = deque()
        held: list[_Done | None] = []  # results with failures, until something succeeds: see `no_answers`
        more = True
        try:
            while more or window:
                while more and len(window) < self.width and not self._stopped():
                    unit = next(units, None)
                    more = unit is not None
                    if unit is not None:
                        window.append(asyncio.create_task(self._judge(unit, slots)))
                if not window:
                    break
                result = await window.popleft()
                held.append(result)
                if not any(client.tally.failed_in_a_row for client in self.clients):
                    for earlier in held:
                        yield earlier
                    held.clear()
            dead = [
                c for c in self.clients if c.tally.failed_in_a_row and not c.tally.answered and not c.tally.cached
            ]
            if dead:
                raise no_answers(dead[0])
            for earlier in held:
                yield earlier
            if stopped := self._stopped():
                raise stopped
        except asyncio.CancelledError:  # Ctrl-C: begin nothing more; a second one does not wait either
            for client in self.clients:
                client.stopped = client.stopped or BudgetReached("stopped by hand")
            raise
        finally:
            await asyncio.gather(*window, return_exceptions=True)  # what is in flight is answered, and kept

    def _stopped(self) -> Exception | None:
        return next((client.stopped for client in self.clients if client.stopped is not None), None)

    async def _judge(self, unit: Unit, slots: asyncio.Semaphore) -> _Done | None:
        if self.build.has(unit.name):
            return None
        counts = Counter(unit.counts)
        jury = {client.backend.id: _counted(client.ask, counts) for client in self.clients}
        judgements: list[Judgement] = []
        async with slots:
            for item in unit.items:
                judgements += await self.protocol.judge(item, jury)
        counts["invalid"] += sum(not judgement.valid for judgement in judgements)
        return _Done(unit.name, judgements, counts)

    def _note(self) -> str:
        asked, cached = (sum(getattr(c.tally, name) for c in self.clients) for name in ("asked", "cached"))
        cost = self.purse.spent.cost
        return f"asked {asked}, cached {cached}" + (f", cost {cost:.4g}" if cost else "")

    def report(self, counts: Mapping[str, int]) -> JudgeRun:
        """What was done until now."""
        tallies = [client.tally for client in self.clients]
        return JudgeRun(
            self.build.path, dict(counts), sum(t.asked for t in tallies), sum(t.cached for t in tallies),
            sum(t.repeated for t in tallies), self.purse.spent, self.purse.earlier, self.purse.untold,
            self.cache.torn,
        )  # fmt: skip


def _counted(ask: Ask, counts: Counter[str]) -> Ask:
    """The same, with its replies counted by state."""

    async def counted(request: JudgeRequest) -> JudgeReply:
        reply = await ask(request)
        counts[f"replies_{reply.state}"] += 1
        return reply

    return counted
