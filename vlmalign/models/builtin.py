"""Checkpoints that come with the package, by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

PREFIX = "builtin:"


def builtin_checkpoints() -> list[str]:
    """Names of the checkpoints that come with the package."""
    folder = resources.files("vlmalign.models") / "checkpoints"
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def resolve_checkpoint(path: str | Path) -> str | Path:
    """The folder of `builtin:NAME`; any other path or hub id as it is.

    Raises:
        FileNotFoundError: no such checkpoint, naming those there are.

    Example:
        >>> resolve_checkpoint("runs/sft/model")
        'runs/sft/model'
    """
    if not str(path).startswith(PREFIX):
        return path
    name = str(path).removeprefix(PREFIX)
    if name not in builtin_checkpoints():
        known = ", ".join(builtin_checkpoints()) or "none"
        raise FileNotFoundError(f"no built-in checkpoint is called {name!r}. There are: {known}.")
    return Path(str(resources.files("vlmalign.models") / "checkpoints" / name))
