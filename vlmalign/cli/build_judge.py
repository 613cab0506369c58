"""`vlmalign build judge CONFIG.yaml`: LLM judges compare or grade answers, and write judgements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmalign.cli.build import app
from vlmalign.cli.commands import SHARD_HELP
from vlmalign.cli.console import console, errors
from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.settings import make_settings, settings_table
from vlmalign.cli.stages import merge, open_recipe, parse_settings, run_recipe_stage, stage

if TYPE_CHECKING:
    from data_builders.judges.running import JudgeRun


@stage("judge", shards=True)
def run_judge(overwrite: bool = False, **config: Any) -> None:
    """LLM judges over candidates or pairs."""
    from data_builders.judges.config import JudgeConfig
    from data_builders.judges.running import run_judges

    run_judges(
        make_settings(JudgeConfig, config, where="stage 'judge'", kind="key"), overwrite=overwrite, tell=tell_run
    )


def tell_run(run: JudgeRun) -> None:
    """Print what was asked, what it cost, and what could not be used."""
    console.print(
        f"asked {run.asked} request{'s' * (run.asked != 1)}, {run.cached} taken from the cache"
        + (f", {run.repeated} attempts repeated" if run.repeated else ""),
        markup=False,
    )
    total = run.spent + run.earlier
    if run.spent.requests or run.earlier.requests:
        before = f" (in all {total.tokens} tokens, cost {total.cost:.4g})" if run.earlier.requests else ""
        console.print(
            f"{run.spent.prompt_tokens} tokens read, {run.spent.completion_tokens} written, "
            f"cost {run.spent.cost:.4g}{before}",
            markup=False,
        )
    if run.counts.get("invalid"):
        console.print(
            f"{run.counts['invalid']} of {run.counts['records']} judgements are invalid, and decide nothing: "
            "each says why (invalid_reason)",
            markup=False,
        )
    states = [f"{run.counts[f'replies_{s}']} {s}" for s in ("cut", "refused", "failed") if _some(run, s)]
    if states:
        errors.print(
            f"warning: replies without use: {', '.join(states)}; their judgements are invalid", markup=False
        )
    if _some(run, "failed"):
        errors.print("failed requests, and only these, are asked again with --overwrite", markup=False)
    if run.untold:
        errors.print(
            f"warning: the server told no tokens of {run.untold} replies: counted is the most that each may have "
            "taken",
            markup=False,
        )
    if run.torn:
        errors.print(
            f"warning: the cache has {run.torn} cut line(s): these requests were asked again", markup=False
        )


def _some(run: JudgeRun, state: str) -> bool:
    return bool(run.counts.get(f"replies_{state}"))


def _list_settings(value: bool) -> None:
    if not value:
        return
    from data_builders.judges.config import HuggingFaceJudge, JudgeConfig, OpenAIJudge
    from data_builders.judges.registry import FOUND

    for prefix, settings in (("", JudgeConfig), ("judges.", OpenAIJudge), ("judges.", HuggingFaceJudge)):
        if prefix:
            console.print(f"{settings.__name__}: {(settings.__doc__ or '').strip()}", markup=False)
        for name, default, about in settings_table(settings):
            console.print(f"{prefix + name:28} {default:10} {about}", markup=False)
    console.print(f"protocol.name: {', '.join(FOUND.names())}; a wrong option names the known ones", markup=False)
    raise typer.Exit


@app.command("judge")
def judge(
    config: Annotated[Path, typer.Argument(help="a shipped recipe, or a YAML file with stage, vars and config")],
    set_: Annotated[list[str], typer.Option("--set", help="a setting, e.g. --set budget.max_cost=5")] = [],  # noqa: B006
    var: Annotated[list[str], typer.Option("--var", help="a variable of the recipe")] = [],  # noqa: B006
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="start anew; what is in the cache is not asked again")
    ] = False,
    shard: Annotated[str | None, typer.Option("--shard", help=SHARD_HELP)] = None,
    settings: Annotated[
        bool,
        typer.Option("--settings", callback=_list_settings, is_eager=True, help="list every setting, and stop"),
    ] = False,
) -> None:
    """LLM judges compare or grade answers: any OpenAI-compatible endpoint, or a local Hugging Face model.

    For example: vlmalign build judge my-judge.yaml --set budget.max_cost=5

    Answers are kept in the cache folder the moment they arrive; the same command continues a stopped run and asks
    nothing twice. Data whose manifest forbids it (data_use) are not sent.
    """
    recipe = open_recipe(config, parse_settings(var), stage="judge")
    merged = merge(recipe.config, parse_settings(set_))
    before = stamp(merged["out"]) if "out" in merged else None
    chosen = ({"overwrite": True} if overwrite else {}) | ({} if shard is None else {"shard": shard})
    run_recipe_stage("judge", merged | chosen, name=str(config))
    tell_outcome(merged["out"], before)
