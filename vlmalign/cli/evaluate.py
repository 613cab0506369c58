"""`vlmalign evaluate`: its commands, each in a module of its own."""

from __future__ import annotations

import typer

from vlmalign.cli.console import console
from vlmalign.cli.evaluate_answers import evaluate_answers
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
from vlmalign.cli.evaluate_run import evaluate_run
from vlmalign.cli.evaluate_seeds import evaluate_seeds
from vlmalign.cli.evaluate_shortcuts import evaluate_shortcuts
from vlmalign.cli.evaluate_tax import evaluate_tax

app = typer.Typer(no_args_is_help=True, help="Evaluate answers and arms; every figure with n and an interval.")

app.command("answers")(evaluate_answers)
app.command("run")(evaluate_run)


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
