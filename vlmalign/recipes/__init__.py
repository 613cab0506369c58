"""Recipes: YAML files that a user can list, copy, change and run; one per stage, and launch configurations."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

__all__ = ["launch_names", "read_launch", "read_recipe", "recipe_names"]


def recipe_names() -> list[str]:
    """Names of the recipes shipped with the package, sorted.

    Example:
        >>> "smear-dpo" in recipe_names()
        True
    """
    folder = resources.files("vlmalign.recipes")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def launch_names() -> list[str]:
    """Names of the launch configurations for `accelerate launch --config_file FILE`, sorted.

    Example:
        >>> launch_names()
        ['1gpu', 'fsdp2-2nodes', 'fsdp2-8gpu', 'zero3-8gpu']
    """
    folder = resources.files("vlmalign.recipes") / "launch"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_launch(name: str) -> str:
    """Text of a launch configuration; its first line says what it is for.

    Raises:
        FileNotFoundError: naming the configurations there are.
    """
    if name not in launch_names():
        raise FileNotFoundError(
            f"no launch configuration is called {name!r}. There are: {', '.join(launch_names())}"
        )
    return (resources.files("vlmalign.recipes") / "launch" / f"{name}.yaml").read_text(encoding="utf-8")


def read_recipe(name: str | Path) -> str:
    """Text of a shipped recipe, or of a YAML file of one's own.

    Raises:
        FileNotFoundError: naming the nearest recipe, or where they are listed.
        IsADirectoryError: a folder.
        ValueError: a file that is no text.
    """
    if str(name) in recipe_names():
        return (resources.files("vlmalign.recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    if Path(name).is_file():
        try:
            return Path(name).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}: not a text file ({error}). Pass a recipe, a YAML file.") from None
    if Path(name).is_dir():
        raise IsADirectoryError(
            f"{name} is a folder, expected a recipe: a shipped one (vlmalign recipes list) or a YAML file of your "
            "own (vlmalign recipes copy NAME). Folders are named in it, or by --set, e.g. --set data=[FOLDER]."
        )
    near = difflib.get_close_matches(str(name), recipe_names(), n=1)
    remedy = f"Did you mean {near[0]!r}?" if near else "Check the path, or take one of `vlmalign recipes list`."
    raise FileNotFoundError(f"no recipe and no file is called {str(name)!r}. {remedy}")
