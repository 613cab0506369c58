"""From items to figures: each metric's mean with its interval, balanced accuracy, and paired comparisons."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vlmalign.evaluation.answer_scores import ItemScore, Task
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import (
    Array,
    Statistic,
    cluster_estimate,
    estimate_statistic,
    number_cells,
    paired_difference,
    widen_if_few_differ,
)
from vlmalign.evaluation.rare_events import one_sided_bound

#: metrics that are counts, not shares
QUANTITIES = frozenset({"answer_tokens", "conversation_tokens", "unrecognised"})

#: metrics over the set of an arm's items of one task, not per item
BALANCED: dict[str, Task] = {"balanced_accuracy": "report", "question_balanced_accuracy": "conversation"}


def aggregate(items: Iterable[ItemScore], *, crossed: bool = False, seed: int = 0) -> dict[str, Estimate]:
    """Mean and interval of every metric of one arm, clustered by group (and by seed where there are several).

    Args:
        items: of one arm; reports and conversations together.
        crossed: the same groups are tested under every seed (see `seed_interval`).
        seed: of the bootstrap.

    Returns:
        Metric name -> Estimate, with `balanced_accuracy` from the reports and `question_balanced_accuracy`
        from the conversations.

    Raises:
        ValueError: an item appears twice.
    """
    items = list(items)
    _by_key(items)
    names = dict.fromkeys(name for item in items for name in item.metrics)
    estimates = {}
    for name in names:
        having = [item for item in items if name in item.metrics]
        estimates[name] = cluster_estimate(
            [item.metrics[name] for item in having],
            [item.group_id for item in having],
            seeds=[item.seed for item in having],
            crossed=crossed,
            proportion=name not in QUANTITIES,
            seed=seed,
        )
    for name, task in BALANCED.items():
        of_task = [item for item in items if item.task == task]
        if of_task:
            estimates[name] = balanced_accuracy(of_task, crossed=crossed, seed=seed)
    return estimates


def compare(a: Iterable[ItemScore], b: Iterable[ItemScore], metric: str, *, crossed: bool = False) -> Estimate:
    """Paired difference a - b of a metric over the same items.

    Args:
        a: items of one arm.
        b: items of the other: the same cases, samples and seeds.
        metric: its name; items without it are left aside. `balanced_accuracy` (of the reports) and
            `question_balanced_accuracy` (of the conversations) are computed over the set, in both arms with the
            same resamples.
        crossed: the same groups are tested under every seed.

    Raises:
        ValueError: the arms hold different items, or none with that metric.
    """
    task = BALANCED.get(metric)
    of_a = {k: v for k, v in _by_key(a).items() if (v.task == task if task else metric in v.metrics)}
    of_b = {k: v for k, v in _by_key(b).items() if (v.task == task if task else metric in v.metrics)}
    if of_a.keys() != of_b.keys():
        alone = sorted(of_a.keys() ^ of_b.keys(), key=str)
        raise ValueError(
            f"{len(alone)} items are in one arm only, e.g. {alone[0]}: score both arms on the same cases"
        )
    if not of_a:
        raise ValueError(f"no item has the metric {metric!r}: check its name")
    pairs = [(of_a[key], of_b[key]) for key in of_a]
    if task:
        return _balanced_difference(pairs, crossed)
    return paired_difference(
        [x.metrics[metric] for x, _ in pairs],
        [y.metrics[metric] for _, y in pairs],
        [x.group_id for x, _ in pairs],
        [x.seed for x, _ in pairs],
        crossed=crossed,
    )


def balanced_accuracy(
    items: Sequence[ItemScore], concepts: Collection[str] | None = None, *, crossed: bool = False, seed: int = 0
) -> Estimate:
    """Mean over concepts of the mean over classes of recall, so that a majority class earns no more than 1/k.

    Computed over the set, not per item; an omitted concept counts as missed. A class that a resample happens to
    lack is left out of that resample's mean.

    Args:
        items: one arm's items of one task.
        concepts: which concepts to average; None: all that are known.
        crossed: the same groups are tested under every seed.
        seed: of the bootstrap.

    Example:
        >>> truths = ["few", "few", "few", "none"]
        >>> items = [ItemScore(f"c{i}", f"g{i}", "report", {}, {"platelets": "few"}, {"platelets": t})
        ...          for i, t in enumerate(truths)]
        >>> balanced_accuracy(items).mean
        0.5
    """
    scored = [item for item in items if any(concepts is None or c in concepts for c in item.truth)]
    excluded = len(items) - len(scored)
    if not scored:
        return Estimate.nothing(excluded)
    cells, cell_seeds, cell_groups = number_cells(
        [item.group_id for item in scored], [item.seed for item in scored], crossed
    )
    statistic = _mean_recall(scored, cells, len(cell_seeds), concepts)
    estimate = estimate_statistic(
        statistic, cell_seeds, cell_groups, n=len(scored), excluded=excluded, crossed=crossed, seed=seed
    )
    return _within_shares(estimate)


def _balanced_difference(pairs: Sequence[tuple[ItemScore, ItemScore]], crossed: bool) -> Estimate:
    """Difference of the balanced accuracies of paired items, resampled together."""
    known = [(x, y) for x, y in pairs if x.truth]
    if not known:
        return Estimate.nothing(len(pairs))
    cells, cell_seeds, cell_groups = number_cells(
        [x.group_id for x, _ in known], [x.seed for x, _ in known], crossed
    )
    a, b = (_mean_recall([pair[side] for pair in known], cells, len(cell_seeds), None) for side in (0, 1))
    estimate = estimate_statistic(
        lambda weights: a(weights) - b(weights), cell_seeds, cell_groups,
        n=len(known), excluded=len(pairs) - len(known), crossed=crossed,
    )  # fmt: skip
    differ = {cell_groups[cell] for cell, (x, y) in zip(cells, known, strict=True) if _right(x) != _right(y)}
    return widen_if_few_differ(estimate, len(differ))


def _right(item: ItemScore) -> set[str]:
    return {concept for concept, value in item.truth.items() if item.predicted.get(concept) == value}


def _mean_recall(
    scored: Sequence[ItemScore], cells: NDArray[np.int64], n_cells: int, concepts: Collection[str] | None
) -> Statistic:
    """Mean over concepts of the mean over classes of recall, as a function of cell weights."""
    found = sorted({(c, v) for item in scored for c, v in item.truth.items() if concepts is None or c in concepts})
    column = {pair: i for i, pair in enumerate(found)}
    hits, totals = np.zeros((n_cells, len(found))), np.zeros((n_cells, len(found)))
    for item, cell in zip(scored, cells, strict=True):
        for pair in item.truth.items():
            if pair in column:
                totals[cell, column[pair]] += 1
                hits[cell, column[pair]] += item.predicted.get(pair[0]) == pair[1]
    names = [concept for concept, _ in found]
    columns = [[i for i, name in enumerate(names) if name == concept] for concept in dict.fromkeys(names)]

    def statistic(weights: Array) -> Array:
        hit, total = weights @ hits, weights @ totals
        recall = np.divide(hit, total, out=np.full_like(hit, np.nan), where=total > 0)
        per_concept = [_mean_of_known(recall[:, i]) for i in columns]
        return _mean_of_known(np.stack(per_concept, axis=1))

    return statistic


def _mean_of_known(values: Array) -> Array:
    """Mean over the last axis without the NaN; NaN where all are."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _within_shares(estimate: Estimate) -> Estimate:
    """Ends clipped to [0, 1]; at exactly 0 or 1 the Clopper-Pearson end, as there is no spread to go by."""
    if estimate.low is None or estimate.high is None:
        return estimate
    low, high, method = max(0.0, estimate.low), min(1.0, estimate.high), estimate.method
    if estimate.mean in (0.0, 1.0):
        bound = one_sided_bound(estimate.n_groups)
        low, high = (0.0, bound) if estimate.mean == 0.0 else (1 - bound, 1.0)
        method = f"Clopper-Pearson, {estimate.n_groups} groups"
    return Estimate(estimate.mean, low, high, estimate.n, estimate.n_groups, estimate.excluded, method)


def _by_key(items: Iterable[ItemScore]) -> dict[tuple[int | None, str, int, str], ItemScore]:
    found: dict[tuple[int | None, str, int, str], ItemScore] = {}
    for item in items:
        if item.key in found:
            raise ValueError(f"item {item.key} (seed, case, sample, task) appears twice: give each item once")
        found[item.key] = item
    return found
