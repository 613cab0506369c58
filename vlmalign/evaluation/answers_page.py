"""The page on answers to cases whose findings are known: metrics, null baselines, confusion matrices, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmalign.evaluation.cross_tables import CrossTable
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.page_parts import Example, Figure
from vlmalign.evaluation.page_template import write_page
from vlmalign.evaluation.plots import forest_plot
from vlmalign.evaluation.report_titles import METRIC_TITLES
from vlmalign.evaluation.report_view import flat_rows, metric_table, shaded

MAIN = "whole_report_accuracy"


def render_answers(
    results: Mapping[str, Any],
    confusion: Mapping[str, Sequence[CrossTable]],
    examples: Sequence[Example],
    out: str | Path,
) -> Path:
    """Write the page. All text is escaped; it forbids scripts and every outside address.

    Args:
        results: what `vlmalign evaluate answers --json` writes.
        confusion: folder -> what is true against what it said, by concept.
        examples: cases with what each folder says of them.
        out: the file to write; replaced in one step.

    Returns:
        The path written.
    """
    against = {name: found for name, found in results.items() if name.startswith("minus ")}
    return write_page(
        out,
        "answers.html.j2",
        names=list(results["answers"]),
        forest=_forest(results),
        answers=metric_table(results["answers"]),
        baselines=metric_table(results["baselines"]),
        against={name: metric_table(found) for name, found in against.items()},
        confusion={name: [shaded(table.to_dict()) for table in tables] for name, tables in confusion.items()},
        examples=examples,
        counts=flat_rows(results["counts"]),
    )


def _forest(results: Mapping[str, Any]) -> Figure | None:
    """The first metric in per cent of which something was scored, with the same of baselines below."""
    names = dict.fromkeys(
        name
        for metrics in results["answers"].values()
        for name, figure in metrics.items()
        if figure["mean"] is not None
    )
    metric = MAIN if MAIN in names else next((name for name in METRIC_TITLES if name in names), None)
    if metric is None:
        return None
    rows, others = (
        {name: Estimate.from_dict(metrics[metric]) for name, metrics in found.items() if metric in metrics}
        for found in (results["answers"], results["baselines"])
    )
    title = METRIC_TITLES[metric][0]
    caption = "Points: mean; bars: 95% interval over groups. Hollow: answers that need no look at the image."
    return Figure.drawn(title, caption, forest_plot, rows, label=title.lower(), references=others)
