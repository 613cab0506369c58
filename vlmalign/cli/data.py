"""`vlmalign data`: look after dataset folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vlmalign.cli import data_convert, data_filters, data_merge, source
from vlmalign.cli.console import console, errors
from vlmalign.cli.failures import nothing_left_behind

Folder = Annotated[Path, typer.Argument(help="a dataset folder: records.jsonl, manifest.json, images/")]

app = typer.Typer(
    no_args_is_help=True, help="Validate, describe, convert, filter, split and merge dataset folders."
)
app.command("filter")(data_filters.filter_)
app.command("uncertain")(data_filters.uncertain)
app.command("convert")(data_convert.convert)
app.command("merge")(data_merge.merge)
app.command("split")(source.split_command)


@app.command()
def validate(
    folder: Folder,
    images: Annotated[
        bool, typer.Option("--images", help="also open every image and mask: bytes, decoding, sizes, boxes")
    ] = False,
) -> None:
    """Check a dataset folder: schema, ids, counts, and that every file is there. Exit code 1 on problems.

    For example: vlmalign data validate runs/demo/seed-0/cases --images

    Every problem is one line on standard error: file:line, record, field, what is wrong, what to do.
    """
    from vlmalign.records import read_manifest
    from vlmalign.records.validation import validate_folder

    problems = validate_folder(folder, images=images)
    for problem in problems:
        errors.print(str(problem), style="red", markup=False)
    if problems:
        errors.print(f"{len(problems)} problem{'s'[: len(problems) > 1]} in {folder}", markup=False)
        raise typer.Exit(1)
    manifest = read_manifest(folder)
    counts = ", ".join(f"{name} {n}" for name, n in sorted(manifest.counts.items()))
    unopened = "" if images or not manifest.counts.get("images") else "; images are there, --images opens them"
    console.print(f"{folder}: sound ({manifest.kind}; {counts}){unopened}", markup=False)


@app.command()
def stats(folder: Folder) -> None:
    """Describe a dataset folder as JSON: records, groups, splits, lengths, what was left out.

    For example: vlmalign data stats runs/demo/seed-0/pairs
    """
    from vlmalign.records.validation import folder_stats

    console.print_json(json.dumps(folder_stats(folder)))


@app.command()
def leakage(
    train: Annotated[list[Path], typer.Option(help="a training folder; may be repeated")],
    test: Annotated[list[Path], typer.Option(help="an evaluation folder; may be repeated")],
    max_bits: Annotated[int, typer.Option(help="near-duplicate limit of the 64-bit picture hash")] = 2,
) -> None:
    """Refuse training folders that share a group or a near-duplicate image with evaluation folders.

    For example: vlmalign data leakage --train roles/labelled --train pairs --test roles/test
    """
    from vlmalign.records.leakage import check_no_leakage

    check_no_leakage(train, test, max_bits=max_bits)
    console.print("no shared group, no near-duplicate image")


@app.command("export-trl")
def export_trl(
    folder: Annotated[Path, typer.Argument(help="a folder of preference pairs")],
    out: Annotated[Path, typer.Argument(help="the file to write, e.g. pairs.parquet")],
) -> None:
    """Write preference pairs as one Parquet file that TRL's DPOTrainer reads as it is.

    For example: vlmalign data export-trl pairs pairs.parquet
    """
    from vlmalign.data.trl_parquet import export_trl_parquet

    if out.exists():
        raise FileExistsError(f"{out} is there already. Delete it or name another file.")
    with nothing_left_behind(out.with_name(out.name + ".partial")):
        export_trl_parquet(folder, out)
    console.print(f"wrote {out}", markup=False)
