"""`vlmalign recipes`: list, copy, run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmalign.cli.console import console
from vlmalign.cli.failures import nothing_left_behind
from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.stages import merge, open_recipe, parse_settings, run_recipe_stage
from vlmalign.recipes import launch_names, read_launch, read_recipe, recipe_names

LAUNCH = "accelerate launch --config_file {} -m vlmalign.cli.main dpo CONFIG.yaml"

#: the demo's way from pictures to a tuned policy
IN_ORDER = [
    f"smear-{name}"
    for name in (
        "source", "split", "labels", "sft-data", "sft", "prompts", "candidates", "expert", "findings",
        "known-findings", "pairs", "dpo",
    )
]  # fmt: skip

app = typer.Typer(no_args_is_help=True, help="Ready settings for every stage: list, copy, change, run.")


@app.command("list")
def list_recipes() -> None:
    """List the shipped recipes with stage and purpose, and the configurations for several GPUs or machines.

    Next: vlmalign recipes run NAME, or vlmalign recipes copy NAME and change the file.
    """
    for name in recipe_names():
        recipe = open_recipe(name)
        console.print(f"[bold]{name:28}[/] {recipe.stage:18} {recipe.about}")
    console.print(f"\nthe way from pictures to DPO, each with the same --var root=DIR: {', '.join(IN_ORDER)}")
    console.print(f"\nlaunch configurations, once copied, for: {LAUNCH.format('FILE')}")
    for name in launch_names():
        console.print(f"[bold]{name:28}[/] {read_launch(name).splitlines()[0].lstrip('# ')}")


@app.command("copy")
def copy_recipe(
    name: Annotated[str, typer.Argument(help="a name of `vlmalign recipes list`")],
    to: Annotated[Path | None, typer.Argument(help="default: NAME.yaml here")] = None,
) -> None:
    """Copy a recipe or a launch configuration to a file of your own, to change and run.

    For example: vlmalign recipes copy smear-dpo my-dpo.yaml

    In it `vars` are what --var changes, ${name} stands for their values, and `config` holds the stage's settings,
    which --set changes.
    """
    launch = name in launch_names()
    target = to or Path(f"{name}.yaml")
    if target.is_dir():
        target = target / f"{name}.yaml"
    if target.exists():
        raise FileExistsError(f"{target} exists. Delete it or name another file.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent}: no such folder. Make it first, or name another file.")
    from vlmalign.records.writing import write_atomic

    text = read_launch(name) if launch else read_recipe(name)
    with nothing_left_behind(target.with_name(target.name + ".partial")):
        write_atomic(target, text.encode())
    command = LAUNCH.format(target) if launch else f"vlmalign recipes run {target}"
    console.print(f"wrote {target}; run it with: {command}", markup=False)


@app.command("run")
def run_recipe(
    name: Annotated[str, typer.Argument(help="a shipped recipe, or a YAML file of your own")],
    var: Annotated[list[str], typer.Option(help="a variable, e.g. --var root=runs/mine")] = [],  # noqa: B006
    set_: Annotated[list[str], typer.Option("--set", help="a setting, e.g. --set learning_rate=1e-4")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="where it is written: the same as --set out=DIR")] = None,
    source: Annotated[
        str | None, typer.Option(help="smear or bccd, of a recipe with the key source (demo, comparison)")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="folder of photographs; only with --source bccd")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace what an earlier run with other settings wrote there")
    ] = False,
) -> None:
    """Run one recipe. The same command again continues or does nothing.

    For example: vlmalign recipes run smear-source --var root=runs/mine --set options.n_groups=20, or the
    comparison of rewards (half an hour): vlmalign recipes run reward-comparison --out runs/rewards
    """
    recipe = open_recipe(name, parse_settings(var))
    given = {"out": out, "source": source, "data": data, "overwrite": True if overwrite else None}
    config = merge(recipe.config, parse_settings(set_)) | {k: v for k, v in given.items() if v is not None}
    before = stamp(str(config.get("out", "")))
    run_recipe_stage(recipe.stage, config, name=name)
    if "out" in config:
        tell_outcome(config["out"], before)
