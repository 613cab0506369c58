"""What a reward is worth on labelled pairs: accuracy, ties, unscored; by subset, and against another reward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from vlmalign.clinical import Logic
from vlmalign.evaluation.conclusion import check_margin, conclude
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import (
    Array,
    cluster_estimate,
    estimate_statistic,
    number_cells,
    paired_difference,
    ratio_statistic,
)
from vlmalign.evaluation.judged_pairs import JudgedPair, JudgedPairs
from vlmalign.evaluation.pair_subsets import subset_of
from vlmalign.evaluation.reward_accuracy import role_swapped_accuracy
from vlmalign.evaluation.reward_calibration import margin_calibration

Values = Sequence[float | None]
#: how the name of a judge ends that was shown grey pictures
BLANK = "-blank"


class PairFigures(NamedTuple):
    """Figures of one set of pairs.

    Attributes:
        accuracy: a tie counts one half; unscored pairs are excluded and counted.
        strict: a tie is not a win.
        ties: share of the scored pairs whose two answers score the same.
        unscored: share of all pairs of which an answer has no score.
    """

    accuracy: Estimate
    strict: Estimate
    ties: Estimate
    unscored: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Each estimate's fields, by name."""
        return {name: estimate.to_dict() for name, estimate in self._asdict().items()}


def half_ties(pairs: Sequence[JudgedPair]) -> list[float | None]:
    """Of each pair 1 where the chosen answer scored higher, 0.5 for a tie, 0 where lower; None: unscored."""
    return [None if (m := pair.margin) is None else float(m > 0) + 0.5 * float(m == 0) for pair in pairs]


def pair_figures(pairs: Sequence[JudgedPair]) -> PairFigures:
    """Accuracy, ties and unscored share of pairs, with intervals clustered by group.

    Example:
        >>> pair_figures([]).accuracy.mean is None
        True
    """
    groups = [pair.group for pair in pairs]
    half = half_ties(pairs)

    def share(values: Values) -> Estimate:
        return cluster_estimate(values, groups, proportion=True)

    return PairFigures(
        share(half),
        share([None if x is None else float(x == 1) for x in half]),
        share([None if x is None else float(x == 0.5) for x in half]),
        share([float(x is None) for x in half]),
    )


def accuracy_difference(a: JudgedPairs, b: JudgedPairs) -> Estimate:
    """Paired difference of the accuracies (ties one half) of two sets of scores of the same pairs.

    The pairs of a role-swapped item (`provenance["item"]`) are one value, their mean, and leave both sides
    together where any is unscored: whatever goes by text alone has exactly one half on each, so that its pairs
    are no independent evidence.

    Raises:
        ValueError: the two are of different pairs.
    """
    if [p.pair.id for p in a.pairs] != [p.pair.id for p in b.pairs]:
        raise ValueError(f"{a.judge} and {b.judge} scored different pairs: give judgements of the same folder")
    items = [item_of(pair) for pair in a.pairs]
    group_of = dict(zip(items, a.groups, strict=True))
    mine, its = (_by_item(half_ties(each.pairs), items) for each in (a, b))
    return paired_difference(mine, its, list(group_of.values()))


def item_of(pair: JudgedPair) -> Hashable:
    """The role-swapped item that a pair belongs to; else the pair itself."""
    item = pair.pair.provenance.get("item")
    return ("pair", pair.pair.id) if item is None else ("item", str(item))


def _by_item(values: Values, items: Sequence[Hashable]) -> list[float | None]:
    found: dict[Hashable, list[float | None]] = {}
    for item, value in zip(items, values, strict=True):
        found.setdefault(item, []).append(value)
    means: list[float | None] = []
    for some in found.values():
        known = [value for value in some if value is not None]
        means.append(sum(known) / len(known) if len(known) == len(some) else None)
    return means


def _role_swapped(judged: JudgedPairs) -> dict[str, Any] | None:
    """Accuracy by item, where all pairs are role-swapped."""
    if not judged.pairs or any("item" not in pair.pair.provenance for pair in judged.pairs):
        return None
    right, wrong = [pair.chosen for pair in judged.pairs], [pair.rejected for pair in judged.pairs]
    items = [item_of(pair) for pair in judged.pairs]
    blanked = judged.judge.endswith(BLANK)
    return role_swapped_accuracy(right, wrong, items, judged.groups, blanked=blanked).to_dict()


