"""`vlmalign experts`: models that look at images and write findings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vlmalign.cli.commands import SHARD_HELP
from vlmalign.cli.console import console
from vlmalign.cli.settings import make_settings
from vlmalign.cli.stages import in_shard, parse_settings, stage

app = typer.Typer(no_args_is_help=True, help="Experts: train, run, list.")


@app.command("train")
def train_command(
    cases: Annotated[Path, typer.Argument(help="cases whose findings carry masks or boxes")],
    out: Annotated[Path, typer.Argument(help="the expert's folder to write")],
    set_: Annotated[list[str], typer.Option("--set", help="a setting, e.g. --set epochs=20")] = [],  # noqa: B006
    overwrite: Annotated[bool, typer.Option("--overwrite", help="discard an expert of other settings")] = False,
) -> None:
    """Train a segmentation expert on a folder of cases; one part of the groups is held out to test it.

    For example: vlmalign experts train roles/expert runs/expert --set epochs=20 --set size=96

    A stopped training continues with the same command. Next: vlmalign experts run OUT CASES FINDINGS.
    """
    train(cases, out, parse_settings(set_), overwrite)
    console.print(f"wrote {out}", markup=False)


@stage("expert-train")
def train(cases: Path, out: Path, config: dict[str, Any] | None = None, overwrite: bool = False) -> None:
    """Train a segmentation expert."""
    from experts import ExpertConfig, train_expert

    settings = make_settings(ExpertConfig, config or {}, where="expert settings")
    train_expert(cases, out, config=settings, overwrite=overwrite)


@app.command("run")
def run_command(
    expert: Annotated[Path, typer.Argument(help="what `vlmalign experts train` wrote")],
    cases: Annotated[Path, typer.Argument(help="folder of cases; what is known of them is not looked at")],
    out: Annotated[Path, typer.Argument(help="folder of findings to write")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a folder of other settings")] = False,
    batch_size: Annotated[int, typer.Option(help="cases per batch, and per step of a continued run")] = 64,
    shard: Annotated[str | None, typer.Option(help=SHARD_HELP)] = None,
    backend: Annotated[
        Literal["serial", "ray"], typer.Option(help="ray: on the cluster of RAY_ADDRESS, or this machine's CPUs")
    ] = "serial",
    workers: Annotated[int | None, typer.Option(help="processes of ray; default: one for each CPU")] = None,
) -> None:
    """Let an expert look at every image of a folder and write findings with their uncertainty.

    For example: vlmalign experts run runs/expert cases findings

    A killed run continues with the same command. Next: vlmalign build expert-pairs --findings OUT.
    """
    with in_shard("expert-run", shard):
        run(expert, cases, out, overwrite, batch_size, backend, workers)
    console.print(f"wrote {out}", markup=False)


@stage("expert-run", shards=True)
def run(
    expert: Path,
    cases: Path,
    out: Path,
    overwrite: bool = False,
    batch_size: int = 64,
    backend: Literal["serial", "ray"] = "serial",
    workers: int | None = None,
) -> None:
    """Let an expert look at every image of a folder and write findings with their uncertainty."""
    from experts import run_expert

    run_expert(expert, cases, out, overwrite=overwrite, batch_size=batch_size, backend=backend, workers=workers)


@app.command("list")
def list_(
    folder: Annotated[Path | None, typer.Argument(help="also look for trained experts below this")] = None,
) -> None:
    """List expert architectures and trained experts with what they can assess and how well.

    For example: vlmalign experts list runs
    """
    from experts import list_experts

    for listing in [*list_experts(), *(list_experts(folder) if folder else [])]:
        console.print(f"[bold]{listing.name:28}[/] {listing.folder or listing.origin}")
        if listing.problem:
            console.print(f"    cannot be used: {listing.problem}", markup=False)
        if listing.card is None:
            continue
        console.print(f"    assesses {', '.join(listing.card.concepts)}", markup=False)
        for metric in listing.card.performance:
            known = metric.low is not None and metric.high is not None
            interval = f"{metric.low:.3f} to {metric.high:.3f}" if known else "no interval"
            figure = f"{metric.value:.3f} ({interval})"
            n = f"{metric.images} images of {metric.groups} groups"
            console.print(f"    {metric.name} of {metric.structure}: {figure}, {n}", markup=False)
