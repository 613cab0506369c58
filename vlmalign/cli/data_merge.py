"""`vlmalign data merge`: several dataset folders of one kind, or the shards of one build, as one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.stages import stage


def merge(
    folders: Annotated[list[Path], typer.Argument(help="dataset folders of one kind, in the order to be kept")],
    out: Annotated[Path, typer.Option(help="folder to write; the same command again continues or does nothing")],
    shards: Annotated[
        bool,
        typer.Option("--shards", help="they are the parts of one build made with --shard i/n: all are needed"),
    ] = False,
    ids: Annotated[
        Literal["refuse", "prefix"],
        typer.Option(help="ids used in several folders: an error, or the folder's name goes before every id"),
    ] = "refuse",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a folder of other settings")] = False,
) -> None:
    """Merge dataset folders; the strictest data use holds, and notes stand beside each other.

    For example: vlmalign data merge pairs-a pairs-b --out pairs, or the shards of a SLURM array:
    vlmalign data merge findings-* --shards --out findings

    With --shards the folder has the same bytes as if the build had never been divided.
    """
    before = stamp(out)
    run_merge(folders, out, shards, ids, overwrite)
    tell_outcome(out, before)


@stage("merge")
def run_merge(
    folders: Sequence[Path],
    out: Path,
    shards: bool = False,
    ids: Literal["refuse", "prefix"] = "refuse",
    overwrite: bool = False,
) -> None:
    """Merge dataset folders of one kind, or the shards of one build."""
    from data_builders.merging import merge_folders, merge_shards

    if shards and ids != "refuse":
        raise ValueError("shards and ids 'prefix' are given: the ids of one build are unique, drop one of the two")
    if shards:
        merge_shards(folders, out, overwrite=overwrite)
    else:
        merge_folders(folders, out, ids=ids, overwrite=overwrite)
