"""`vlmalign preview CONFIG`: what a training stage will see, before anything trains."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vlmalign.cli.console import console
from vlmalign.cli.stages import merge, open_recipe, parse_settings


def preview(
    config: Annotated[
        Path, typer.Argument(help="a shipped recipe of stage sft, reward, dpo or ppo, or your own file")
    ],
    out: Annotated[Path | None, typer.Option(help="write the model's view of the images here (PNG)")] = None,
    examples: Annotated[int, typer.Option(help="how many examples to show")] = 2,
    set_: Annotated[list[str], typer.Option("--set", help="a setting of the recipe")] = [],  # noqa: B006
    var: Annotated[list[str], typer.Option("--var", help="a variable of the recipe")] = [],  # noqa: B006
) -> None:
    """Show a decoded batch with its loss mask, the images as the model sees them, and a memory estimate.

    For example: vlmalign preview my-sft.yaml --out preview --examples 4

    Of a ppo recipe it shows answers of the starting model and what the reward says of them. Nothing is trained
    and no run folder is begun. Next: vlmalign sft (or reward, dpo, ppo) with the same file.
    """
    from vlmalign.cli.preview_online import show_rollouts
    from vlmalign.cli.preview_view import show_preview

    if examples < 1:
        raise ValueError(f"--examples is {examples}: at least 1 is required")
    recipe = open_recipe(config, parse_settings(var))
    settings = merge(recipe.config, parse_settings(set_))
    show = show_rollouts if recipe.stage == "ppo" else partial(show_preview, recipe.stage)
    show(settings, console, examples, out, where=str(config))
