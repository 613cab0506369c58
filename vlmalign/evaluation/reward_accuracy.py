"""Does a reward prefer the right answer: on pairs, and on role-swapped pairs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate, paired_difference

Scores = Sequence[float | None]


#: the method of a figure that no reward and no data could make another
BY_CONSTRUCTION = "no interval: one half by construction, as the two texts alone cannot be right of both pictures"


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
    *,
    blanked: bool = False,
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
        blanked: the reward was shown no picture. Where every item then is one half, it is so by construction: the
            accuracy has no interval and says why. All items at one half without this is a finding about a reward
            that might have used the picture, and keeps its bound.

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
    accuracy = cluster_estimate(accuracies, clusters, seeds=of_seed, proportion=True)
    if blanked and accuracy.n and all(value in (None, 0.5) for value in accuracies):
        accuracy = replace(accuracy, low=None, high=None, method=BY_CONSTRUCTION)
    return PairAccuracy(
        accuracy,
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
