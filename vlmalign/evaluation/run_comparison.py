"""Two runs over the same items as figures: differences, tests, verdicts against a margin, tables and subgroups."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vlmalign.evaluation.against import verdict_on
from vlmalign.evaluation.aggregate import BALANCED, QUANTITIES, balanced_accuracy, compare
from vlmalign.evaluation.conclusion import OF_NO_INTEREST, check_margin
from vlmalign.evaluation.cross_tables import NOT_SAID, CrossTable, cross_table
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate, paired_difference
from vlmalign.evaluation.margins import judge_against_margin
from vlmalign.evaluation.paired_tests import adjust_holm, clustered_mcnemar, paired_p
from vlmalign.evaluation.report_titles import LESS_IS_BETTER, METRIC_TITLES, title_of
from vlmalign.evaluation.run_items import PairedRuns, Pairs, RunItem, having, scores_of
from vlmalign.evaluation.subgroups import subgroup_differences
from vlmalign.evaluation.win_tie_loss import Outcome, by_interval, by_p, by_sign, count_outcomes

QUESTIONS = ("superiority", "non-inferiority", "equivalence")
#: more kinds of score than this are no categories
CATEGORIES = 7
LESS = "less_is_better"
_TURNED = {"better": "worse", "worse": "better"}


def compare_runs(
    runs: PairedRuns,
    *,
    metric: str | None = None,
    margin: float = 0.02,
    less_is_better: Collection[str] = (),
    names: tuple[str, str] = ("A", "B"),
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of two runs; differences are the first minus the second, over items that both could score.

    Args:
        runs: the items that both have.
        metric: the main one, about which the verdicts are; None: the first of which something is scored.
        margin: the largest difference of no interest in the main metric, in its units.
        less_is_better: further metrics of which less is better.
        names: of the runs.
        seed: of bootstraps.

    Returns:
        `metrics`: metric -> `a`, `b`, `difference`, `verdict`, `p`, `p_holm` (over all metrics), `items` (better
        in A, equal, better in B), and `mcnemar` where all scores are 0 or 1; `metric`; `verdicts` on superiority,
        non-inferiority and equivalence; `concepts`: the same as `metrics` for each concept's share right, Holm
        over these; `win_tie_loss` over concepts, or over metrics where there are none; `tables` and `confusion`;
        `counts`; `notes`.

    Raises:
        ValueError: the main metric is of no item, or the margin is not positive.
    """
    known = metric_names(runs.pairs)
    for name in less_is_better:
        if name not in known:
            raise ValueError(f"no item has the metric {name!r}, of which less is to be better: choose from "
                             f"{', '.join(known)}")  # fmt: skip
    less = frozenset(less_is_better) | LESS_IS_BETTER
    found = {name: compare_values(runs.pairs, name, less, seed) for name in known}
    check_margin(margin, OF_NO_INTEREST)
    scored = [name for name, each in found.items() if each["difference"]["mean"] is not None]
    main = metric or next(iter(scored or found))
    if main not in found:
        raise ValueError(f"no item has the metric {main!r}: choose from {', '.join(found)}")
    adjust_holm(found.values())
    concepts = compare_concepts(runs.pairs, seed)
    adjust_holm(concepts.values())
    found |= _balanced(runs.pairs)
    a, b, groups = scores_of(runs.pairs, main)
    verdicts = [
        judge_against_margin(
            a, b, groups, question, margin=margin, less_is_better=main in less, names=names,  # type: ignore[arg-type]
            share=is_share(main, a, b),
        ).to_dict()
        for question in QUESTIONS
    ]  # fmt: skip
    tasks = concepts or {name: each for name, each in found.items() if name not in QUANTITIES and "p" in each}
    return {
        "metric": main, "margin": margin, "metrics": found, "verdicts": verdicts, "concepts": concepts,
        "win_tie_loss": {"over": "concepts" if concepts else "metrics", "tasks": list(tasks),
                         **outcomes(tasks, less)},
        "tables": [table.to_dict() for table in agreement_tables(runs.pairs, main, names)],
        "confusion": {run: [table.to_dict() for table in confusion_tables(items)]
                      for run, items in zip("ab", zip(*runs.pairs, strict=True), strict=True)},
        "counts": runs.counts(), "notes": _notes(runs, a, b),
    }  # fmt: skip


