"""`vlmalign build curriculum`: annotations as questions of growing difficulty, part after part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.build import app
from vlmalign.cli.commands import SHARD_HELP
from vlmalign.cli.console import console
from vlmalign.cli.outcome import told
from vlmalign.cli.settings import make_settings
from vlmalign.cli.stages import merge, open_recipe, parse_settings, run_recipe_stage, stage


@app.command("curriculum")
def curriculum(
    config: Annotated[Path, typer.Argument(help="a shipped recipe, or a YAML file with stage, vars and config")],
    set_: Annotated[list[str], typer.Option("--set", help="a setting, e.g. --set seed=1")] = [],  # noqa: B006
    var: Annotated[list[str], typer.Option("--var", help="a variable, e.g. --var root=runs/mine")] = [],  # noqa: B006
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace parts built with other settings")
    ] = False,
    shard: Annotated[str | None, typer.Option("--shard", help=SHARD_HELP)] = None,
) -> None:
    """Questions and answers from a table of annotations or a clinical logic, in named parts to be learnt in order.

    For example: vlmalign build curriculum smear-curriculum --var root=runs/mine

    Writes part-1-NAME, part-2-NAME ... and curriculum.json. Train on them in this order with part_steps of
    `vlmalign sft`. Of shards merge each part alone (vlmalign data merge s0/part-1-X s1/part-1-X --shards --out
    OUT/part-1-X), then run the same command without --shard: it adds curriculum.json.
    """
    recipe = open_recipe(config, parse_settings(var), stage="curriculum")
    merged = merge(recipe.config, parse_settings(set_))
    chosen = ({"overwrite": True} if overwrite else {}) | ({} if shard is None else {"shard": shard})
    run_recipe_stage("curriculum", merged | chosen, name=str(config))
    _tell(Path(merged["out"]))


@stage("curriculum", shards=True)
def run_curriculum(out: Path, overwrite: bool = False, **config: Any) -> None:
    """Write the parts of a curriculum."""
    from data_builders.curriculum import build_curriculum
    from data_builders.curriculum_config import CurriculumConfig

    settings = make_settings(CurriculumConfig, config, where="stage 'curriculum'")
    build_curriculum(settings, out, overwrite=overwrite)


def _tell(out: Path) -> None:
    from data_builders.curriculum import read_curriculum
    from vlmalign.records import read_manifest

    for part in read_curriculum(out).parts:
        counts = read_manifest(out / part.folder).counts
        console.print(f"{out / part.folder}: {told(counts)}", markup=False)
