"""The page that compares two runs over the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmalign.evaluation.against import KINDS
from vlmalign.evaluation.aggregate import QUANTITIES
from vlmalign.evaluation.calibration import CalibrationFigures
from vlmalign.evaluation.calibration_plots import reliability_plot, risk_coverage_plot
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.page_parts import Example, Figure
from vlmalign.evaluation.page_template import write_page
from vlmalign.evaluation.plots import comparison_plot
from vlmalign.evaluation.report_titles import title_of
from vlmalign.evaluation.report_view import Cell, cell_of, flat_rows, methods_of, shaded, show_p
from vlmalign.evaluation.risk_coverage import RiskCoverage


@dataclass(frozen=True)
class MetricRow:
    """A metric of both runs."""

    title: str
    tag: str
    a: Cell | None
    b: Cell | None
    difference: Cell | None
    items: str
    p: str
    p_holm: str
    verdict: str
    kind: str


@dataclass(frozen=True)
class SubgroupRow:
    """A subgroup's difference, and its gap to the others."""

    name: str
    state: str
    items: int
    difference: Cell | None
    gap: Cell | None


def render_run_comparison(
    results: Mapping[str, Any],
    examples: Sequence[Example],
    out: str | Path,
    *,
    reliability: Mapping[str, CalibrationFigures] | None = None,
    risk: Mapping[str, RiskCoverage] | None = None,
) -> Path:
    """Write the page. All text is escaped; it forbids scripts and every outside address.

    Args:
        results: what `vlmalign compare --json` writes.
        examples: items of which the scores differ.
        out: the file to write; replaced in one step.
        reliability: run -> calibration of its confidences, where they are known.
        risk: run -> its risk-coverage curve by them.

    Returns:
        The path written.
    """
    main = results["metrics"][results["metric"]]
    return write_page(
        out,
        "runs.html.j2",
        results=results,
        names=results["names"],
        main_title=title_of(results["metric"]),
        verdicts=[_card(verdict) for verdict in results["verdicts"]],
        mcnemar=_mcnemar(main),
        rows=[metric_row(name, each) for name, each in results["metrics"].items()],
        methods_text=methods_of(each["difference"] for each in results["metrics"].values()),
        concepts=[metric_row(name, each) for name, each in results["concepts"].items()],
        forest=_forest(results),
        tables=[shaded(table) for table in results["tables"]],
        confusion={results["names"][side]: [shaded(table) for table in results["confusion"][key]]
                   for side, key in enumerate("ab")},
        subgroups={name: subgroup_rows(table, main["share"]) for name, table in results["subgroups"].items()},
        reliability=_reliability(reliability or {}),
        risk_coverage=_risk_coverage(risk or {}),
        examples=examples,
        counts=flat_rows(results["counts"]),
        setup=flat_rows(results["setup"]),
    )  # fmt: skip


def metric_row(name: str, each: Mapping[str, Any]) -> MetricRow:
    """A metric as a line of the table."""
    share = bool(each["share"])
    items = each.get("items")
    told = "" if items is None else f"{items['a_better']} / {items['equal']} / {items['b_better']}"
    tag = "less is better" if each["less_is_better"] else "a quantity" if name in QUANTITIES else ""
    return MetricRow(
        title_of(name), tag, cell_of(each["a"], share=share), cell_of(each["b"], share=share),
        cell_of(each["difference"], share=share, signed=share), told, show_p(each.get("p")),
        show_p(each.get("p_holm")), str(each["verdict"]), KINDS.get(str(each["verdict"]), "undecided"),
    )  # fmt: skip


def subgroup_rows(table: Mapping[str, Any], share: bool) -> list[SubgroupRow]:
    """An attribute's subgroups as lines; of an empty one its state alone."""
    rows = []
    for name, each in table["subgroups"].items():
        figure, gap = (each[key] if each[key]["mean"] is not None else None for key in ("figure", "gap"))
        cells = [cell_of(score, share=share, signed=share) for score in (figure, gap)]
        rows.append(SubgroupRow(name, each["state"], each["items"], cells[0], cells[1]))
    return rows


def _card(verdict: Mapping[str, Any]) -> dict[str, str]:
    shown = verdict["shown"]
    word = {True: "shown", False: "not shown", None: "cannot be said"}[shown]
    sentence = str(verdict["sentence"])
    for start in ("it is", "whether"):  # the name of a run stays as it is
        sentence = sentence.replace(start, start.capitalize(), 1) if sentence.startswith(start) else sentence
    return {"question": str(verdict["question"]), "verdict": word, "sentence": sentence,
            "kind": "benefit" if shown else "undecided"}  # fmt: skip


def _mcnemar(main: Mapping[str, Any]) -> str:
    test = main.get("mcnemar")
    if test is None:
        return ""
    return (
        f"Right in A only: {test['first_only']}; in B only: {test['second_only']}; in both: {test['both']}; in "
        f"neither: {test['neither']}. p {show_p(test['p'])} ({test['method']}; {test['differ']} of "
        f"{test['n_groups']} groups differ; {test['excluded']} items excluded)."
    )


def _forest(results: Mapping[str, Any]) -> Figure | None:
    metrics = {
        title_of(name): each
        for name, each in results["metrics"].items()
        if each["share"] and each["difference"]["mean"] is not None
    }
    if not metrics:
        return None
    caption = (
        "A minus B, paired by item, 95% intervals over groups. Green: A is better; orange: worse; blue: open."
    )
    differences = {title: Estimate.from_dict(each["difference"]) for title, each in metrics.items()}
    less = {title for title, each in metrics.items() if each["less_is_better"]}
    return Figure.drawn("Differences", caption, comparison_plot, differences, margin=results["margin"],
                        less_is_better=less)  # fmt: skip


def _reliability(figures: Mapping[str, CalibrationFigures]) -> Figure | None:
    if not figures:
        return None
    n = ", ".join(f"{name} {each.brier.n}" for name, each in figures.items())
    caption = f"Items with a stated confidence and a known answer: {n}. 95% intervals over groups."
    return Figure.drawn("Is confidence deserved?", caption, reliability_plot, figures)


def _risk_coverage(curves: Mapping[str, RiskCoverage]) -> Figure | None:
    if not curves:
        return None
    caption = (
        "What is wrong among the answers kept when the least sure are left to a human. 95% intervals over groups."
    )
    return Figure.drawn("Risk over coverage", caption, risk_coverage_plot, curves)
