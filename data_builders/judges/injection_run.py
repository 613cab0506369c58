"""Measuring the injections against the user's own judges, as a run of `vlmalign build judge` would ask them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from data_builders.judges.asking import JudgeItem
from data_builders.judges.budget import BudgetReached
from data_builders.judges.config import JudgeConfig
from data_builders.judges.injection import ATTACKS, Flips, measure_injection
from data_builders.judges.items import Items
from data_builders.judges.pairwise import Pairwise
from data_builders.judges.registry import make_protocol
from data_builders.writer import OpenAsk, WriterConfig, open_writer
from vlmalign.records.suggestions import unknown


@dataclass(frozen=True)
class InjectionRun:
    """What was measured.

    Attributes:
        flips: model -> what each attack did, with the fence and without.
        items: of two answers or more, that were used.
        alone: items with one answer, which there is nothing to compare with.
    """

    flips: Mapping[str, list[Flips]]
    items: int
    alone: int


def run_injections(
    config: JudgeConfig, *, limit: int | None = None, attacks: Collection[str] | None = None
) -> InjectionRun:
    """Attack the verdicts of each judge of a config. Answers are cached: the same call continues, and pays once.

    Args:
        config: of judges with the protocol `pairwise`, over candidates or pairs; `out` is not written.
        limit: only the first so many items.
        attacks: names of `ATTACKS`; `control` is always among them. None: all.

    Raises:
        ValueError: another protocol, an unknown attack, no item of two answers, a limit below 1.
        BudgetReached: the budget is spent; what was answered is kept.
        DataUseError: the data may not be sent there; nothing was sent.
    """
    options = {key: value for key, value in config.protocol.items() if key != "name"}
    protocol = make_protocol(config.protocol["name"], options)
    if type(protocol) is not Pairwise:
        raise ValueError(
            f"protocol is {config.protocol['name']!r}: injections are measured on verdicts, with "
            "--set protocol=pairwise"
        )
    for name in attacks or ():
        if name not in ATTACKS:
            raise ValueError(unknown("attack", name, ATTACKS))
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}: at least 1 is required")
    given = Items(config)
    items: list[JudgeItem] = []
    alone = 0
    for unit in given:
        items += [item for item in unit.items if len(item.answers) > 1]
        alone += sum(len(item.answers) == 1 for item in unit.items)
        if limit is not None and len(items) >= limit:
            break
    items = items[:limit]
    if not items:
        raise ValueError("no item has two answers to compare: give pairs, or several candidates to each case")
    chosen = {name: text for name, text in ATTACKS.items() if not attacks or name in {"control", *attacks}}
    writers = [
        open_writer(
            WriterConfig(
                model=judge, cache=config.cache, budget=config.budget, retries=config.retries,
                approved_endpoints=config.approved_endpoints, seed=config.seed,
            ),
            given.folders,
        )
        for judge in config.judges
    ]  # fmt: skip
    names = [identity.rpartition(":")[0] for identity, _ in writers]
    if twice := next((name for n, name in enumerate(names) if name in names[:n]), None):
        raise ValueError(f"two judges have the id {twice!r}: give one another id, or drop it")
    flips = {}
    for name, (_, opened) in zip(names, writers, strict=True):
        flips[name] = asyncio.run(_measure(opened, items, protocol, chosen))
    return InjectionRun(flips, len(items), alone)


async def _measure(
    opened: OpenAsk, items: list[JudgeItem], protocol: Pairwise, attacks: Mapping[str, str]
) -> list[Flips]:
    try:
        async with opened() as ask:
            return await measure_injection(items, ask, protocol=protocol, attacks=attacks)
    except BudgetReached as reached:
        raise BudgetReached(
            f"the budget is spent: the next request might exceed {reached}. All answers are kept, and the same "
            "command with a larger budget continues."
        ) from None
