"""The alignment tax: what alignment to one task has cost on the others, task by task and over all of them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmalign.evaluation.aggregate import QUANTITIES
from vlmalign.evaluation.conclusion import check_margin
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import (
    Array,
    cluster_estimate,
    estimate_statistic,
    number_cells,
    paired_difference,
    widen_if_few_differ,
)
from vlmalign.evaluation.margins import judge_against_margin
from vlmalign.evaluation.paired_tests import SIGNIFICANT, adjust_holm
from vlmalign.evaluation.ratio_of_sums import ratio_of_sums
from vlmalign.evaluation.report_titles import LESS_IS_BETTER
from vlmalign.evaluation.run_comparison import compare_values, metric_names, turned
from vlmalign.evaluation.run_items import PairedRuns, scores_of

NAMES = ("after", "before")


@dataclass(frozen=True)
class Task:
    """One task, before and after alignment.

    Attributes:
        name: of the task.
        runs: its items; the first run is the one after alignment, the second the one before.
        words: of the answers to each pair, after and before; None where there are none to count.
        target: whether it is what alignment was for; such a task pays no tax.
    """

    name: str
    runs: PairedRuns
    words: Sequence[tuple[int | None, int | None]] = ()
    target: bool = False


def alignment_tax(
    tasks: Sequence[Task],
    *,
    metrics: Mapping[str, str] | None = None,
    margin: float = 0.02,
    margins: Mapping[str, float] | None = None,
    less_is_better: Collection[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """What became of each task, and of all but the targets together.

    A task's change is paired by item, with an interval over clusters. Its `gain` has the direction in which more
    is better: a tax is a gain below 0. Holm's p is over the tasks that are no target. The overall gain is the mean
    over these tasks of their gains (macro: a large task weighs as much as a small one), with the clusters of all
    tasks resampled together, as tasks often share patients; tasks whose metric is no share are left out of it and
    named. That all tasks are within the margin needs no adjustment: each must be by itself (Berger 1982,
    Technometrics 24:295, intersection-union).

    Args:
        tasks: with different names.
        metrics: task -> its metric; default: the first of which something is scored.
        margin: the largest loss of no interest, for metrics that are shares.
        margins: task -> its own.
        less_is_better: further metrics of which less is better.
        seed: of bootstraps.

    Returns:
        `tasks`: name -> `before`, `after`, `gain`, `p`, `p_holm`, `verdict`, `non_inferior`, `items`, `words`,
        `counts` ...; `macro`; `verdict` and `sentence`; `lists`: tasks by what was found.

    Raises:
        ValueError: no task, two of one name, a task without the metric, a name of no task, or a margin that is not
            positive.
    """
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"tasks are {', '.join(names) or 'none'}: give one or more, each with a name of its own")
    margins, metrics = margins or {}, metrics or {}
    for value in (margin, *margins.values()):
        check_margin(value)
    for given in (*margins, *metrics):
        if given not in names:
            raise ValueError(f"no task is called {given!r}: choose from {', '.join(names)}")
    found = {
        task.name: _task(task, metrics.get(task.name), margins.get(task.name, margin), task.name in margins,
                         frozenset(less_is_better) | LESS_IS_BETTER, seed)
        for task in tasks
    }  # fmt: skip
    taxed = {name: each for name, each in found.items() if not each["target"]}
    adjust_holm(taxed.values())
    results: dict[str, Any] = {"tasks": found, "margin": margin, "macro": _macro(tasks, found, margin, seed)}
    results["lists"] = _lists(taxed)
    results["verdict"], results["sentence"] = _verdict(results["lists"], results["macro"], len(taxed))
    return results


def macro_gain(
    gains: Sequence[Sequence[float | None]], groups: Sequence[Sequence[Hashable]], *, seed: int = 0
) -> Estimate:
    """Mean over tasks of their mean gains, with an interval over the clusters of all tasks together.

    Args:
        gains: of each task's items, in [-1, 1]; None: excluded.
        groups: cluster of each; the same name is the same cluster in every task.
        seed: of the bootstrap.

    Example:
        >>> macro_gain([[0.0, 0.5], [-1.0, -1.0, -1.0, None]], [["a", "b"], ["a", "b", "b", "c"]]).mean
        -0.375
    """
    rows = [
        (task, float(gain), group)
        for task, (own, clusters) in enumerate(zip(gains, groups, strict=True))
        for gain, group in zip(own, clusters, strict=True)
        if gain is not None
    ]
    excluded = sum(map(len, gains)) - len(rows)
    scored = sorted({task for task, _, _ in rows})
    if not scored:
        return Estimate.nothing(excluded)
    cells, cell_seeds, cell_groups = number_cells([group for _, _, group in rows], None, False)
    sums, sizes = np.zeros((len(gains), len(cell_groups))), np.zeros((len(gains), len(cell_groups)))
    for (task, gain, _), cell in zip(rows, cells, strict=True):
        sums[task, cell] += gain
        sizes[task, cell] += 1

    def mean_of_tasks(weights: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(((weights @ sums[scored].T) / (weights @ sizes[scored].T)).mean(axis=1))

    estimate = estimate_statistic(
        mean_of_tasks, cell_seeds, cell_groups, n=len(rows), excluded=excluded, seed=seed
    )
    return widen_if_few_differ(estimate, len({group for _, gain, group in rows if gain}))


def _task(
    task: Task, metric: str | None, margin: float, own_margin: bool, less: Collection[str], seed: int
) -> dict[str, Any]:
    available = metric_names(task.runs.pairs)
    if metric is None:
        scored = [name for name in available if name not in QUANTITIES and _scored(task, name)]
        metric = next(iter(scored or available), None)
    if metric is None or metric not in available:
        raise ValueError(
            f"task {task.name!r} has no metric {metric!r}: choose from {', '.join(available) or 'none'}"
        )
    each = compare_values(task.runs.pairs, metric, less, seed)
    after, before, groups = scores_of(task.runs.pairs, metric)
    difference = Estimate.from_dict(each["difference"])
    asked = each["share"] or own_margin
    found = {
        "metric": metric, "share": each["share"], "less_is_better": each["less_is_better"], "target": task.target,
        "after": each["a"], "before": each["b"], "difference": each["difference"],
        "gain": (turned(difference) if metric in less else difference).to_dict(), "p": each["p"], "p_holm": None,
        "verdict": each["verdict"],
        "items": {"better": each["items"]["a_better"], "equal": each["items"]["equal"],
                  "worse": each["items"]["b_better"]},
        "margin": margin if asked else None,
        "non_inferior": None if not asked else judge_against_margin(
            after, before, groups, "non-inferiority", margin=margin, less_is_better=metric in less,
            names=NAMES, share=each["share"],
        ).to_dict(),
        "words": _words(task), "counts": task.runs.counts(),
    }  # fmt: skip
    counts = found["counts"]
    found["counts"] = {"items": counts["items"], "groups": counts["groups"], "only_after": counts["only_in_a"],
                       "only_before": counts["only_in_b"]}  # fmt: skip
    return found


def _scored(task: Task, metric: str) -> bool:
    """Whether any pair has the metric on both sides."""
    after, before, _ = scores_of(task.runs.pairs, metric)
    return any(x is not None and y is not None for x, y in zip(after, before, strict=True))


def _words(task: Task) -> dict[str, Any] | None:
    known = [
        (after, before, a.group)
        for (after, before), (a, _) in zip(task.words, task.runs.pairs, strict=False)
        if after is not None and before is not None
    ]
    if not known:
        return None
    after, before, groups = (list(column) for column in zip(*known, strict=True))
    return {
        "after": cluster_estimate(after, groups, proportion=False).to_dict(),
        "before": cluster_estimate(before, groups, proportion=False).to_dict(),
        "difference": paired_difference([x + 0.0 for x in after], [x + 0.0 for x in before], groups).to_dict(),
        "ratio": ratio_of_sums(after, before, groups, excluded=len(task.words) - len(known)).to_dict(),
    }


def _macro(tasks: Sequence[Task], found: Mapping[str, Any], margin: float, seed: int) -> dict[str, Any]:
    gains, groups, over, left_out = [], [], [], {}
    for task in tasks:
        each = found[task.name]
        if each["target"]:
            continue
        if not each["share"] or each["gain"]["mean"] is None:
            left_out[task.name] = (
                "its metric is no share" if each["gain"]["mean"] is not None else "nothing scored"
            )
            continue
        after, before, clusters = scores_of(task.runs.pairs, each["metric"])
        sign = -1.0 if each["less_is_better"] else 1.0
        gains.append(
            [None if x is None or y is None else sign * (x - y) for x, y in zip(after, before, strict=True)]
        )
        groups.append(clusters)
        over.append(task.name)
    gain = macro_gain(gains, groups, seed=seed)
    shown = None if gain.low is None else gain.low > -margin
    return {"gain": gain.to_dict(), "over": over, "left_out": left_out, "margin": margin, "non_inferior": shown}


def _lists(taxed: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {key: [] for key in ("worse_after_holm", "worse_by_its_own_interval",
                                                       "better_after_holm", "within_margin",
                                                       "not_shown_within_margin", "not_compared")}  # fmt: skip
    for name, each in taxed.items():
        gain, p = each["gain"], each["p_holm"]
        if gain["low"] is None:
            lists["not_compared"].append(name)
            continue
        surely = p is not None and p < SIGNIFICANT
        if surely and gain["mean"] > 0:
            lists["better_after_holm"].append(name)
        if surely and gain["mean"] < 0:
            lists["worse_after_holm"].append(name)
        elif gain["high"] < 0:
            lists["worse_by_its_own_interval"].append(name)
        if each["non_inferior"] is not None:
            lists["within_margin" if each["non_inferior"]["shown"] else "not_shown_within_margin"].append(name)
    return lists


def _verdict(lists: Mapping[str, Sequence[str]], macro: Mapping[str, Any], n: int) -> tuple[str, str]:
    """In a word and in a sentence."""
    if not n:
        return "no other task", "Every task is a target of the alignment: there is none that could pay a tax."
    gain = macro["gain"]
    if gain["low"] is None:
        overall = "Over all tasks together nothing can be said."
    else:
        overall = (
            f"Over {len(macro['over'])} tasks together (macro) {100 * gain['mean']:+.1f} points, 95 % interval "
            f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}."
        )
    if lists["worse_after_holm"]:
        return "tax", f"Worse after Holm over {n} tasks: {', '.join(lists['worse_after_holm'])}. {overall}"
    if len(lists["within_margin"]) == n:
        return "no tax beyond the margin", f"Each of {n} tasks is within its margin by its own interval. {overall}"
    open_ones = [*lists["not_shown_within_margin"], *lists["not_compared"]]
    hint = ""
    if lists["worse_by_its_own_interval"]:
        hint = f" Worse by the own interval only, not after Holm: {', '.join(lists['worse_by_its_own_interval'])}."
    return "not shown", (
        f"No task is worse after Holm over {n}, but it is not shown that there is no tax beyond the margin: "
        f"{', '.join(open_ones) or 'no margin was given for some'}.{hint} {overall}"
    )
