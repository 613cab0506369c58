"""`vlmalign experts`: models that look at images and write findings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.stages import parse_settings, stage

app = typer.Typer(no_args_is_help=True, help="Experts: train, run, list.")


@app.command("train")
def train_command(
    cases: Annotated[Path, typer.Argument(help="cases whose findings carry masks or boxes")],
    out: Path,
    set_: Annotated[list[str], typer.Option("--set", help="a setting, e.g. --set epochs=20")] = [],  # noqa: B006
    overwrite: bool = False,
) -> None:
    """Train a segmentation expert on a folder of cases; one part of the groups is held out to test it."""
    train(cases, out, parse_settings(set_), overwrite)
    console.print(f"wrote {out}", markup=False)


@stage("expert-train")
def train(cases: Path, out: Path, config: dict[str, Any] | None = None, overwrite: bool = False) -> None:
    """Train a segmentation expert."""
    from experts import ExpertConfig, train_expert

    train_expert(cases, out, config=ExpertConfig(**(config or {})), overwrite=overwrite)


@app.command("run")
@stage("expert-run")
def run(expert: Path, cases: Path, out: Path, overwrite: bool = False, batch_size: int = 64) -> None:
    """Let an expert look at every image of a folder and write findings with their uncertainty."""
    from experts import run_expert

    run_expert(expert, cases, out, overwrite=overwrite, batch_size=batch_size)


@app.command("list")
def list_(
    folder: Annotated[Path | None, typer.Argument(help="also look for trained experts below this")] = None,
) -> None:
    """List expert architectures and trained experts with what they can assess and how well."""
    from experts import list_experts

    for line in list_experts(folder):
        console.print(str(line), markup=False)
