"""Does a reward prefer the right answer: pairs, role-swapped pairs, and best of N."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import comb
from typing import Any, NamedTuple

import numpy as np

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate, paired_difference

Scores = Sequence[float | None]


class PairAccuracy(NamedTuple):
    """How often the right answer scored higher.

    Attributes:
        accuracy: a tie counts one half; a pair with an unscored answer is excluded.
        ties: share of the scored pairs (or items) that have a tie, which accuracy alone would hide.
        items: per pair or item, in order of first appearance: accuracy, None where excluded.
        groups: the group of each entry of `items`.
        names: the name of each entry of `items`.
        seeds: the training seed of each entry of `items`.
    """

    accuracy: Estimate
    ties: Estimate
    items: tuple[float | None, ...]
    groups: tuple[Hashable, ...]
    names: tuple[Hashable, ...]
    seeds: tuple[Hashable, ...]

    def to_dict(self) -> dict[str, Any]:
        """The accuracy's fields, and `ties` beside them."""
        return {**self.accuracy.to_dict(), "ties": self.ties.to_dict()}


def pair_accuracy(
    right: Scores, wrong: Scores, groups: Sequence[Hashable], seeds: Sequence[Hashable] | None = None
) -> PairAccuracy:
    """Accuracy on pairs, each pair an item of its own.

    Args:
        right: (n,) score of the answer known to be better; None = the reward could not score it.
        wrong: (n,) score of the other.
        groups: (n,) cluster of each pair.
        seeds: (n,) training seed of each pair.

    Example:
        >>> result = pair_accuracy([2.0, 1.0, 0.0, None], [1.0, 1.0, 3.0, 0.0], list("abcd"))
        >>> result.accuracy.mean, round(result.ties.mean, 3), result.accuracy.excluded
        (0.5, 0.333, 1)
    """
    return role_swapped_accuracy(right, wrong, range(len(right)), groups, seeds)


def role_swapped_accuracy(
    right: Scores,
    wrong: Scores,
    items: Sequence[Hashable],
    groups: Sequence[Hashable],
    seeds: Sequence[Hashable] | None = None,
) -> PairAccuracy:
    """Accuracy on items of several pairs: two pictures, the same two texts, the preference reversed.

    An item's accuracy is the mean over its pairs, so a reward that looks at the text alone gets exactly one
    half on each. An item of which any answer is unscored is excluded whole: half an item favours the blind.

    Args:
        right: (n,) score of the text that is true of the picture; None = unscored.
        wrong: (n,) score of the text that is true of the other picture.
        items: (n,) which item each pair belongs to.
        groups: (n,) cluster; all pairs of an item must name the same. An item whose pictures come from two
            slides depends on both: name the cluster so that it holds both (or draw both from one slide).
        seeds: (n,) training seed of each pair; item names may recur under another seed.

    Raises:
        ValueError: lengths differ, or an item spans two groups.

    Example:
        >>> blind = role_swapped_accuracy([0.9, 0.2], [0.2, 0.9], ["i", "i"], ["g", "g"])
        >>> blind.accuracy.mean
        0.5
    """
    if not len(right) == len(wrong) == len(items) == len(groups):
        raise ValueError(
            f"right, wrong, items, groups have {len(right)}, {len(wrong)}, {len(items)}, {len(groups)} "
            "entries: give one per pair"
        )
    verdicts: dict[tuple[Hashable, Hashable], list[float | None]] = {}
    group_of: dict[tuple[Hashable, Hashable], Hashable] = {}
    for i, (good, bad) in enumerate(zip(right, wrong, strict=True)):
        seed = None if seeds is None else seeds[i]
        key = (seed, items[i])
        if group_of.setdefault(key, groups[i]) != groups[i]:
            raise ValueError(
                f"item {items[i]!r} is in groups {group_of[key]!r} and {groups[i]!r}: an item must "
                "lie in one cluster"
            )
        verdict = None if good is None or bad is None else float(good > bad) + 0.5 * float(good == bad)
        verdicts.setdefault(key, []).append(verdict)
    accuracies, ties = [], []
    for found in verdicts.values():
        scored = [v for v in found if v is not None]
        whole = len(scored) == len(found)
        accuracies.append(sum(scored) / len(scored) if whole else None)
        ties.append(float(0.5 in scored) if whole else None)
    clusters = tuple(group_of.values())
    of_seed = tuple(seed for seed, _ in verdicts)
    return PairAccuracy(
        cluster_estimate(accuracies, clusters, seeds=of_seed, proportion=True),
        cluster_estimate(ties, clusters, seeds=of_seed, proportion=True),
        tuple(accuracies),
        clusters,
        tuple(item for _, item in verdicts),
        of_seed,
    )


