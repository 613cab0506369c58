"""The page that compares two runs over the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmalign.evaluation.aggregate import QUANTITIES
from vlmalign.evaluation.calibration import CalibrationFigures
from vlmalign.evaluation.calibration_plots import reliability_plot, risk_coverage_plot
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.html_report import ExampleAnswer, Figure
from vlmalign.evaluation.page_template import page_template
from vlmalign.evaluation.plots import comparison_plot
from vlmalign.evaluation.report_titles import METRIC_TITLES
from vlmalign.evaluation.report_view import Cell, cell_of, flat_rows, methods_of
from vlmalign.evaluation.risk_coverage import RiskCoverage
from vlmalign.records.writing import write_atomic

KINDS = {"better": "benefit", "worse": "harm", "more": "none", "less": "none"}


@dataclass(frozen=True)
class ChangedExample:
    """An item of which the two runs' scores differ.

    Attributes:
        title: e.g. the case id.
        note: what changed, and how it was chosen.
        question: the prompt; empty where it is not known.
        images: PNG, JPEG or SVG bytes.
        answers: what each run says, cut into spans.
        truth: concept -> value.
    """

    title: str
    note: str
    question: str
    images: Sequence[bytes]
    answers: Sequence[ExampleAnswer]
    truth: Mapping[str, str] = field(default_factory=dict)


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
    examples: Sequence[ChangedExample],
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
    html = page_template("runs.html.j2").render(
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
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, html.encode())
    return out


def title_of(metric: str) -> str:
    """The name under which a metric is shown.

    Example:
        >>> title_of("omissions"), title_of("lung_opacity")
        ('Omitted', 'lung opacity')
    """
    return METRIC_TITLES.get(metric, (metric.replace("_", " "), ""))[0]


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


def show_p(p: float | None) -> str:
    """A p as it is printed.

    Example:
        >>> show_p(0.04321), show_p(1e-9), show_p(None)
        ('0.043', '<0.001', '–')
    """
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def subgroup_rows(table: Mapping[str, Any], share: bool) -> list[SubgroupRow]:
    """An attribute's subgroups as lines; of an empty one its state alone."""
    rows = []
    for name, each in table["subgroups"].items():
        figure, gap = (each[key] if each[key]["mean"] is not None else None for key in ("figure", "gap"))
        cells = [cell_of(score, share=share, signed=share) for score in (figure, gap)]
        rows.append(SubgroupRow(name, each["state"], each["items"], cells[0], cells[1]))
    return rows


def shaded(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table of counts with how dark each cell is: its share of the row."""
    shades = [[count / max(1, sum(row)) for count in row] for row in table["counts"]]
    return {**table, "shades": shades}


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
    differences = {
        title_of(name): Estimate.from_dict(each["difference"])
        for name, each in results["metrics"].items()
        if each["share"] and each["difference"]["mean"] is not None
    }
    if not differences:
        return None
    drawn = [comparison_plot(differences, margin=results["margin"], dark=dark) for dark in (False, True)]
    caption = "A minus B, paired by item, 95% intervals over groups; of some metrics less is better."
    return Figure("Differences", caption, *drawn)


def _reliability(figures: Mapping[str, CalibrationFigures]) -> Figure | None:
    if not figures:
        return None
    drawn = [reliability_plot(figures, dark=dark) for dark in (False, True)]
    n = ", ".join(f"{name} {each.brier.n}" for name, each in figures.items())
    caption = f"Items with a stated confidence and a known answer: {n}. 95% intervals over groups."
    return Figure("Is confidence deserved?", caption, *drawn)


def _risk_coverage(curves: Mapping[str, RiskCoverage]) -> Figure | None:
    if not curves:
        return None
    drawn = [risk_coverage_plot(curves, dark=dark) for dark in (False, True)]
    caption = (
        "What is wrong among the answers kept when the least sure are left to a human. 95% intervals over groups."
    )
    return Figure("Risk over coverage", caption, *drawn)
