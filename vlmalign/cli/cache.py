"""`vlmalign cache`: what folders of image features and of reference log-probabilities hold, and emptying them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from vlmalign.cli.console import console
from vlmalign.records.sized_folder import SizedFolder

app = typer.Typer(
    no_args_is_help=True,
    help="Folders of image features (feature_cache of sft, reward, dpo) and reference log-probabilities "
    "(reference_cache of dpo).",
)
Folder = Annotated[Path, typer.Argument(help="the feature_cache or reference_cache of a training configuration")]


@app.command()
def stats(folder: Folder) -> None:
    """Show how many images or reference answers of which model lie there, and their size.

    For example: vlmalign cache stats runs/features
    """
    images, answers = _images(folder).stats().by_group, _answers(folder)
    if images or not answers:
        _show("vision side", "images", images)
    if answers:
        _show("reference", "answers", answers)


@app.command()
def clear(folder: Folder) -> None:
    """Delete the features and log-probabilities there; other files are left alone.

    For example: vlmalign cache clear runs/features
    """
    from vlmalign.training.reference_cache import clear_references

    images, answers = _images(folder).stats(), _answers(folder)
    if answers:
        clear_references(folder)
        kept = sum(number for number, _ in answers.values())
        size = sum(size for _, size in answers.values())
        console.print(f"deleted {kept} reference answers, {size / 2**20:.1f} MiB", markup=False)
    if images.files or not answers:
        _images(folder).clear()
        console.print(f"deleted {images.files} images, {images.bytes / 2**20:.1f} MiB", markup=False)


def _show(model: str, what: str, groups: Mapping[str, tuple[int, int]]) -> None:
    table = Table(model, what, "MiB")
    for name, (number, size) in sorted(groups.items()):
        table.add_row(escape(name), str(number), f"{size / 2**20:.1f}")
    table.add_section()
    numbers, sizes = zip(*groups.values(), strict=True) if groups else ((), ())
    table.add_row("all", str(sum(numbers)), f"{sum(sizes) / 2**20:.1f}")
    console.print(table)


def _images(folder: Path) -> SizedFolder:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder. Give the feature_cache or reference_cache of a training configuration."
        )
    return SizedFolder(folder, max_bytes=2**62)


def _answers(folder: Path) -> dict[str, tuple[int, int]]:
    from vlmalign.training.reference_cache import reference_stats

    return reference_stats(folder)