def seen_minus_blanked(seen: PairAccuracy, blanked: PairAccuracy) -> Estimate:
    """Paired difference of a reward's accuracy with the picture and with a blank one: what the picture is worth.

    Raises:
        ValueError: the two were not measured on the same items.
    """
    if (seen.names, seen.groups, seen.seeds) != (blanked.names, blanked.groups, blanked.seeds):
        raise ValueError("seen and blanked name different items: score the same pairs both times")
    return paired_difference(seen.items, blanked.items, seen.groups, seen.seeds)


class BestOfN(NamedTuple):
    """Gold score of the candidate picked among N, by the reward, at random, and by the gold score itself."""

    n: int
    reward: Estimate
    random: Estimate
    oracle: Estimate
    reward_minus_random: Estimate


def best_of_n_curve(
    scores: Sequence[Scores],
    gold: Sequence[Scores],
    groups: Sequence[Hashable],
    n_values: Sequence[int],
    seeds: Sequence[Hashable] | None = None,
) -> list[BestOfN]:
    """Expected gold score of the best of N by a reward, for several N, from K >= N candidates per item.

    Exact expectation over all subsets of N of the K candidates, unbiased and free of sampling noise (Nakano et
    al. 2021, arXiv:2112.09332, app. I; also Gao et al. 2023, arXiv:2210.10760): sorted by score ascending,
    candidate i is the best of comb(i - 1, N - 1) of the comb(K, N) subsets. Equal scores share their weight. A
    candidate that the reward could not score is picked only when there is no other. An item with fewer than N
    candidates, or with one of unknown gold, is excluded at that N.

    Args:
        scores: per item, the reward of its K candidates; None = unscored.
        gold: per item, the truth-based score of the same candidates, in [0, 1]; None = unknown.
        groups: cluster of each item.
        n_values: the N to tell; each >= 1.
        seeds: training seed of each item.

    Raises:
        ValueError: an N below 1, or scores and gold of different shape.

    Example:
        >>> [point] = best_of_n_curve([[0.1, 0.9, 0.5]], [[0.0, 1.0, 0.0]], ["g"], [2])
        >>> round(point.reward.mean, 3), round(point.random.mean, 3)  # the good one is in 2 of the 3 subsets
        (0.667, 0.333)
    """
    if len(scores) != len(gold) or any(len(s) != len(g) for s, g in zip(scores, gold, strict=True)):
        raise ValueError("scores and gold differ in shape: give one gold score for each candidate of each item")
    if any(n < 1 for n in n_values):
        raise ValueError(f"n_values is {list(n_values)}: best of N needs N >= 1")
    curve = []
    for n in n_values:
        picked: dict[str, list[float | None]] = {"reward": [], "random": [], "oracle": []}
        for item_scores, item_gold in zip(scores, gold, strict=True):
            picked["reward"].append(expected_best(item_scores, item_gold, n))
            picked["random"].append(expected_best([0.0] * len(item_gold), item_gold, n))
            picked["oracle"].append(expected_best(item_gold, item_gold, n))
        estimates = {name: cluster_estimate(values, groups, seeds=seeds) for name, values in picked.items()}
        gain = paired_difference(picked["reward"], picked["random"], groups, seeds)
        curve.append(BestOfN(n, estimates["reward"], estimates["random"], estimates["oracle"], gain))
    return curve


def expected_best(scores: Scores, gold: Scores, n: int) -> float | None:
    """Expected gold of the highest-scored of n drawn without replacement; None if n > K or a gold is unknown."""
    k = len(scores)
    known = [g for g in gold if g is not None]
    if n > k or len(known) < k:
        return None
    score = np.array([-np.inf if s is None else s for s in scores], dtype=float)
    values = np.array(known, dtype=float)
    order = np.argsort(score, kind="stable")
    weights = np.array([comb(i, n - 1) for i in range(k)], dtype=float) / comb(k, n)
    total, start = 0.0, 0
    while start < k:
        stop = start
        while stop < k and score[order[stop]] == score[order[start]]:
            stop += 1
        total += weights[start:stop].sum() * values[order[start:stop]].mean()
        start = stop
    return float(total)


def curve_to_dict(curve: Sequence[BestOfN]) -> Mapping[str, Mapping[str, Any]]:
    """The form in which results.json holds a best-of-N curve: by N, then reward, random, oracle, their gain."""
    return {
        str(point.n): {
            name: getattr(point, name).to_dict() for name in ("reward", "random", "oracle", "reward_minus_random")
        }
        for point in curve
    }
