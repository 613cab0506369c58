"""What a calibration is fitted to: a reward's scores with what is known of the answers, by group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vlmalign.records import Case, DataError, Judgement, Preference, RecordFolder
from vlmalign.records.scores import SIDES, Scores, margin_std, read_scores, side_id

Array = NDArray[np.float64]
Target = Literal["pair", "answer"]


@dataclass(frozen=True)
class ScoredItems:
    """N items with score, label and group.

    Attributes:
        target: "pair": the score is a margin, first minus second, and the label whether the first answer is the
            better one. "answer": the score is that of one answer, and the label whether it is right.
        scores: (N,) finite.
        labels: (N,) of 0 and 1.
        groups: (N,) patient, slide ...: what is drawn independently.
        stds: (N,) standard deviation of each score, NaN where it is not known.
        judge: name and version of the reward, "" for none.
        counts: what was left out and why.

    Raises:
        ValueError: lengths that differ, a score that is no number, a label that is neither 0 nor 1.

    Example:
        >>> items = ScoredItems.of("pair", [2.0, -1.0, 0.5], [1, 1, 1], ["p", "p", "q"])
        >>> len(items), items.n_groups, items.margins_right()
        (3, 2, [1.0, 0.0, 1.0])
    """

    target: Target
    scores: Array
    labels: Array
    groups: tuple[str, ...]
    stds: Array
    judge: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ("scores", "labels", "groups", "stds")}
        if len(set(lengths.values())) != 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(f"lengths differ ({told}): give one of each per item")
        for i in np.flatnonzero(~np.isfinite(self.scores)):
            raise ValueError(f"score {i} is {self.scores[i]}: leave out what the reward could not score")
        for i in np.flatnonzero(~np.isin(self.labels, (0.0, 1.0))):
            raise ValueError(f"label {i} is {self.labels[i]}: it is 1 (better, right) or 0; leave out ties")

    @classmethod
    def of(
        cls,
        target: Target,
        scores: Sequence[float],
        labels: Sequence[float],
        groups: Sequence[str],
        *,
        stds: Sequence[float] | None = None,
        judge: str = "",
        counts: Mapping[str, int] | None = None,
    ) -> ScoredItems:
        """From plain sequences; without `stds` none is known."""
        numbers = np.asarray(scores, dtype=np.float64)
        spread = np.full(len(numbers), math.nan) if stds is None else np.asarray(stds, dtype=np.float64)
        return cls(
            target, numbers, np.asarray(labels, dtype=np.float64), tuple(groups), spread, judge, dict(counts or {})
        )

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(set(self.groups))

    def take(self, places: Sequence[int] | NDArray[Any]) -> ScoredItems:
        """The items at these places, or where a mask is true."""
        index = np.asarray(places)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        groups = tuple(self.groups[i] for i in index)
        return replace(
            self, scores=self.scores[index], labels=self.labels[index], groups=groups, stds=self.stds[index]
        )

    def margins_right(self) -> list[float]:
        """Of pairs, whether the score prefers the better answer: 1, 0, and one half for a tie."""
        signed = np.where(self.labels == 1, self.scores, -self.scores)
        return [float(s > 0) + 0.5 * float(s == 0) for s in signed]

    def one_per_group(self, seed: int) -> ScoredItems:
        """One random item of each group, so that the items are as independent as the groups."""
        order = np.random.default_rng(seed).permutation(len(self))
        first: dict[str, int] = {}
        for i in order:
            first.setdefault(self.groups[i], int(i))
        return self.take(sorted(first.values()))

    def folds(self, k: int, seed: int) -> NDArray[np.int64]:
        """Fold number of each item, (N,); see `deal_folds`."""
        return deal_folds(self.groups, k, seed)


def deal_folds(groups: Sequence[str], k: int, seed: int) -> NDArray[np.int64]:
    """Fold number of each of N items, (N,): whole groups, dealt out at random to k folds of nearly equal size.

    Raises:
        ValueError: fewer groups than folds.

    Example:
        >>> deal_folds(["a", "a", "b"], 2, seed=0).tolist() in ([0, 0, 1], [1, 1, 0])
        True
    """
    names = sorted(set(groups))
    if not 2 <= k <= len(names):
        raise ValueError(f"{k} folds of {len(names)} groups: give 2 or more folds, and a group for each")
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[place]: i % k for i, place in enumerate(order)}
    return np.array([fold_of[group] for group in groups], dtype=np.int64)


def read_pairs(judged: str | Path, pairs: str | Path, target: Target = "pair") -> ScoredItems:
    """Items from preference pairs whose two answers a reward has scored (`vlmalign score --pairs`).

    With target "pair" each pair is one item, chosen first: its label is 1. With "answer" each side is one item:
    chosen answers count as right (1), rejected ones as wrong (0), which holds for pairs by findings or rules, and
    not for pairs of two right answers of which one reads better. A role-swapped pair belongs to the group whose
    picture it shows; as its texts are of two groups, a new group is like these where its texts are drawn alike.

    Args:
        judged: folder of judgements, ids of candidates `<pair id>/chosen` and `<pair id>/rejected`.
        pairs: folder of preferences.
        target: what is to be calibrated.

    Raises:
        DataError: judgements of several rewards or of other pairs, a pair that was not judged, pairs that the
            reward or an expert behind it decided, or nothing that is scored.
    """
    folder = RecordFolder(pairs, Preference)
    scored = read_scores(judged, of=folder.sha256, made_from="pairs")
    records = list(folder)
    _refuse_own_word(records, scored, folder)
    rows: list[tuple[float, float, str, float]] = []
    counts: Counter[str] = Counter(unscored=0)
    for pair in records:
        sides = [_judgement_of(scored, side_id(pair.id, side), pair.id) for side in SIDES]
        if target == "answer":
            for side, label in zip(sides, (1.0, 0.0), strict=True):
                _add(rows, counts, [side], label, pair.group_id)
        else:
            _add(rows, counts, sides, 1.0, pair.group_id)
    return _items(target, rows, counts, scored)


def read_gold(
    judged: str | Path, gold: str | Path, cases: str | Path, target: Target = "answer", *, right_from: float = 1.0
) -> ScoredItems:
    """Items from two folders of judgements of the same candidates: the reward's, and a gold one.

    With target "answer" an answer is right if its gold score is at least `right_from`. With "pair" every two
    answers to a case make an item, in the order of their ids, if their gold scores differ; gold ties are counted.

    Args:
        judged: the reward's judgements.
        gold: judgements by what is taken for the truth: clinical logic with the reference, readers ...
        cases: the cases, for their groups.
        target: what is to be calibrated.
        right_from: least gold score of a right answer.

    Raises:
        DataError: judgements of several rewards or of other candidates, gold ones by the reward itself, a case
            that is not there, or nothing that both have scored.
    """
    scored = read_scores(judged)
    made_from = scored.config.get("candidates")
    truth = read_scores(gold, of=made_from if isinstance(made_from, str) else None, made_from="candidates")
    same = {scored.judge, *scored.experts} & {truth.judge, *truth.experts} - {""}
    if same:
        raise DataError(
            f"the gold judgements are by {', '.join(sorted(same))}, the reward itself or an expert behind it: it "
            "is right wherever it says so",
            "Give gold judgements by something else.",
            file=truth.source,
            field="judge",
        )
    group_of = {case.id: case.group_id for case in RecordFolder(cases, Case)}
    rows: list[tuple[float, float, str, float]] = []
    counts: Counter[str] = Counter(unscored=0)
    by_case: dict[str, list[str]] = {}
    for name, judgement in scored.judgements.items():
        if judgement.case_id not in group_of:
            raise DataError(
                f"the judged answer is to case {judgement.case_id!r}, which is not in the folder of cases",
                "Pass the cases that were answered.",
                file=scored.source,
                record=judgement.id,
                field="case_id",
            )
        if truth.score(name) is None:
            counts["gold_unknown"] += 1
        else:
            by_case.setdefault(judgement.case_id, []).append(name)
    for case, names in by_case.items():
        if target == "answer":
            for name in names:
                label = float((truth.score(name) or 0.0) >= right_from)
                _add(rows, counts, [scored.judgements[name]], label, group_of[case])
            continue
        for first, second in combinations(sorted(names), 2):
            better = (truth.score(first) or 0.0) - (truth.score(second) or 0.0)
            if better == 0:
                counts["gold_ties"] += 1
            else:
                both = [scored.judgements[first], scored.judgements[second]]
                _add(rows, counts, both, float(better > 0), group_of[case])
    return _items(target, rows, counts, scored)


def _refuse_own_word(records: Sequence[Preference], scored: Scores, folder: RecordFolder[Preference]) -> None:
    """Refuse labels by the reward, or by an expert behind it: it is right wherever it says so."""
    experts = set(scored.experts)
    decided = Counter(
        name for pair in records for name in {*pair.judge_ids, *pair.expert_ids} & {scored.judge, *experts}
    )
    for name, n in sorted(decided.items()):
        what = f"expert {name}, who is behind {scored.judge}," if name in experts else name
        raise DataError(
            f"{what} decided {n} of these {len(records)} pairs itself: that is its own word",
            "Give pairs that others decided.",
            file=folder.path,
            field="expert_ids" if name in experts else "judge_ids",
        )


def _judgement_of(scored: Scores, name: str, pair: str) -> Judgement:
    if name not in scored.judgements:
        raise DataError(
            f"candidate {name!r} of pair {pair!r} is not judged",
            "Score these very pairs: vlmalign score REWARD --pairs PAIRS --out JUDGED.",
            file=scored.source,
        )
    return scored.judgements[name]


def _add(
    rows: list[tuple[float, float, str, float]],
    counts: Counter[str],
    sides: Sequence[Judgement],
    label: float,
    group: str,
) -> None:
    """One item: the score of one side, or the difference of two, with what is known of its doubt."""
    scores = [side.score for side in sides if side.score is not None]
    if len(scores) < len(sides):
        counts["unscored"] += 1
        return
    std = sides[0].std if len(sides) == 1 else margin_std(*sides)
    rows.append((scores[0] - sum(scores[1:]), label, group, math.nan if std is None else std))


def _items(
    target: Target, rows: Sequence[tuple[float, float, str, float]], counts: Mapping[str, int], scored: Scores
) -> ScoredItems:
    if not rows:
        told = ", ".join(f"{name} {n}" for name, n in counts.items())
        raise DataError(
            f"no item has both a score and a label ({told})",
            "Give judgements and labels of the same answers.",
            file=scored.source,
        )
    scores, labels, groups, stds = zip(*rows, strict=True)
    return ScoredItems.of(target, scores, labels, groups, stds=stds, judge=scored.judge, counts=counts)
