"""`vlmalign source`: turn pictures and their annotations into a folder of cases, and divide it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.stages import parse_settings, stage

app = typer.Typer(no_args_is_help=True, help="Sources of images: list, build, split by group.")


@app.command("list")
def list_() -> None:
    """List the built-in sources and those that installed packages add (entry points vlmalign.sources)."""
    from data_builders.sources import get_source, list_sources

    for name in list_sources():
        about = (get_source(name).__doc__ or "").strip().splitlines()
        console.print(f"[bold]{name:12}[/] {about[0] if about else ''}")


@app.command("build")
def build(
    name: str,
    out: Annotated[Path, typer.Option(help="the folder of cases to write")],
    data: Annotated[Path | None, typer.Option(help="where the source's own files lie, if it reads any")] = None,
    set_: Annotated[
        list[str], typer.Option("--set", help="an option of the source, e.g. --set n_groups=100")
    ] = [],  # noqa: B006
    on_bad: Annotated[
        str | None, typer.Option(help="refuse | skip: what to do with annotations that break a rule")
    ] = None,
    overwrite: bool = False,
) -> None:
    """Build a source, e.g.: vlmalign source build bccd --data BCCD --out cases."""
    options = parse_settings(set_) | ({"on_bad": on_bad} if on_bad else {})
    source(name=name, out=out, data=data, overwrite=overwrite, options=options)
    console.print(f"wrote {out}", markup=False)


@stage("source")
def source(
    name: str,
    out: Path,
    data: Path | None = None,
    overwrite: bool = False,
    options: dict[str, Any] | None = None,
) -> None:
    """Build the source `name`; `options` are those of its function."""
    from data_builders.sources import get_source

    given = dict(options or {})
    if data is not None:
        given["data"] = data
    get_source(name)(out=out, overwrite=overwrite, **given)


@stage("split")
def split(
    cases: Path, out: Path, roles: dict[str, float], seed: int = 0, gap: int = 0, overwrite: bool = False
) -> None:
    """Divide the groups of a folder among roles; one folder of cases per role."""
    from data_builders.split import split_by_group

    split_by_group(cases, out, roles=roles, seed=seed, gap=gap, overwrite=overwrite)


@app.command("split")
def split_command(
    cases: Path,
    out: Path,
    role: Annotated[list[str], typer.Option(help="name=share, e.g. --role train=0.8 --role test=0.2")],
    seed: int = 0,
    gap: Annotated[int, typer.Option(help="drop photographs this near to another role's")] = 0,
    overwrite: bool = False,
) -> None:
    """Divide a folder of cases by group: patients, slides or blocks of photographs are never parted."""
    split(cases, out, {k: float(v) for k, v in parse_settings(role).items()}, seed, gap, overwrite)
    console.print(f"wrote {out}", markup=False)
