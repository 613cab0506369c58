"""`vlmalign recipes`: list, copy, run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmalign.cli.console import console
from vlmalign.cli.stages import load_recipe, merge, parse_settings, run_stage
from vlmalign.recipes import read_recipe, recipe_names

app = typer.Typer(no_args_is_help=True, help="Ready settings for every stage: list, copy, change, run.")


@app.command("list")
def list_recipes() -> None:
    """List the shipped recipes with what each does."""
    for name in recipe_names():
        recipe = load_recipe(read_recipe(name), name=name)
        console.print(f"[bold]{name:28}[/] {recipe.stage:18} {recipe.about}")


@app.command("copy")
def copy_recipe(
    name: str, to: Annotated[Path | None, typer.Argument(help="default: NAME.yaml here")] = None
) -> None:
    """Copy a recipe to a file of your own, to change and run."""
    target = to or Path(f"{name}.yaml")
    if target.is_dir():
        target = target / f"{name}.yaml"
    if target.exists():
        raise FileExistsError(f"{target} exists. Delete it or name another file.")
    target.write_text(read_recipe(name), encoding="utf-8")
    console.print(f"wrote {target}; run it with: vlmalign recipes run {target}")


@app.command("run")
def run_recipe(
    name: Annotated[str, typer.Argument(help="a shipped recipe, or a YAML file of your own")],
    var: Annotated[list[str], typer.Option(help="a variable, e.g. --var root=runs/mine")] = [],  # noqa: B006
    set_: Annotated[list[str], typer.Option("--set", help="a setting, e.g. --set learning_rate=1e-4")] = [],  # noqa: B006
) -> None:
    """Run one recipe. The same command again continues or does nothing."""
    recipe = load_recipe(read_recipe(name), parse_settings(var), name=name)
    run_stage(recipe.stage, merge(recipe.config, parse_settings(set_)))
