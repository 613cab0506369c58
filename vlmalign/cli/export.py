"""`vlmalign export`: a run's model as a folder that `from_pretrained` loads anywhere."""

from __future__ import annotations

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
    """Write a run's model and processor so that AutoModelForImageTextToText.from_pretrained loads them."""
    import os
    import shutil

    from vlmalign.models import load_vlm, save_vlm

    source, target = as_path(run), as_path(folder)
    source = source / "model" if (source / "model").is_dir() else source
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty. Delete it or name another folder.")
    vlm = load_vlm(source, merge=merge)
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_vlm(vlm, partial)
    if target.exists():
        target.rmdir()
    os.replace(partial, target)
    console.print(f"wrote {target}", markup=False)
