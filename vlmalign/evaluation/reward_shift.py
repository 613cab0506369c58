"""Two rewards where they were trained to be right, and where the answers have shifted.

The question behind it: a policy's own log-ratio (implicit reward) and a trained reward model (explicit) may agree
on held-out pairs of the training's kind, and part on answers of another policy such as the tuned one, which is
where a reward is used.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import estimate_statistic, number_cells, paired_difference, ratio_statistic
from vlmalign.evaluation.judged_pairs import JudgedPairs
from vlmalign.evaluation.rare_events import FEW_GROUPS
from vlmalign.evaluation.reward_accuracy import PairAccuracy, pair_accuracy

Items = Sequence[float | None]


class PairScores(NamedTuple):
    """n pairs as one reward scored them.

    Attributes:
        judge: which reward, with its version.
        right: (n,) score of the better answer, None where it could not be scored.
        wrong: (n,) score of the other.
        groups: (n,) cluster of each pair.
        names: (n,) what each pair is called; a name comes once.
    """

    judge: str
    right: Items
    wrong: Items
    groups: tuple[Hashable, ...]
    names: tuple[Hashable, ...]

    @classmethod
    def of(cls, judged: JudgedPairs) -> PairScores:
        """Those of pairs that were read with their judgements."""
        pairs = judged.pairs
        return cls(
            judged.judge,
            [pair.chosen for pair in pairs],
            [pair.rejected for pair in pairs],
            tuple(judged.groups),
            tuple(pair.pair.id for pair in pairs),
        )

    def accuracy(self) -> PairAccuracy:
        """How often the better answer scored higher."""
        return pair_accuracy(self.right, self.wrong, self.groups)


class Place(NamedTuple):
    """Both rewards on the same pairs.

    Attributes:
        a: accuracy of the first reward.
        b: that of the second.
        a_minus_b: their difference, pair by pair; a pair that either could not score is excluded.
    """

    a: PairAccuracy
    b: PairAccuracy
    a_minus_b: Estimate


@dataclass(frozen=True)
class RewardShift:
    """Accuracy of two rewards at home and under shift.

    Attributes:
        names: the two rewards.
        held_out: on pairs of the training's kind.
        shifted: on the other pairs.
        drop_a: accuracy of the first, held-out less shifted; above 0 it became worse.
        drop_b: that of the second.
        drop_a_minus_b: how much more the first one drops, from pairs that both scored.
    """

    names: tuple[str, str]
    held_out: Place
    shifted: Place
    drop_a: Estimate
    drop_b: Estimate
    drop_a_minus_b: Estimate

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it: by place, then reward; and the drops by reward."""
        first, second = self.names
        places = {"held_out": self.held_out, "shifted": self.shifted}
        return {
            **{
                name: {
                    first: place.a.to_dict(), second: place.b.to_dict(), "difference": place.a_minus_b.to_dict()
                }
                for name, place in places.items()
            },
            "drop": {
                first: self.drop_a.to_dict(),
                second: self.drop_b.to_dict(),
                "difference": self.drop_a_minus_b.to_dict(),
            },
        }  # fmt: skip


def reward_shift(held_out: tuple[PairScores, PairScores], shifted: tuple[PairScores, PairScores]) -> RewardShift:
    """Compare two rewards on held-out and on shifted pairs.

    Groups may recur in both places (the same cases, answered by another policy): drops are resampled by group over
    both places together, so that what a group has in common cancels.

    Args:
        held_out: the two rewards on the same held-out pairs.
        shifted: the same two rewards, in the same order, on the shifted pairs.

    Raises:
        ValueError: rewards that judged other pairs than each other, or other rewards in the two places.

    Example:
        >>> held, far = ([str(i) for i in range(40)], [str(i) for i in range(40, 80)])
        >>> def judged(judge, names, right):
        ...     scores = [float(i < right) for i in range(40)]
        ...     return PairScores(judge, scores, [0.5] * 40, tuple(names), tuple(names))
        >>> found = reward_shift((judged("implicit@1", held, 36), judged("scalar@1", held, 30)),
        ...                      (judged("implicit@1", far, 20), judged("scalar@1", far, 26)))
        >>> round(found.drop_a.mean, 2), round(found.drop_b.mean, 2), round(found.drop_a_minus_b.mean, 2)
        (0.4, 0.1, 0.3)
    """
    names = (held_out[0].judge, held_out[1].judge)
    if names[0] == names[1]:
        raise ValueError(f"both rewards are {names[0]!r}, expected two: there is nothing to compare")
    there = (shifted[0].judge, shifted[1].judge)
    if there != names:
        raise ValueError(
            f"the rewards are {names} on held-out pairs and {there} on shifted ones: "
            "score both kinds with the same two, and pass them in the same order"
        )
    places = _place("held-out", *held_out), _place("shifted", *shifted)
    items = [(place.a.items, place.b.items, _differences(place)) for place in places]
    sides = [(place.a.accuracy, place.b.accuracy, place.a_minus_b) for place in places]
    groups = places[0].a.groups, places[1].a.groups
    drops = [
        drop(items[0][k], items[1][k], groups[0], groups[1], estimates=(sides[0][k], sides[1][k]))
        for k in range(3)
    ]
    return RewardShift(names, *places, *drops)


