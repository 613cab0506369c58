"""Two runs over the same items, item by item: what each says, and which items only one of them has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmalign.evaluation.answer_scores import ItemScore
from vlmalign.records import DataError, Judgement, RecordFolder
from vlmalign.records.scores import SIDES

#: a verdict on two answers, as a score of the one that is named first
VERDICT_SCORES = {"first": 1.0, "tie": 0.5, "second": 0.0}
INVALID = "no valid verdict"
#: metric of a pair whose two sides are scored
PAIR_ACCURACY = "pair_accuracy"
PAIR_WORDS = {1.0: "right", 0.5: "tie", 0.0: "wrong"}


@dataclass(frozen=True)
class RunItem:
    """What one run says of one item.

    Attributes:
        key: what identifies the same item in another run.
        case_id: the case.
        group: its cluster.
        record: id of the record that says it.
        values: metric -> score; None is an excluded state, an absent name does not apply.
        predicted: concept -> answer.
        truth: concept -> what is known to be true.
        category: a verdict or state in words, where the run gives those.
        source: the ItemScore that it was made from.
    """

    key: tuple[Hashable, ...]
    case_id: str
    group: str
    record: str
    values: Mapping[str, float | None]
    predicted: Mapping[str, str] = field(default_factory=dict)
    truth: Mapping[str, str] = field(default_factory=dict)
    category: str | None = None
    source: ItemScore | None = None


Pairs = Sequence[tuple[RunItem, RunItem]]


@dataclass(frozen=True)
class PairedRuns:
    """The items that two runs share, and how many only one has.

    Attributes:
        pairs: what each says of an item, in the first run's order.
        only_first: items that the second lacks.
        only_second: items that the first lacks.
    """

    pairs: Pairs
    only_first: int
    only_second: int

    @property
    def n_groups(self) -> int:
        """Clusters of the shared items."""
        return len({a.group for a, _ in self.pairs})

    def counts(self) -> dict[str, Any]:
        """The form in which results.json holds them."""
        return {
            "items": len(self.pairs), "groups": self.n_groups,
            "only_in_a": self.only_first, "only_in_b": self.only_second,
        }  # fmt: skip


def pair_runs(first: Iterable[RunItem], second: Iterable[RunItem], *, common_only: bool = False) -> PairedRuns:
    """Join two runs by item.

    Args:
        first: items of one run.
        second: items of the other.
        common_only: leave out, and count, items that only one run has.

    Raises:
        ValueError: an item twice in a run; items that only one run has, unless `common_only`; no item in both; an
            item of another cluster in the other run.

    Example:
        >>> one, two = (RunItem((c,), c, "g", c, {"x": 1.0}) for c in "ab")
        >>> pair_runs([one, two], [two], common_only=True).counts()
        {'items': 1, 'groups': 1, 'only_in_a': 1, 'only_in_b': 0}
    """
    of_first, of_second = _by_key(first, "A"), _by_key(second, "B")
    common = [key for key in of_first if key in of_second]
    only_first, only_second = len(of_first) - len(common), len(of_second) - len(common)
    if not common:
        raise ValueError(
            f"the runs share no item: A has {len(of_first)}, e.g. {_example(of_first)}, B {len(of_second)}, e.g. "
            f"{_example(of_second)}: compare two runs over the same cases"
        )
    if (only_first or only_second) and not common_only:
        alone = next(key for key in (*of_first, *of_second) if (key in of_first) != (key in of_second))
        raise ValueError(
            f"the runs are over different items: {len(common)} are in both, {only_first} in A only, "
            f"{only_second} in B only, e.g. {_words(alone)}: run both over the same cases, or compare what they "
            "share with --common-only"
        )
    pairs = [(of_first[key], of_second[key]) for key in common]
    for a, b in pairs:
        if a.group != b.group:
            raise ValueError(
                f"item {_words(a.key)} is of group {a.group!r} in A and {b.group!r} in B: were the runs made "
                "from the same folder of cases?"
            )
    return PairedRuns(pairs, only_first, only_second)


def having(pairs: Pairs, metric: str) -> list[tuple[RunItem, RunItem]]:
    """The pairs of which both items have a metric, scored or not."""
    return [(a, b) for a, b in pairs if metric in a.values and metric in b.values]


def scores_of(pairs: Pairs, metric: str) -> tuple[list[float | None], list[float | None], list[str]]:
    """A metric of both runs over the items that have it in both, and the cluster of each.

    Example:
        >>> one, other = (RunItem(("c",), "c", "g", "c", {"x": x}) for x in (1.0, None))
        >>> scores_of([(one, other)], "x")
        ([1.0], [None], ['g'])
    """
    both = having(pairs, metric)
    return [a.values[metric] for a, _ in both], [b.values[metric] for _, b in both], [a.group for a, _ in both]


def items_of_scores(scored: Iterable[ItemScore], records: Mapping[tuple[Hashable, ...], str]) -> list[RunItem]:
    """Items of scored answers; `records` gives the candidate id by the ItemScore's key."""
    return [
        RunItem(item.key, item.case_id, item.group_id, records.get(item.key, item.case_id), item.metrics,
                item.predicted, item.truth, source=item)
        for item in scored
    ]  # fmt: skip


