"""The `vlmalign` command. Modules are imported inside the verbs, so that --help answers at once."""

from __future__ import annotations

import os
import sys
import warnings

import typer

from vlmalign import __version__
from vlmalign.cli import (  # noqa: F401  - they add to `vlmalign build`
    best_of_n,
    build_consultations,
    build_curriculum,
    build_judge,
    build_judged,
    build_symbolic,
    cache,
    calibrate,
    chat,
    compare,
    consult,
    data,
    demo,
    elicit,
    evaluate,
    experts,
    export,
    generate,
    models,
    preview,
    reader_study,
    recipes,
    risk,
    score,
    source,
    train,
)
from vlmalign.cli import build as build_verbs
from vlmalign.cli.console import console, errors
from vlmalign.cli.failures import describe
from vlmalign.cli.help_texts import reflow_help

STOPPED = 130  # exit code after Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Make vision-language models say true things about images, without paid human feedback. "
    "Research use only; not for clinical decisions.",
    epilog="Start with [bold]vlmalign demo[/]; its stages are recipes: [bold]vlmalign recipes list[/].",
)


def _print_version(value: bool) -> None:
    if value:
        console.print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="print it"),
) -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not errors.is_terminal:  # the bars of other packages: nobody watches, and logs fill up
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|torch|accelerate)\b")


app.command("demo")(demo.demo)
app.add_typer(data.app, name="data")
app.add_typer(source.app, name="source")
app.add_typer(experts.app, name="experts")
app.add_typer(build_verbs.app, name="build")
app.command("generate")(generate.command)
app.command("consult")(consult.command)
app.command("chat")(chat.command)
app.command("sft")(train.sft)
app.command("reward")(train.reward)
app.command("critique")(train.critique)
app.command("mixture")(train.mixture)
app.command("dpo")(train.dpo)
app.command("ppo")(train.ppo)
app.command("score")(score.score)
app.command("best-of-n")(best_of_n.command)
app.command("calibrate")(calibrate.calibrate)
app.command("elicit")(elicit.elicit)
app.command("risk")(risk.risk)
app.add_typer(evaluate.app, name="evaluate")
app.command("compare")(compare.compare)
app.add_typer(reader_study.app, name="reader-study")
app.add_typer(recipes.app, name="recipes")
app.add_typer(cache.app, name="cache")
app.command("models")(models.models)
app.command("preview")(preview.preview)
app.command("export")(export.export)
reflow_help(app)


def main() -> None:
    """Run the command line; expected errors are one plain message and exit code 2."""
    try:
        app()
    except Exception as error:
        message = describe(error)
        if message is None or os.environ.get("VLMALIGN_TRACEBACK"):
            raise
        errors.print("[red]error:[/] ", end="")
        errors.print(message, markup=False)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == STOPPED:
            errors.print("stopped; the same command continues from here")
        raise


if __name__ == "__main__":
    main()
