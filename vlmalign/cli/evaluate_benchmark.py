"""`vlmalign evaluate benchmark`: score predictions on a benchmark, in published log formats or our own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import figure, show_rows
from vlmalign.cli.named_values import named_values
from vlmalign.cli.outputs import JsonFile, ReportFile, check_outs, write_figures

if TYPE_CHECKING:
    from vlmalign.evaluation.benchmarks import BenchmarkResult, Table


def evaluate_benchmark(
    name: Annotated[str, typer.Argument(help="a benchmark; `vlmalign evaluate list` names them")],
    more: Annotated[list[Path] | None, typer.Argument(help="further prediction files", show_default=False)] = None,
    predictions: Annotated[
        list[Path] | None, typer.Option(help="files (or record folders) with predictions; may be repeated")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="option=value of the benchmark; may be repeated")
    ] = None,
    json_file: JsonFile = None,
    report: ReportFile = None,
) -> None:
    """Score predictions on a benchmark, with counts of what could not be scored and null baselines beside.

    For example: vlmalign evaluate benchmark vl-rewardbench --predictions results.json --json scores.json
    --report report.html
    """
    from vlmalign.evaluation.benchmarks import find_benchmark, score_files

    benchmark = find_benchmark(name)
    files = [*(predictions or ()), *(more or ())]
    check_outs({"--json": json_file, "--report": report}, files)
    options = named_values(settings or (), "--set", "option=value", empty=True)
    items, result = score_files(benchmark, files, options)
    show_result(result)
    write_figures(result.to_dict(), json_file)
    if report is not None:
        from vlmalign.evaluation.benchmarks.page import render_benchmark

        console.print(f"wrote {render_benchmark(benchmark, items, result, report)}", markup=False)


def list_benchmarks() -> None:
    """Print benchmarks with their formats and options."""
    from vlmalign.evaluation.benchmarks import BENCHMARKS, find_benchmark

    for name in sorted(BENCHMARKS):
        benchmark = find_benchmark(name)
        console.print(f"[bold]{name:26}[/] {benchmark.title} ({benchmark.source})")
        for key, what in benchmark.formats.items():
            console.print(f"{'':26} reads {key}: {what}", markup=False)
        for key, option in benchmark.options.items():
            console.print(f"{'':26} --set {key}={option.default}: {option.help}", markup=False)


def show_result(result: BenchmarkResult) -> None:
    """Print a result: states, tables, baselines, notes."""
    total = sum(result.counts.values())
    states = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in result.counts.items())
    console.print(f"{result.benchmark}: {total} items: {states}; 95 % intervals", markup=False)
    for table in (*result.tables, *((result.baselines,) if result.baselines else ())):
        show_rows(table.title + (" (%)" if table.share else ""), _rows(table))
        if table.note:
            console.print(f"  {table.note}", markup=False)
    for note in result.notes:
        console.print(f"\nnote: {note}", markup=False)


def _rows(table: Table) -> list[list[str]]:
    many = len(table.columns) > 1
    return [
        [
            row if k == 0 else "",
            *([column] if many else []),
            figure(None if found is None else found.to_dict(), share=table.share),
        ]
        for row, figures in table.rows.items()
        for k, (column, found) in enumerate(figures.items())
    ]
