"""`vlmalign evaluate answers`: score folders of answers against what is known of their cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console, errors
from vlmalign.cli.outputs import JsonInsteadFile, ReportFile, check_outs, give_figures
from vlmalign.cli.scoring_options import LOGIC, Answered, InScope, LogicName


def evaluate_answers(
    candidates: Annotated[list[Path], typer.Argument(help="folders of candidates, reports or conversations")],
    cases: Annotated[list[Path], typer.Option(help="cases whose findings are known; may be repeated")],
    logic: LogicName = LOGIC,
    in_scope: InScope = None,
    answered: Answered = None,
    against: Annotated[
        Path | None, typer.Option(help="candidates to the same cases: paired differences to them are given, too")
    ] = None,
    learnt_from: Annotated[
        list[Path] | None,
        typer.Option(help="pairs or demonstrations that the policy learnt from: their experts may not grade it"),
    ] = None,
    allow_self_grading: Annotated[
        list[str] | None, typer.Option(help="an expert that may grade what it has taught")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="with --report: cases to show")] = 6,
    json_file: JsonInsteadFile = None,
    report: ReportFile = None,
) -> None:
    """Score folders of candidates against what is known of their cases, with null baselines beside.

    For example: vlmalign evaluate answers candidates --cases roles/test --json scores.json --report report.html

    The candidates must have answered the given cases, or those that the given ones were split from.
    """
    from vlmalign.cli.answers_report import answer_baselines, write_answers_report
    from vlmalign.cli.given_truth import read_cases, score_against
    from vlmalign.clinical import load_logic
    from vlmalign.evaluation import aggregate
    from vlmalign.evaluation.against import compare_metrics
    from vlmalign.evaluation.self_grading import refuse_graded_teachers

    folders = [*candidates, *cases, *(learnt_from or ()), *(f for f in (answered, against) if f is not None)]
    check_outs({"--json": json_file, "--report": report}, folders)
    domain = load_logic(logic)
    given = read_cases(cases, domain)
    if allow_self_grading and not learnt_from:
        raise ValueError("--allow-self-grading is given and --learnt-from is not: drop it, or name the data")
    if learnt_from:
        refuse_graded_teachers(learnt_from, given.experts, allowed=allow_self_grading or ())
    scope = in_scope or domain.observed_concepts
    found, counted, differences, scored = {}, {}, {}, {}
    baseline = None if against is None else score_against(against, given, domain, scope, answered)[0]
    for folder in candidates:
        items, counts = score_against(folder, given, domain, scope, answered)
        if baseline is not None:
            differences[str(folder)] = compare_metrics(items, baseline)
        scored[str(folder)] = items
        found[str(folder)] = {name: estimate.to_dict() for name, estimate in aggregate(items).items()}
        counted[str(folder)] = counts
    baselines = answer_baselines(given, scored, domain, scope, learnt_from or ())
    results: dict[str, Any] = {"answers": found, "baselines": baselines, "counts": counted}
    if against is not None:
        results[f"minus {against}"] = differences
    give_figures(results, json_file)
    if report is not None:
        path = write_answers_report(results, scored, given, domain, report, wanted=examples, seed=0)
        (errors if json_file is None else console).print(f"wrote {path}", markup=False)
    if json_file is not None:
        for name, counts in counted.items():
            told = ", ".join(f"{n} {key.replace('_', ' ')}" for key, n in counts.items())
            console.print(f"{name}: {told}", markup=False)