def items_of_judgements(
    folder: str | Path, groups: Mapping[str, str] | None = None
) -> tuple[list[RunItem], dict[str, int]]:
    """Items of a folder of judgements: the same candidates (by their ids), criterion and step are the same item.

    A verdict counts 1 for the candidate that is named first in the record, 0.5 a tie. Where all judgements are
    scores of the two sides of pairs (`vlmalign score --pairs`) an item is a pair, and counts 1 where the chosen
    answer has the higher score, 0.5 a tie: two rewards' scores are not in the same units. Several judges in one
    folder are refused, as are two judgements of one item.

    Args:
        folder: of judgements.
        groups: cluster by case id; None: each case is its own.

    Returns:
        Items, and how many judgements are invalid by reason.

    Raises:
        DataError: no judgement, two judges, or a case that `groups` lacks.
    """
    opened = RecordFolder(folder, Judgement)
    items, judgements, reasons = [], [], Counter[str]()
    judge = None
    for judgement in opened:
        judge = judge or judgement.judge
        if judgement.judge != judge:
            raise DataError(f"it is by {judgement.judge}, the first one by {judge}",
                            "Give each judge a folder of its own: compare the judges.",
                            file=opened.path, record=judgement.id, field="judge")  # fmt: skip
        if groups is not None and judgement.case_id not in groups:
            raise DataError(f"its case {judgement.case_id!r} is not in the cases given",
                            "Give the cases that were judged: --cases and --groups may be repeated.",
                            file=opened.path, record=judgement.id, field="case_id")  # fmt: skip
        group = judgement.case_id if groups is None else groups[judgement.case_id]
        items.append(_judged(judgement, group))
        judgements.append(judgement)
        if not judgement.valid:
            reasons[judgement.invalid_reason or "invalid"] += 1
    if not items:
        raise DataError("the folder holds no judgement", "Judge the candidates first.", file=opened.path)
    if of_pairs(judgements):
        items = _pair_items(judgements, groups)
    return items, dict(sorted(reasons.items()))


def of_pairs(judgements: Sequence[Judgement]) -> bool:
    """Whether these are scores of the two sides of pairs, and of nothing else."""
    return all(
        len(j.candidate_ids) == 1 and j.step is None and j.candidate_ids[0].rpartition("/")[2] in SIDES
        for j in judgements
    )


def _pair_items(judgements: Sequence[Judgement], groups: Mapping[str, str] | None) -> list[RunItem]:
    sides: dict[tuple[str, str, str], dict[str, Judgement]] = {}
    for judgement in judgements:
        pair, _, side = judgement.candidate_ids[0].rpartition("/")
        found = sides.setdefault((judgement.case_id, pair, judgement.criterion), {})
        if side in found:
            raise DataError(f"candidate {judgement.candidate_ids[0]!r} is judged twice",
                            "Give one judgement of each side.", record=judgement.id)  # fmt: skip
        found[side] = judgement
    items = []
    for (case_id, pair, _), found in sides.items():
        scores = [found[side].score if side in found else None for side in SIDES]
        value, category = None, INVALID
        if scores[0] is not None and scores[1] is not None:
            value = 0.5 if scores[0] == scores[1] else float(scores[0] > scores[1])
            category = PAIR_WORDS[value]
        group = case_id if groups is None else groups[case_id]
        record = next(iter(found.values())).id
        items.append(RunItem((case_id, pair), case_id, group, record, {PAIR_ACCURACY: value}, category=category))
    return items


def _judged(judgement: Judgement, group: str) -> RunItem:
    value, category = judgement.score, None
    if judgement.verdict is not None:
        value, category = VERDICT_SCORES[judgement.verdict], str(judgement.verdict)
    elif judgement.score is not None:
        category = f"{judgement.score:g}"
    key = (judgement.case_id, *judgement.candidate_ids, judgement.criterion, judgement.step)
    values = {judgement.criterion: value}
    return RunItem(key, judgement.case_id, group, judgement.id, values, category=category or INVALID)


def _by_key(items: Iterable[RunItem], run: str) -> dict[tuple[Hashable, ...], RunItem]:
    found: dict[tuple[Hashable, ...], RunItem] = {}
    for item in items:
        if item.key in found:
            raise ValueError(f"run {run} says something of item {_words(item.key)} twice: give each item once")
        found[item.key] = item
    return found


def _words(key: tuple[Hashable, ...]) -> str:
    return " / ".join(str(part) for part in key if part is not None)


def _example(items: Mapping[tuple[Hashable, ...], RunItem]) -> str:
    return _words(next(iter(items))) if items else "none"
