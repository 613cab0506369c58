"""The report that a person looks at: one self-contained HTML file, readable offline, on paper, and in the dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmalign.evaluation import plots
from vlmalign.evaluation.against import against_view
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.page_parts import Example, Figure
from vlmalign.evaluation.page_template import write_page
from vlmalign.evaluation.report_titles import EXPERT_TITLES, REWARD_TITLES
from vlmalign.evaluation.report_view import (
    conclusions,
    cost_rows,
    flat_rows,
    flow_steps,
    methods_of,
    metric_table,
    score_table,
)
from vlmalign.evaluation.results import check_results


def render_report(
    results: Mapping[str, Any],
    examples: Sequence[Example],
    figures: Sequence[Figure],
    out: str | Path,
    *,
    title: str = "Does the model say true things?",
    margin: float = 0.02,
) -> Path:
    """Write the report.

    Sections of which the results hold nothing are left out and named as missing. All text is escaped and the
    page forbids scripts and every outside address, as candidates' texts are not to be trusted.

    Args:
        results: as in results.json. Beside its schema these keys are shown where present: `source`, `config`,
            `counts`, `seeds`, `flops`, `flow` (a list of pairs, step and what it did), `notes` (a list of
            sentences for the limits).
        examples: pictures with answers.
        figures: further figures; those of arms, comparisons and best of N are made here.
        out: the file to write; replaced in one step.
        title: of the page.
        margin: differences below it are of no interest, in shares.

    Returns:
        The path written.

    Raises:
        ValueError: the results break the schema, or an image is of no known kind.
    """
    check_results(results)
    reward = results.get("reward_model") or {}
    return write_page(
        out,
        "report.html.j2",
        title=title,
        results={**dict.fromkeys(("source", "seed", "seeds", "n_groups", "notes")), **results},
        margin=margin,
        flow=flow_steps(results),
        several_seeds=len(results.get("seeds") or ()) > 1,
        headline=conclusions(results.get("comparisons"), margin),
        headline_methods=methods_of((results.get("comparisons") or {}).values()),
        against=against_view(results),
        against_methods=methods_of((results.get("dpo_against_sft_more") or {}).values()),
        arms=metric_table(results.get("arms")),
        sampled=metric_table(results.get("sampled")),
        baselines=metric_table(results.get("baselines")),
        reward=score_table(reward, REWARD_TITLES),
        expert=score_table(results.get("expert"), EXPERT_TITLES),
        costs=cost_rows(results),
        counts=flat_rows(results.get("counts")),
        setup=[row for key in ("source", "seed", "seeds", "versions", "config")
               for row in flat_rows({key: results.get(key)})],
        missing=_missing(results, examples),
        own={**dict.fromkeys(("arms", "comparisons", "best_of_n")), **standard_figures(results, margin)},
        figures=figures,
        examples=examples,
    )  # fmt: skip


def standard_figures(results: Mapping[str, Any], margin: float) -> dict[str, Figure]:
    """Figures that the results alone can give: `arms`, `comparisons`, `best_of_n`, each if it can be made."""
    figures = {}
    arms = _pick(results.get("arms"), "whole_report_accuracy")
    if arms:
        references = _pick(results.get("baselines"), "whole_report_accuracy")
        if "expert_only" in arms:
            references = {"expert_only": arms.pop("expert_only"), **references}
        figures["arms"] = Figure.drawn(
            "Whole reports right",
            f"Points: mean; bars: 95% interval. {_counts([*arms.values(), *references.values()])}"
            + (" Hollow: references that were not trained for this comparison." if references else ""),
            plots.forest_plot, arms, label="whole reports right", references=references,
        )  # fmt: skip
    differences = {name.replace("_minus_", " − "): Estimate.from_dict(s)
                   for name, s in (results.get("comparisons") or {}).items()}  # fmt: skip
    if differences:
        counts = _counts(list(differences.values()))
        figures["comparisons"] = Figure.drawn(
            "Differences between arms", f"Paired differences on the same items with 95% intervals. {counts}",
            plots.comparison_plot, differences, margin=margin,
        )  # fmt: skip
    raw = (results.get("reward_model") or {}).get("best_of_n") or {}
    curve = {n: {k: Estimate.from_dict(s) for k, s in point.items()} for n, point in raw.items()}
    if curve:
        counts = _counts([e for point in curve.values() for e in point.values()])
        figures["best_of_n"] = Figure.drawn(
            "Best of N",
            f"Truth of the candidate picked among N; exact expectation over subsets, bands: 95% interval. "
            f"{counts}",
            plots.best_of_n_plot, curve,
        )  # fmt: skip
    return figures


def _pick(arms: Mapping[str, Mapping[str, Any]] | None, metric: str) -> dict[str, Estimate]:
    return {name: Estimate.from_dict(m[metric]) for name, m in (arms or {}).items() if metric in m}


def _counts(estimates: Sequence[Estimate]) -> str:
    ns, groups = {e.n for e in estimates}, {e.n_groups for e in estimates if e.n_groups}
    items = f"n = {min(ns):,}" if len(ns) == 1 else f"n = {min(ns):,} to {max(ns):,}"
    where = "" if not groups else f" in {max(groups):,} groups"
    return f"{items}{where}, {sum(e.excluded for e in estimates):,} values excluded."


def _missing(results: Mapping[str, Any], examples: Sequence[Example]) -> list[str]:
    names = {"arms": "arms", "comparisons": "comparisons", "baselines": "baselines",
             "dpo_against_sft_more": "dpo against sft_more by metric",
             "sampled": "sampled answers (T = 1)",
             "reward_model": "reward model", "expert": "expert", "seconds": "seconds per stage"}  # fmt: skip
    found = [title for key, title in names.items() if not results.get(key)]
    return found if examples else [*found, "examples"]
