"""`vlmalign cache`: what a folder of image features holds, and emptying it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vlmalign.cli.console import console
from vlmalign.records.sized_folder import SizedFolder

app = typer.Typer(no_args_is_help=True, help="Folders of image features (feature_cache of sft, reward, dpo).")
Folder = Annotated[Path, typer.Argument(help="the feature_cache of a training configuration")]


@app.command()
def stats(folder: Folder) -> None:
    """Show how many images of which model lie there, and their size.

    For example: vlmalign cache stats runs/features
    """
    found = _open(folder).stats()
    table = Table("vision side", "images", "MiB")
    for name, (files, size) in sorted(found.by_group.items()):
        table.add_row(name, str(files), f"{size / 2**20:.1f}")
    table.add_section()
    table.add_row("all", str(found.files), f"{found.bytes / 2**20:.1f}")
    console.print(table)


@app.command()
def clear(folder: Folder) -> None:
    """Delete the features there; other files are left alone.

    For example: vlmalign cache clear runs/features
    """
    found = _open(folder).clear()
    console.print(f"deleted {found.files} images, {found.bytes / 2**20:.1f} MiB", markup=False)


def _open(folder: Path) -> SizedFolder:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder. Give the feature_cache of a training configuration.")
    return SizedFolder(folder, max_bytes=2**62)
