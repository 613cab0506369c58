"""One arm against another, metric by metric: what went the wanted way, what the other way, what did not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlmalign.evaluation.aggregate import BALANCED, QUANTITIES, compare
from vlmalign.evaluation.answer_scores import ItemScore
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.report_titles import LESS_IS_BETTER, METRIC_TITLES, title_of
from vlmalign.evaluation.report_view import Cell, cell_of
from vlmalign.evaluation.results import METRICS

#: verdict -> the colour in which it is shown
KINDS = {"better": "benefit", "worse": "harm", "more": "none", "less": "none"}


def compare_metrics(
    a: Sequence[ItemScore], b: Sequence[ItemScore], *, crossed: bool = False
) -> dict[str, dict[str, Any]]:
    """Paired differences a - b of every metric of `METRICS` that the items have, each with its verdict.

    Args:
        a: items of one arm.
        b: items of the other: the same cases, samples and seeds.
        crossed: the same groups are tested under every seed.

    Returns:
        Metric -> the difference as results.json holds it, and `verdict` (see `verdict_on`).
    """
    having = {name for item in a for name in item.metrics}
    having |= {name for name, task in BALANCED.items() if any(item.task == task for item in a)}  # of no item alone
    found = {}
    for metric in METRICS:
        if metric in having:
            difference = compare(a, b, metric, crossed=crossed)
            found[metric] = {**difference.to_dict(), "verdict": verdict_on(difference, metric)}
    return found


def verdict_on(difference: Estimate, metric: str) -> str:
    """What a difference's 95 % interval says by the metric's direction; one metric looked at by itself.

    Returns:
        "better" or "worse" if the whole interval lies on that side of 0 ("more" or "less" for answer length,
        which is neither), "no difference shown", or "not compared" without an interval.

    Example:
        >>> verdict_on(Estimate(0.1, 0.02, 0.18, 400, 40, 0, "t"), "omissions")
        'worse'
    """
    if difference.low is None or difference.high is None:
        return "not compared"
    if difference.low <= 0 <= difference.high:
        return "no difference shown"
    if metric in QUANTITIES:
        return "more" if difference.low > 0 else "less"
    return "better" if (difference.low > 0) != (metric in LESS_IS_BETTER) else "worse"


@dataclass(frozen=True)
class AgainstRow:
    """A metric of both arms with the difference."""

    title: str
    note: str
    before: Cell | None
    after: Cell | None
    difference: Cell | None
    verdict: str
    kind: str


@dataclass(frozen=True)
class AgainstView:
    """The table with the sentences above it."""

    sentences: Sequence[str]
    rows: Sequence[AgainstRow]


def against_view(results: Mapping[str, Any]) -> AgainstView | None:
    """The table of dpo against sft_more, and what is worse, in words; None if the results hold none."""
    section = results.get("dpo_against_sft_more")
    if not section:
        return None
    arms = results.get("arms") or {}
    rows: list[AgainstRow] = []
    by_verdict: dict[str, list[str]] = {}
    for metric, score in section.items():
        verdict = str(score.get("verdict") or verdict_on(Estimate.from_dict(score), metric))
        by_verdict.setdefault(verdict, []).append(title_of(metric))
        share = metric not in QUANTITIES
        old, new = (cell_of((arms.get(arm) or {}).get(metric), share=share) for arm in ("sft_more", "dpo"))
        note = "less is better" if metric in LESS_IS_BETTER else "tokens" if metric in QUANTITIES else ""
        old, new = (cell and replace(cell, counts="") for cell in (old, new))  # the difference tells them
        difference = cell_of(score, share=share, signed=True)
        rows.append(
            AgainstRow(title_of(metric), note, old, new, difference, verdict, KINDS.get(verdict, "undecided"))
        )
    sentences = [
        f"{word}: {'; '.join(by_verdict[verdict])}."
        if verdict in by_verdict else f"{word}: no metric beyond its interval."
        for verdict, word in (("worse", "Worse"), ("better", "Better"))
    ]  # fmt: skip
    return AgainstView([*sentences, *template_sentence(arms)], rows)


def template_sentence(arms: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Where the template line, which no model writes, is better than dpo; empty if nowhere.

    Example:
        >>> score = {"mean": 0.4, "low": 0.3, "high": 0.5, "n": 9, "excluded": 0}
        >>> arms = {name: {"whole_report_accuracy": {**score, "mean": mean}}
        ...         for name, mean in (("dpo", 0.4), ("expert_only", 0.45))}
        >>> template_sentence(arms)[0][-62:]
        'is better than dpo in: Whole report right (45.0 against 40.0).'
    """
    better = []
    for metric in METRICS:
        template, own = ((arms.get(name) or {}).get(metric) or {} for name in ("expert_only", "dpo"))
        if metric in QUANTITIES or template.get("mean") is None or own.get("mean") is None:
            continue
        gain = template["mean"] - own["mean"]
        if gain * (-1 if metric in LESS_IS_BETTER else 1) > 0:
            figures = f"{100 * template['mean']:.1f} against {100 * own['mean']:.1f}"
            better.append(f"{METRIC_TITLES[metric][0]} ({figures})")
    if not better:
        return []
    who = "expert_only (a template filled from the expert's findings, no model)"
    return [f"{who} is better than dpo in: {'; '.join(better)}."]
