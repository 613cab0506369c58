"""`vlmalign evaluate`: score answers with intervals; score a finished demo's arms on other data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vlmalign.cli import answers  # noqa: F401  - registers its stage
from vlmalign.cli.console import console, errors
from vlmalign.cli.evaluate_benchmark import evaluate_benchmark, list_benchmarks
from vlmalign.cli.evaluate_best_of_n import evaluate_best_of_n
from vlmalign.cli.evaluate_checklist import evaluate_checklist
from vlmalign.cli.evaluate_critiques import evaluate_critiques
from vlmalign.cli.evaluate_judge import evaluate_injections, evaluate_judge
from vlmalign.cli.evaluate_lint import evaluate_lint
from vlmalign.cli.evaluate_over_optimisation import evaluate_over_optimisation
from vlmalign.cli.evaluate_power import evaluate_power
from vlmalign.cli.evaluate_prompts import evaluate_prompts
from vlmalign.cli.evaluate_reward import evaluate_reward
from vlmalign.cli.evaluate_seeds import evaluate_seeds
from vlmalign.cli.evaluate_shortcuts import evaluate_shortcuts
from vlmalign.cli.evaluate_tax import evaluate_tax
from vlmalign.cli.figures import check_outs, write_figures

app = typer.Typer(no_args_is_help=True, help="Evaluate answers and arms; every figure with n and an interval.")

JsonFile = Annotated[Path | None, typer.Option("--json", help="write the figures here instead of printing them")]


@app.command("answers")
def evaluate_answers(
    candidates: Annotated[list[Path], typer.Argument(help="folders of candidates, reports or conversations")],
    cases: Annotated[list[Path], typer.Option(help="cases whose findings are known; may be repeated")],
    logic: Annotated[str, typer.Option(help="clinical logic: a name or a YAML file")] = "peripheral_smear",
    in_scope: Annotated[
        list[str] | None, typer.Option(help="concepts that an expert can verify; default: all observed")
    ] = None,
    answered: Annotated[
        Path | None,
        typer.Option(help="the cases that were answered, where --cases is another selection of them"),
    ] = None,
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
    json_file: JsonFile = None,
    report: Annotated[Path | None, typer.Option(help="write a self-contained HTML page here")] = None,
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
    scope = in_scope or [c for c in domain.order if c not in set(domain.derived_concepts)]
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
    _give(results, json_file)
    if report is not None:
        path = write_answers_report(results, scored, given, domain, report, wanted=examples, seed=0)
        (errors if json_file is None else console).print(f"wrote {path}", markup=False)
    if json_file is not None:
        for name, counts in counted.items():
            told = ", ".join(f"{n} {key.replace('_', ' ')}" for key, n in counts.items())
            console.print(f"{name}: {told}", markup=False)


@app.command("run")
def evaluate_run(
    run: Annotated[Path, typer.Argument(help="a finished demo (its --out)")],
    source: Annotated[Literal["smear", "bccd"], typer.Option(help="what kind of data to test on")],
    data: Annotated[Path | None, typer.Option(help="folder of photographs; only with --source bccd")] = None,
    seed: Annotated[int, typer.Option(help="of sampling; with --source smear also of the new phantoms")] = 1000,
    slides: Annotated[int, typer.Option(help="with --source smear: how many new slides")] = 60,
    jobs: Annotated[int, typer.Option(help="stages that run at once")] = 2,
    json_file: JsonFile = None,
    report: Annotated[Path | None, typer.Option(help="write a self-contained HTML page here")] = None,
) -> None:
    """Score a finished demo's arms on another folder; refuses pictures that the run was trained on.

    For example: vlmalign evaluate run runs/demo --source bccd --data BCCD --json scores.json
    --report report.html
    """
    from vlmalign.cli.transfer import transfer

    check_outs({"--json": json_file, "--report": report}, [] if data is None else [data])
    results = transfer(run, source, data, seed=seed, slides=slides, jobs=jobs, report=report)
    _give(results, json_file)


@app.command("list")
def list_() -> None:
    """Name the metrics and what each means, and the benchmarks."""
    from vlmalign.evaluation.report_titles import METRIC_TITLES

    for name, (_, note) in METRIC_TITLES.items():
        console.print(f"[bold]{name:26}[/] {note}")
    console.print("\nbenchmarks, for `vlmalign evaluate benchmark NAME --predictions FILE`:", markup=False)
    list_benchmarks()


app.command("benchmark")(evaluate_benchmark)
app.command("lint")(evaluate_lint)
app.command("checklist")(evaluate_checklist)
app.command("power")(evaluate_power)
app.command("seeds")(evaluate_seeds)
app.command("prompts")(evaluate_prompts)
app.command("reward")(evaluate_reward)
app.command("critique-gate")(evaluate_critiques)
app.command("best-of-n")(evaluate_best_of_n)
app.command("over-optimisation")(evaluate_over_optimisation)
app.command("shortcuts")(evaluate_shortcuts)
app.command("judge")(evaluate_judge)
app.command("injections")(evaluate_injections)
app.command("tax")(evaluate_tax)


def _give(results: dict[str, Any], path: Path | None) -> None:
    if path is None:
        console.print_json(json.dumps(results, indent=1, sort_keys=True, allow_nan=False))
    write_figures(results, path)
