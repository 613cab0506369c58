"""`vlmalign export`: a run's model as a folder that `from_pretrained` loads anywhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from vlmalign.cli.console import console
from vlmalign.cli.stages import as_path


def export(
    run: Annotated[Path, typer.Argument(help="a run folder (or its `model` folder)")],
    folder: Annotated[Path, typer.Argument(help="where to write the model")],
    merge: Annotated[bool, typer.Option("--merge", help="fold a LoRA adapter into the base weights")] = False,
) -> None:
    """Write a run's model and processor so that AutoModelForImageTextToText.from_pretrained loads them.

    A run with LoRA is written as its adapter, small and tied to the base model that it names, or with
    --merge as whole weights that stand alone.
    """
    source, target = as_path(run), as_path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{target} is there already. Delete it or name another folder.")
    if (source / "config.yaml").is_file() and not (source / "summary.json").is_file():
        raise FileNotFoundError(f"{source} is a run that is not complete. Run its command again to finish it.")
    adapter = source / "adapter"
    inside = adapter if adapter.is_dir() and not merge else source / "model"
    inside = inside if inside.is_dir() else source
    if not any(inside.glob("*.safetensors")):
        raise FileNotFoundError(f"{inside} holds no *.safetensors weights. Pass a run folder.")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(inside, partial)
    if target.exists():
        target.rmdir()
    os.replace(partial, target)
    console.print(f"wrote {target}", markup=False)