def macro_mean(values: Values, subsets: Sequence[Hashable], groups: Sequence[Hashable]) -> Estimate:
    """Mean over subsets of the mean of each, so that a large subset weighs no more than a small one.

    A subset that a resample happens to lack is left out of that resample's mean, as in `balanced_accuracy`.

    Args:
        values: (n,) shares; None: excluded, and counted.
        subsets: (n,) the subset of each.
        groups: (n,) the cluster of each.

    Example:
        >>> macro_mean([1.0, 1.0, 1.0, 0.0], list("aaab"), list("wxyz")).mean
        0.5
    """
    kept = [i for i, value in enumerate(values) if value is not None]
    excluded = len(values) - len(kept)
    if not kept:
        return Estimate.nothing(excluded)
    cells, cell_seeds, cell_groups = number_cells([groups[i] for i in kept], None, False)
    known = np.array([values[i] for i in kept], dtype=float)
    of_subset = np.array([subsets[i] for i in kept], dtype=object)
    n_cells = len(cell_groups)
    if len(set(of_subset)) == 1 or known.min() == known.max():  # the pooled mean, whose interval knows rare events
        return cluster_estimate(values, groups, proportion=True)
    statistics = []
    for name in dict.fromkeys(of_subset):
        here = of_subset == name
        sums = np.bincount(cells[here], known[here], minlength=n_cells).astype(float)
        statistics.append(ratio_statistic(sums, np.bincount(cells[here], minlength=n_cells).astype(float)))

    def statistic(weights: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nanmean([each(weights) for each in statistics], axis=0))

    estimate = estimate_statistic(statistic, cell_seeds, cell_groups, n=len(kept), excluded=excluded)
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(0.0, estimate.low), high=min(1.0, estimate.high))


def reward_figures(judged: JudgedPairs, *, by: Sequence[str], logic: Logic | None = None) -> dict[str, Any]:
    """All figures of one reward, as the JSON file holds them.

    Args:
        judged: the pairs with the reward's scores.
        by: keys of subsets; see `subset_of`.
        logic: recognises questions.

    Returns:
        `judge`, `criterion`, `judged_sha256`, `counts` (pairs, scored, ties, unscored), `unscored_reasons`, the
        micro figures (`accuracy`, `strict`, `ties`, `unscored`), `by`: for each key `macro` and `macro_strict`
        over subsets, and the figures of each of the `subsets`; `calibration`, see `margin_calibration`; and
        `role_swapped`, accuracy by item where all pairs are role-swapped, else None.
    """
    pairs, groups = judged.pairs, judged.groups
    half = half_ties(pairs)
    strict = [None if x is None else float(x == 1) for x in half]
    found: dict[str, Any] = {}
    for key in by:
        name_of = subset_of(key, logic)
        names = [name_of(judged_pair.pair) for judged_pair in pairs]
        subsets = {
            name: pair_figures([p for p, of in zip(pairs, names, strict=True) if of == name]).to_dict()
            for name in sorted(set(names))
        }
        found[key] = {
            "macro": macro_mean(half, names, groups).to_dict(),
            "macro_strict": macro_mean(strict, names, groups).to_dict(),
            "subsets": subsets,
        }
    scored = [x for x in half if x is not None]
    return {
        "judge": judged.judge,
        "criterion": judged.criterion,
        "judged_sha256": judged.sha256,
        "counts": {
            "pairs": len(pairs),
            "scored": len(scored),
            "ties": scored.count(0.5),
            "unscored": len(pairs) - len(scored),
        },
        "unscored_reasons": dict(Counter(pair.reason for pair in pairs if pair.reason is not None)),
        **pair_figures(pairs).to_dict(),
        "by": found,
        "role_swapped": _role_swapped(judged),
        "calibration": margin_calibration(judged),
    }


def compare_rewards(rewards: Mapping[str, JudgedPairs], *, margin: float) -> dict[str, dict[str, Any]]:
    """Paired differences of accuracy (ties one half) of every two rewards, `a_minus_b`, each with a conclusion.

    See `accuracy_difference`; what either could not score leaves both sides and is counted.

    Args:
        rewards: name -> its scores of the same pairs, in the same order.
        margin: differences below it are of no interest, in shares.

    Raises:
        ValueError: two rewards judged different pairs, or the margin is no positive number.
    """
    check_margin(margin)
    found = {}
    for (one, a), (other, b) in combinations(rewards.items(), 2):
        difference = accuracy_difference(a, b)
        found[f"{one}_minus_{other}"] = {
            **difference.to_dict(),
            "conclusion": conclude(difference, margin),
            "margin": margin,
        }
    return found


def confident_mistakes(judged: JudgedPairs, k: int) -> list[JudgedPair]:
    """The k pairs whose rejected answer the reward scored highest above the chosen one, the worst first."""
    wrong = [pair for pair in judged.pairs if pair.margin is not None and pair.margin < 0]
    return sorted(wrong, key=lambda pair: (pair.margin, pair.pair.id))[:k]