def metric_names(pairs: Pairs) -> list[str]:
    """Metrics that items of both runs have, those that this package names first, in its order."""
    names = dict.fromkeys(name for a, b in pairs for name in a.values if name in b.values)
    return [name for name in METRIC_TITLES if name in names] + [
        name for name in names if name not in METRIC_TITLES
    ]


def compare_values(pairs: Pairs, metric: str, less: Collection[str], seed: int = 0) -> dict[str, Any]:
    """One metric of both runs with the difference and its test."""
    a, b, groups = scores_of(pairs, metric)
    share = is_share(metric, a, b)
    difference = paired_difference(a, b, groups, seed=seed)
    verdict = verdict_on(difference, metric)
    if metric in less and metric not in LESS_IS_BETTER:
        verdict = _TURNED.get(verdict, verdict)
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    higher, lower = sum(x > y for x, y in both), sum(x < y for x, y in both)
    better, worse = (lower, higher) if metric in less else (higher, lower)
    found: dict[str, Any] = {
        "a": cluster_estimate(a, groups, proportion=share, seed=seed).to_dict(),
        "b": cluster_estimate(b, groups, proportion=share, seed=seed).to_dict(),
        "difference": difference.to_dict(), "share": share, "less_is_better": metric in less, "verdict": verdict,
        "p": paired_p(a, b, groups, seed=seed),
        "items": {"a_better": better, "equal": len(both) - better - worse, "b_better": worse},
    }  # fmt: skip
    if both and all(value in (0.0, 1.0) for pair in both for value in pair):
        found["mcnemar"] = clustered_mcnemar(a, b, groups).to_dict()
    return found


