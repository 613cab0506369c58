"""`vlmalign evaluate lint`: does a table of results add up?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.outputs import check_outs, write_figures


def evaluate_lint(
    table: Annotated[Path, typer.Argument(help="a CSV file; its first column names the rows")],
    preset: Annotated[
        str | None,
        typer.Option(help="known table: vl-rewardbench, mj-bench, reward-bench; default: by its columns"),
    ] = None,
    whole: Annotated[str | None, typer.Option(help="the column that follows from the parts")] = None,
    part: Annotated[
        list[str] | None, typer.Option(help="COLUMN=WEIGHT (or COLUMN: equal weights); repeat it")
    ] = None,
    slack: Annotated[
        float, typer.Option(min=0, help="how far left-out items may move the whole, in the table's units")
    ] = 0.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all findings here")] = None,
) -> None:
    """Check whether overall and macro figures follow from the parts of each row; exit code 1 if one does not.

    For example: vlmalign evaluate lint table.csv --whole overall --part general=183 --part reasoning=318
    """
    from vlmalign.evaluation.table_lint import PRESETS, lint_table, rule_of
    from vlmalign.records.suggestions import unknown

    check_outs({"--json": json_file}, [table])
    if not slack < float("inf"):
        raise ValueError(f"--slack is {slack}: expected a finite number, in the units of the table")
    if preset is not None and whole is not None:
        raise ValueError("--preset and --whole are both given: choose one")
    if part and whole is None:
        raise ValueError("--part is given without --whole: name the column that follows from the parts")
    if preset is not None and preset not in PRESETS:
        raise ValueError(unknown("preset", preset, PRESETS))
    rules: Any = None if preset is None else PRESETS[preset]
    if whole is not None:
        rules = (rule_of(whole, part or (), slack),)
    found = lint_table(table, rules)
    wrong = [finding for finding in found if finding.verdict in ("differs", "impossible")]
    for finding in found:
        if finding.verdict != "ok":
            console.print(f"line {finding.line}: {finding.verdict}: {finding}", markup=False)
    unchecked = sum(finding.verdict == "unknown" for finding in found)
    more = f", {unchecked} could not be checked" if unchecked else ""
    console.print(f"{len(found)} figures: {len(wrong)} do not follow from their parts{more}", markup=False)
    write_figures({"findings": [vars(finding) for finding in found]}, json_file)
    if wrong:
        raise typer.Exit(1)