def _place(where: str, a: PairScores, b: PairScores) -> Place:
    if (a.names, a.groups) != (b.names, b.groups):
        raise ValueError(
            f"{a.judge} and {b.judge} judged different {where} pairs: score the same ones, in the same order"
        )
    one, other = a.accuracy(), b.accuracy()
    return Place(one, other, paired_difference(one.items, other.items, one.groups))


def _differences(place: Place) -> Items:
    pairs = zip(place.a.items, place.b.items, strict=True)
    return [None if a is None or b is None else a - b for a, b in pairs]


def drop(
    before: Items,
    after: Items,
    groups_before: Sequence[Hashable],
    groups_after: Sequence[Hashable],
    *,
    estimates: tuple[Estimate, Estimate],
) -> Estimate:
    """Mean before less mean after, of different items whose groups may be the same.

    The interval is that of `cluster_interval` over the groups of both places. Where in either place fewer than ten
    groups differ from what most items have, it rests on what hardly happened; it then is at least as wide as the
    one made of both places' own intervals by squares of their arms (Newcombe 1998, Stat. Med. 17:873, method 10;
    Zou & Donner 2008, Stat. Med. 27:1693), which know of rare events.

    Args:
        before: (n,) values in [-1, 1] of items in the first place, None where excluded.
        after: (m,) those in the second.
        groups_before: (n,) cluster of each.
        groups_after: (m,) cluster of each.
        estimates: of both places' means.

    Returns:
        The difference; n counts items and excluded the items of both places. Without an interval if a place has
        fewer than two groups.
    """
    values = [*before, *after]
    groups = [*groups_before, *groups_after]
    kept = [i for i, value in enumerate(values) if value is not None]
    excluded = len(values) - len(kept)
    if any(estimate.mean is None for estimate in estimates):
        return Estimate.nothing(excluded)
    numbers = np.array([values[i] for i in kept], dtype=float)
    first = np.array([i < len(before) for i in kept])
    cells, cell_seeds, cell_groups = number_cells([groups[i] for i in kept], None, False)
    count = len(cell_groups)

    def mean_of(which: np.ndarray) -> Any:
        sums, sizes = (np.bincount(cells[which], weight, count) for weight in (numbers[which], None))
        return ratio_statistic(sums.astype(float), sizes.astype(float))

    of_before, of_after = mean_of(first), mean_of(~first)
    estimate = estimate_statistic(
        lambda weights: of_before(weights) - of_after(weights), cell_seeds, cell_groups,
        n=len(kept), excluded=excluded,
    )  # fmt: skip
    if any(each.low is None or each.high is None for each in estimates):
        return replace(estimate, low=None, high=None, method="no interval: a place with a single group")
    few = min(_groups_that_differ(numbers[which], cells[which]) for which in (first, ~first))
    return _widened(estimate, estimates) if few < FEW_GROUPS else estimate


def _groups_that_differ(numbers: np.ndarray, cells: np.ndarray) -> int:
    """Groups with a value that is not the commonest one."""
    values, counts = np.unique(numbers, return_counts=True)
    return len(np.unique(cells[numbers != values[counts.argmax()]]))


def _widened(estimate: Estimate, estimates: tuple[Estimate, Estimate]) -> Estimate:
    (m1, l1, h1), (m2, l2, h2) = ((_number(e.mean), _number(e.low), _number(e.high)) for e in estimates)
    mean = _number(estimate.mean)
    low, high = mean - float(np.hypot(m1 - l1, h2 - m2)), mean + float(np.hypot(h1 - m1, m2 - l2))
    return replace(
        estimate,
        low=min(_number(estimate.low), low),
        high=max(_number(estimate.high), high),
        method=f"{estimate.method}, widened by the intervals of both means, as few groups differ",
    )


def _number(value: float | None) -> float:
    assert value is not None
    return value