def compare_concepts(pairs: Pairs, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Whether each concept that both were to answer is right, as a metric of its own; not said is wrong."""
    names = dict.fromkeys(concept for a, b in pairs for concept in a.truth if concept in b.truth)
    found = {}
    for concept in names:
        known = [(a, b) for a, b in pairs if concept in a.truth and concept in b.truth]
        having = [(_right(a, concept), _right(b, concept)) for a, b in known]
        found[concept] = compare_values(having, concept, (), seed)
    return found


def outcomes(compared: Mapping[str, Mapping[str, Any]], less: Collection[str] = ()) -> dict[str, Any]:
    """Wins, ties and losses of the first run: by interval, by sign alone, and by Holm's p."""
    tested: list[Outcome] = []
    raw: list[Outcome] = []
    after_holm: list[Outcome] = []
    for name, each in compared.items():
        difference = Estimate.from_dict(each["difference"])
        if name in less:
            difference = turned(difference)
        tested.append(by_interval(difference))
        raw.append(by_sign(difference))
        after_holm.append(by_p(difference, each["p_holm"]))
    counts = {"tested": tested, "raw": raw, "after_holm": after_holm}
    return {name: count_outcomes(each) for name, each in counts.items()}


def turned(difference: Estimate) -> Estimate:
    """The other side's lead.

    Example:
        >>> turned(Estimate(0.1, -0.1, 0.3, 9, 9, 0, "t")).low
        -0.3
    """
    if difference.mean is None:
        return difference
    if difference.low is None or difference.high is None:
        return replace(difference, mean=-difference.mean)
    return replace(difference, mean=-difference.mean, low=-difference.high, high=-difference.low)


def agreement_tables(pairs: Pairs, metric: str, names: tuple[str, str]) -> list[CrossTable]:
    """What the first says against what the second says: right and wrong of the main metric, and categories."""
    tables = []
    a, b, _ = scores_of(pairs, metric)
    if all(value in (0.0, 1.0, None) for value in (*a, *b)):
        said = [
            tuple(None if v is None else "right" if v else "wrong" for v in pair)
            for pair in zip(a, b, strict=True)
        ]
        title = title_of(metric)
        tables.append(cross_table(said, title=title, row_title=names[0], column_title=names[1],  # type: ignore[arg-type]
                                  order=("right", "wrong")))  # fmt: skip
    kinds = {item.category for pair in pairs for item in pair if item.category is not None}
    if 1 <= len(kinds) <= CATEGORIES:
        order = ["first", "tie", "second", *sorted(kinds - {"first", "tie", "second"}, key=_as_number)]
        tables.append(cross_table([(x.category, y.category) for x, y in pairs], title="verdicts",
                                  row_title=names[0], column_title=names[1], order=order))  # fmt: skip
    return tables


def confusion_tables(items: Sequence[RunItem]) -> list[CrossTable]:
    """One table for each concept of which something is known: what is true against what was said."""
    concepts = dict.fromkeys(concept for item in items for concept in item.truth)
    return [
        cross_table([(item.truth.get(concept), item.predicted.get(concept)) for item in items], title=concept,
                    row_title="true", column_title="said", missing=NOT_SAID)
        for concept in concepts
    ]  # fmt: skip


def compare_subgroups(
    runs: PairedRuns,
    metric: str,
    labels: Mapping[str, Mapping[str, str | None]],
    expected: Mapping[str, Sequence[str]],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """The main metric's paired difference by subgroup, and each subgroup's gap to the others.

    Args:
        runs: the items that both have.
        metric: which.
        labels: attribute -> case id -> subgroup.
        expected: attribute -> subgroups that are to be named though they may be empty.
        seed: of bootstraps.
    """
    a, b, groups = scores_of(runs.pairs, metric)
    cases = [a.case_id for a, _ in having(runs.pairs, metric)]
    return {
        attribute: subgroup_differences(
            attribute, a, b, [of_case.get(case) for case in cases], groups, expected=expected[attribute], seed=seed
        ).to_dict()
        for attribute, of_case in labels.items()
    }


def is_share(metric: str, a: Sequence[float | None], b: Sequence[float | None]) -> bool:
    """Whether scores are shares, 0 to 1."""
    return metric not in QUANTITIES and all(0 <= v <= 1 for v in (*a, *b) if v is not None)


def changed(runs: PairedRuns, metric: str) -> list[tuple[float, RunItem, RunItem]]:
    """Items whose score changed: the difference, first minus second, and what each run says; in their order."""
    found = []
    for a, b in runs.pairs:
        x, y = a.values.get(metric), b.values.get(metric)
        if x is not None and y is not None and x != y:
            found.append((x - y, a, b))
    return found


def _right(item: RunItem, concept: str) -> RunItem:
    value = float(item.predicted.get(concept) == item.truth.get(concept))
    return RunItem(item.key, item.case_id, item.group, item.record, {concept: value})


def _balanced(pairs: Pairs) -> dict[str, dict[str, Any]]:
    """Balanced accuracies, which are of the set and have an interval but no test by items."""
    a, b = ([pair[side].source for pair in pairs if pair[side].source is not None] for side in (0, 1))
    found = {}
    for name, task in BALANCED.items():
        of_a, of_b = ([item for item in run if item is not None and item.task == task] for run in (a, b))
        if of_a and of_b:
            difference = compare(of_a, of_b, name)
            found[name] = {
                "a": balanced_accuracy(of_a).to_dict(), "b": balanced_accuracy(of_b).to_dict(),
                "difference": difference.to_dict(), "share": True, "less_is_better": False,
                "verdict": verdict_on(difference, name),
            }  # fmt: skip
    return found


def _notes(runs: PairedRuns, a: Sequence[float | None], b: Sequence[float | None]) -> list[str]:
    notes = []
    left_out = runs.only_first + runs.only_second
    if left_out:
        notes.append(f"{left_out} items are in one run only ({runs.only_first} in A, {runs.only_second} in B) and "
                     "were left out; what they would have shown is not known.")  # fmt: skip
    known = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if known and all(x == y for x, y in known):
        notes.append(f"All {len(known)} items that both runs score have the same score in both: all ties.")
    return notes


def _as_number(text: str | None) -> tuple[int, float, str]:
    try:
        return (0, float(text or ""), "")
    except ValueError:
        return (1, 0.0, text or "")
