"""`vlmalign reader-study analyze`: what readers' answers say, with a page, figures and a methods paragraph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vlmalign.cli.console import console, errors


def analyze(
    study: Annotated[Path, typer.Argument(help="the study folder")],
    files: Annotated[list[Path], typer.Argument(help="readers' files, JSON or CSV")],
    out: Annotated[Path, typer.Option(help="folder to write: results.json, report.html, methods.md, figures")],
    key: Annotated[Path | None, typer.Option("--key", help="the key, where it is kept elsewhere")] = None,
    on_bad: Annotated[
        Literal["refuse", "skip"],
        typer.Option(help="refuse faulty files, naming every fault; or set the faulty answers aside, counted"),
    ] = "refuse",
    readers: Annotated[
        Literal["auto", "these", "new"],
        typer.Option(help="what intervals are for: these readers, or new ones; auto: new from five readers on"),
    ] = "auto",
    seed: Annotated[int, typer.Option(help="of bootstraps")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace another study's analysis")] = False,
) -> None:
    """Analyse a study: win rates, ratings, marked errors, agreement, length, side and blinding, with intervals.

    For example: vlmalign reader-study analyze study anna.json ben.json --out analysis

    Give all readers' files at once. The key is checked against the hash that the study committed to. Ties,
    unanswered questions and faulty answers are counted beside every figure.
    """
    from vlmalign.evaluation.readers_and_cases import Estimand
    from vlmalign.reader_study.analysis import analyze as analyze_study
    from vlmalign.reader_study.analysis import write_analysis
    from vlmalign.reader_study.analysis.report_tables import difference_sentence
    from vlmalign.reader_study.collecting import collect

    found = collect(study, files, key=key, on_bad=on_bad)
    estimands: dict[str, Estimand | None] = {"auto": None, "these": "these readers", "new": "new readers"}
    results = analyze_study(found, estimand=estimands[readers], seed=seed)
    written = write_analysis(results, out, overwrite=overwrite)
    for one in (results["preference"] or {}).get("pairs", ()):
        console.print(one["sentence"], markup=False)
    for one in (results["ratings"] or {}).get("differences", ()):
        console.print(difference_sentence(one), markup=False)
    if results["blinding"]:
        console.print(f"blinding: {results['blinding']['sentence']}", markup=False)
    for note in results["notes"]:
        errors.print(note, markup=False)
    for problem in found.problems:
        errors.print(f"set aside: {problem}", markup=False)
    console.print(f"wrote {', '.join(str(path) for path in written)}", markup=False)
