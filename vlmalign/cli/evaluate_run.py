"""`vlmalign evaluate run`: score a finished demo's arms on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vlmalign.cli.outputs import JsonInsteadFile, ReportFile, check_outs, give_figures


def evaluate_run(
    run: Annotated[Path, typer.Argument(help="a finished demo (its --out)")],
    source: Annotated[Literal["smear", "bccd"], typer.Option(help="what kind of data to test on")],
    data: Annotated[Path | None, typer.Option(help="folder of photographs; only with --source bccd")] = None,
    seed: Annotated[int, typer.Option(help="of sampling; with --source smear also of the new phantoms")] = 1000,
    slides: Annotated[int, typer.Option(help="with --source smear: how many new slides")] = 60,
    jobs: Annotated[int, typer.Option(help="stages that run at once")] = 2,
    json_file: JsonInsteadFile = None,
    report: ReportFile = None,
) -> None:
    """Score a finished demo's arms on another folder; refuses pictures that the run was trained on.

    For example: vlmalign evaluate run runs/demo --source bccd --data BCCD --json scores.json
    --report report.html
    """
    from vlmalign.cli.transfer import transfer

    check_outs({"--json": json_file, "--report": report}, [] if data is None else [data])
    results = transfer(run, source, data, seed=seed, slides=slides, jobs=jobs, report=report)
    give_figures(results, json_file)
