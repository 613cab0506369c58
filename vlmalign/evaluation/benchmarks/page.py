"""The page on one benchmark: its tables, what needs no look at the image beside them, and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmalign.evaluation import report_view
from vlmalign.evaluation.benchmarks.marks import ClosedItem
from vlmalign.evaluation.benchmarks.protocol import Benchmark, BenchmarkResult, Table
from vlmalign.evaluation.benchmarks.report_findings import ReportItem
from vlmalign.evaluation.cross_tables import CrossTable, cross_table
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.page_parts import Figure
from vlmalign.evaluation.page_template import write_page
from vlmalign.evaluation.plots import forest_plot
from vlmalign.evaluation.report_view import Row, cell_of, methods_of, shaded

#: more right answers than this are no classes, and more rows than this no figure
CLASSES, FOREST_ROWS = 12, 24
NOT_READ = "not read"


def render_benchmark(benchmark: Benchmark, items: Sequence[Any], result: BenchmarkResult, out: str | Path) -> Path:
    """Write the page. All text is escaped; it forbids scripts and every outside address.

    Args:
        benchmark: which.
        items: that were scored.
        result: of scoring them.
        out: the file to write; replaced in one step.

    Returns:
        The path written.
    """
    return write_page(
        out,
        "benchmark.html.j2",
        benchmark=benchmark,
        total=sum(result.counts.values()),
        counts=result.counts,
        forest=_forest(result),
        tables=[(table, _view(table)) for table in result.tables],
        baselines=None if result.baselines is None else (result.baselines, _view(result.baselines)),
        confusion=[shaded(table.to_dict()) for table in confusion(items)],
        notes=result.notes,
        files=result.files,
        options=report_view.flat_rows(dict(result.options)),
    )


def confusion(items: Sequence[Any]) -> list[CrossTable]:
    """What is true against what was said, where the items have few classes; an answer that was not read has a
    column.

    Example:
        >>> found = confusion([ClosedItem("q", "q", truth="yes", chosen=None)])
        >>> found[0].rows, found[0].columns, found[0].counts
        (['yes'], ['not read'], [[1]])
    """
    reports = [item for item in items if isinstance(item, ReportItem)]
    findings = dict.fromkeys(name for item in reports for name in item.truth)
    tables = [
        cross_table([(item.truth.get(name), item.said.get(name)) for item in reports], title=name,
                    row_title="true", column_title="said", missing=NOT_READ)
        for name in findings
    ]  # fmt: skip
    closed = [(item.truth, item.chosen) for item in items if isinstance(item, ClosedItem)]
    if closed and len({truth for truth, _ in closed}) <= CLASSES:
        tables.append(
            cross_table(closed, title="answers", row_title="true", column_title="said", missing=NOT_READ)
        )
    return tables


def _view(table: Table) -> report_view.Table:
    rows = [
        Row(name, "", [_cell(row.get(column), table.share) for column in table.columns])
        for name, row in table.rows.items()
    ]
    shown = [found.to_dict() for row in table.rows.values() for found in row.values() if found is not None]
    return report_view.Table([(column, "") for column in table.columns], rows, methods_of(shown))


def _cell(found: Estimate | None, share: bool) -> report_view.Cell | None:
    return None if found is None else cell_of(found.to_dict(), share=share)


def _forest(result: BenchmarkResult) -> Figure | None:
    """The first column of the first table of shares, with the same of baselines below."""
    table = next((each for each in result.tables if each.share), None)
    if table is None:
        return None
    column = table.columns[0]
    rows = _column(table, column)
    if not rows or len(rows) > FOREST_ROWS:
        return None
    others = {} if result.baselines is None else _column(result.baselines, column, result.baselines.columns[0])
    caption = "Points: mean; bars: 95% interval." + (
        " Hollow: answers that need no look at the image." if others else ""
    )
    label = column.replace("_", " ")
    return Figure.drawn(table.title, caption, forest_plot, rows, label=label, references=others)


def _column(table: Table, *columns: str) -> dict[str, Estimate]:
    """The first of the columns that a row has, by row."""
    found: dict[str, Estimate] = {}
    for name, row in table.rows.items():
        cells: Mapping[str, Estimate | None] = row
        chosen = next((cell for column in columns if (cell := cells.get(column)) is not None), None)
        if chosen is not None:
            found[name] = chosen
    return found
