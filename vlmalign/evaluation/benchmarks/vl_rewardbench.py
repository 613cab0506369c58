"""VL-RewardBench: 1,250 labelled pairs in three groups; K sampled verdicts or one score decide each.

Li et al. 2024, arXiv:2411.17451. Accuracy per group is right / (right + wrong): items without a verdict or without
a majority leave the denominator, so coverage stands beside it. Overall pools the items, macro averages the groups.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlmalign.evaluation.benchmarks.logs import DAMAGED, Log, field, read_log, require_rows
from vlmalign.evaluation.benchmarks.own_pairs import FORMAT, are_folders, read_own_pairs
from vlmalign.evaluation.benchmarks.pairs import (
    Outcome,
    PairItem,
    Value,
    answered_value,
    by_subset,
    decided_value,
    estimate_of,
    figures,
    lost_value,
    macro,
    null_baselines,
)
from vlmalign.evaluation.benchmarks.protocol import (
    MISSING,
    NO_MAJORITY,
    SCORED,
    UNPARSED,
    Benchmark,
    BenchmarkResult,
    Item,
    Option,
    Table,
    count_states,
)
from vlmalign.evaluation.benchmarks.published import VL_REWARDBENCH, differences
from vlmalign.evaluation.benchmarks.verdict_parsing import Said, published_verdict, strict_verdict
from vlmalign.records import DataError

GROUPS = {"general": 183, "hallucination": 749, "reasoning": 318}
#: sources of items -> group; ids that begin with none of these are VLFeedback's
SOURCES = {
    "wildvision": "general",
    "vlfeedback": "general",
    "rlhf-v": "hallucination",
    "rlaif-v": "hallucination",
    "povid": "hallucination",
    "hallucination": "hallucination",
    "reasoning_tasks": "reasoning",
    "mathverse": "reasoning",
    "mmmu": "reasoning",
}
COLUMNS: Mapping[str, Value] = {
    "accuracy of the decided": decided_value,
    "coverage": answered_value,
    "undecided counts as wrong": lost_value,
}
PARSERS = {"published": published_verdict, "strict": strict_verdict}
HITS = {"general": "out_general", "hallucination": "out_hallucination", "reasoning": "out_reasoning"}


@dataclass(frozen=True)
class Sample:
    """One sampled reply.

    Attributes:
        said: by parser, what the reply says.
        rejected_shown: display number (1 or 2) of the answer that the benchmark rejects.
    """

    said: Mapping[str, Said]
    rejected_shown: int


@dataclass(frozen=True)
class SampledItem(Item):
    """A pair with K sampled replies, in file order."""

    samples: tuple[Sample, ...] = ()
    better_stored_first: bool | None = None
    lengths: tuple[int, int] | None = None
    damage: str = ""


@dataclass(frozen=True)
class OrderBit(Item):
    """A hit with its order bit, whose group the log does not tell."""

    hit: bool = False
    swapped: bool = False


def read(files: Sequence[Path], damaged: str = "refuse", by: str = "provenance.subset") -> list[Item]:
    """Read published logs or our own; see `BENCHMARK.formats`."""
    if are_folders(files):
        return list(read_own_pairs(files, by))
    logs = [read_log(file, damaged=damaged) for file in files]
    items: list[Item] = []
    for log in logs:
        if log.damage and not log.rows:
            raise DataError("no line of it survives whole, and of lists of hits none can be told from the others",
                            "Restore the file: damaged=skip is of the official log, a line each.",
                            file=log.file)  # fmt: skip
        items += _hits(log) if len(log.rows) == 1 and "out_all" in log.rows[0] else _samples(log)
    return items


def _hits(log: Log) -> list[Item]:
    """The log of IXC-2.5-Reward: lists of hits by group, and over all with order bits."""
    lists = {name: field(log, 0, name) for name in ("out_all", "random_numbers", *HITS.values())}
    for name, values in lists.items():
        if not isinstance(values, list) or any(value not in (0, 1) for value in values):
            raise DataError("it must be a list of 0 and 1", "Restore the file.", file=log.file, field=name)
    total = [sum(len(lists[name]) for name in HITS.values()), sum(sum(lists[name]) for name in HITS.values())]
    told = [len(lists["out_all"]), sum(lists["out_all"])]
    if told != total or len(lists["random_numbers"]) != told[0]:
        raise DataError(
            f"it has {told[0]} hits-or-misses with {told[1]} hits, its groups together {total[0]} with "
            f"{total[1]}, and {len(lists['random_numbers'])} order bits: these must agree",
            "Restore the file.",
            file=log.file,
            field="out_all",
        )
    items: list[Item] = [
        PairItem(f"{group}/{k}", f"{group}/{k}", (group,), SCORED, "right" if hit else "wrong")
        for group, name in HITS.items()
        for k, hit in enumerate(lists[name])
    ]
    bits = zip(lists["out_all"], lists["random_numbers"], strict=True)
    return items + [
        OrderBit(f"all/{k}", f"all/{k}", (), SCORED, bool(h), bool(b)) for k, (h, b) in enumerate(bits)
    ]


def _samples(log: Log) -> list[Item]:
    """The official log: K lines for each item, keyed by id, query and the two answers."""
    found: dict[str, SampledItem] = {}
    for k, whole in enumerate(log.rows):
        if "0" in whole and isinstance(whole["0"], dict):  # a data frame's line: {"0": {...}}
            log.rows[k] = whole["0"]
        row, meta = log.rows[k], field(log, k, "meta")
        answers, ranking = field(log, k, "response"), field(log, k, "ranking", "human_ranking")
        shuffled = meta.get("random_number") if isinstance(meta, dict) else None
        ranked = isinstance(ranking, list) and sorted(map(str, ranking)) == ["0", "1"]
        two = isinstance(answers, list) and len(answers) == 2 and all(isinstance(text, str) for text in answers)
        if shuffled not in (0, 1) or not ranked or not two:
            raise DataError(
                f"ranking is {ranking!r}, meta.random_number {shuffled!r}, response {str(answers)[:40]!r}: "
                "expected [0, 1] or [1, 0], 0 or 1, and two texts",
                "Restore the line.",
                file=log.file,
                line=log.numbers[k],
                record=str(row.get("id")),
            )
        text = meta.get("filter_choice")
        key = "\t".join([str(field(log, k, "id")), str(field(log, k, "query")), *sorted(answers)])
        better = [int(rank) for rank in ranking].index(0)
        item = found.get(key) or SampledItem(
            f"{row['id']}/{len(found)}",
            str(row.get("image_path") or row["id"]),
            (group_of(row),),
            SCORED,
            better_stored_first=better == 0,
            lengths=(len(answers[better]), len(answers[1 - better])),
            damage=log.damage,
        )
        sample = Sample(_read_reply(text), 2 if (better == 0) == (shuffled == 0) else 1)
        found[key] = replace(item, samples=(*item.samples, sample))
    return list(found.values())


def _read_reply(text: Any) -> dict[str, Said]:
    if not isinstance(text, str) or not text.strip():
        return dict.fromkeys(PARSERS, Said(None, "no reply"))
    return {name: parse(text) for name, parse in PARSERS.items()}


def group_of(row: Mapping[str, Any]) -> str:
    """The group of an item, by its image path, its source, or the beginning of its id; else general.

    Example:
        >>> group_of({"id": "RLAIF-V-17"}), group_of({"id": "x", "image_path": "images/reasoning_tasks/3.png"})
        ('hallucination', 'reasoning')
    """
    for name in ("image_path", "query_source", "id"):
        text = str(row.get(name) or "").lower()
        parts = text.split("/") if name == "image_path" else [text]
        for part in parts:
            for source, group in SOURCES.items():
                if part.startswith(source):
                    return group
    return "general"


def decide(item: SampledItem, parser: str, k: int = 0, seed: int = -1) -> PairItem:
    """The vote of a parser over the first k samples (0: all; with a seed, k drawn at random).

    A class wins only with strictly more than half of the samples, unparsed ones included. Under the published
    parser a reply agrees if it names any number but that of the rejected answer.
    """
    samples = list(item.samples)
    if seed >= 0:
        random.Random(f"{seed} {item.id}").shuffle(samples)
    samples = samples[:k] if k else samples
    votes = {"right": 0, "wrong": 0, UNPARSED: 0}
    for sample in samples:
        number = sample.said[parser].number
        votes[UNPARSED if number is None else "wrong" if number == sample.rejected_shown else "right"] += 1
    winner = next((name for name, count in votes.items() if 2 * count > len(samples)), NO_MAJORITY)
    outcome: Outcome | None = winner if winner in ("right", "wrong") else None  # type: ignore[assignment]
    shown = sum(sample.rejected_shown == 2 for sample in samples) / len(samples)
    return PairItem(
        item.id,
        item.group,
        item.subsets,
        SCORED if outcome else winner,
        outcome,
        item.better_stored_first,
        shown,
        item.lengths,
    )


def score(items: Sequence[Item], samples: int = 0, seed: int = -1, paper: str = "") -> BenchmarkResult:
    """Accuracy of the decided, coverage and worst case by group, pooled and macro; for each parser."""
    sampled = [item for item in items if isinstance(item, SampledItem)]
    direct = [item for item in items if isinstance(item, PairItem)]
    if samples < 0:
        raise ValueError(f"samples is {samples}: give how many samples vote, or 0 for all")
    if sampled and direct:
        raise DataError("sampled replies and hits are mixed", "Give logs of one format.")
    voted = {p: [decide(item, p, samples, seed) for item in sampled] for p in PARSERS} if sampled else {}
    sets = voted or {"": direct}
    tables = [_table(name, found) for name, found in sets.items()]
    main = next(iter(sets.values()))
    sizes = {group: len(found) for group, found in by_subset(main).items()}
    missing, told = require_rows(sizes, GROUPS)
    notes = [told] if told else []
    other = set(sizes) - set(GROUPS)
    if other and not set(sizes) & set(GROUPS):
        missing, notes = 0, [f"subsets {', '.join(sorted(other))}: these are no groups of the published benchmark"]
    counts = count_states(main) | ({MISSING: missing + count_states(main).get(MISSING, 0)} if missing else {})
    bits = [item for item in items if isinstance(item, OrderBit)]
    if bits:
        tables.append(_by_order(bits))
        notes.append(
            "the log holds hits and order bits only: neither the answers nor which of them is better, so that the "
            "null baselines (shown first, longer, stored first) cannot be computed from it"
        )
    if sampled:
        notes.append(_disagreement(voted["published"], voted["strict"]))
        fewer = sum(len(item.samples) < samples for item in sampled)
        notes += [f"{fewer} items have fewer than {samples} samples: all they have voted"] if fewer else []
        notes += [
            f"{damage}; an item of which some samples are lost goes by the others"
            for damage in sorted({item.damage for item in sampled if item.damage})
        ]
    if paper:
        notes += differences(VL_REWARDBENCH, paper, tables[0], "accuracy of the decided")
    return BenchmarkResult("vl-rewardbench", tuple(tables), counts, null_baselines(main), tuple(notes))


def _table(parser: str, items: Sequence[PairItem]) -> Table:
    groups = by_subset(items)
    rows = {group: figures(found, COLUMNS) for group, found in groups.items()}
    rows["overall (micro)"] = figures(items, COLUMNS)
    if len(groups) > 1:
        rows["macro"] = macro(groups, COLUMNS)
    states = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in count_states(items).items())
    name = f"groups_{parser}" if parser else "groups"
    title = "By group" + (f", {parser} parser" if parser else "")
    return Table(name, title, rows, f"items: {states}")


def _by_order(bits: Sequence[OrderBit]) -> Table:
    rows = {
        name: {"hits": estimate_of([float(b.hit) for b in found], [b.id for b in found])}
        for name, found in (
            ("order bit 0 (as stored)", [bit for bit in bits if not bit.swapped]),
            ("order bit 1 (swapped)", [bit for bit in bits if bit.swapped]),
        )
        if found
    }
    return Table("order", "By display order", rows, "a judge without position bias has the same rate in both")


def _disagreement(published: Sequence[PairItem], strict: Sequence[PairItem]) -> str:
    differ = sum(a.outcome != b.outcome for a, b in zip(published, strict, strict=True))
    return (
        f"the published and the strict parser differ on {differ} of {len(published)} items. The published one "
        "reads any number but the rejected answer's as agreement, and the last of several verdicts"
    )


BENCHMARK = Benchmark(
    name="vl-rewardbench",
    title="VL-RewardBench: does a judge prefer the better of two answers about an image",
    source="Li et al. 2024, arXiv:2411.17451",
    formats={
        "jsonl": "the official log, K lines an item, with response, ranking, meta.random_number, "
        "meta.filter_choice",
        "hits": "IXC-2.5-Reward's results.json, with out_all, out_<group> and random_numbers",
        "folders": FORMAT,
    },
    read=read,
    score=score,
    options={
        "samples": Option(0, "how many samples of an item vote; 0: all"),
        "seed": Option(-1, "draw these samples at random by this seed; -1: in file order"),
        "paper": Option("", "a published row to compare with, e.g. IXC-2.5-Reward"),
        "damaged": DAMAGED,
        "by": Option("provenance.subset", "what names the group of a pair in our own format"),
    },
)
ADAPTERS = (BENCHMARK,)
