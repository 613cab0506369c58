"""`vlmalign data convert`: from the formats of other toolkits and into them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vlmalign.cli.console import console, errors
from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.stages import stage

OURS = "vlmalign"
NAMES = (
    "trl, llama-factory, ms-swift, llava, llava-rlhf, rlaif-v, rlhf-v, mm-rlhf, vl-rewardbench"  # --help is light
)
Bad = Literal["refuse", "skip"]
DataUse = Literal["local_only", "approved_endpoints", "open"]


def convert(
    source: Annotated[str, typer.Argument(metavar="FROM", help=f"{OURS}, or a format: {NAMES}")],
    target: Annotated[str, typer.Argument(metavar="TO", help="another of these")],
    path: Annotated[Path, typer.Argument(metavar="IN", help="a dataset folder, or a file or folder of rows")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="the folder to write")],
    images: Annotated[
        Path | None, typer.Option(help="where paths of images start; default: the folder of the rows")
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test", "unassigned"], typer.Option(help="of all records that are read")
    ] = "unassigned",
    group: Annotated[
        str | None, typer.Option(help="column of patients or studies; without it rows of one picture are a group")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="file with the secret of the groups' pseudonyms; keep it elsewhere")
    ] = None,
    drop: Annotated[list[str], typer.Option(help="a field that is not kept, e.g. names; may be repeated")] = [],  # noqa: B006
    on_bad: Annotated[
        Bad, typer.Option(help="rows or records that cannot be converted: an error, or listed")
    ] = "refuse",
    dataset: Annotated[str | None, typer.Option(help="llama-factory: the entry of dataset_info.json")] = None,
    data_use: Annotated[
        DataUse, typer.Option(help="where the data that is read may be sent; rows do not tell their licence")
    ] = "local_only",
    carry: Annotated[
        bool,
        typer.Option("--carry", help="put what the format cannot hold in a column `vlmalign`, to be read back"),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace a dataset folder of other settings")
    ] = False,
) -> None:
    """Convert rows of another toolkit into a dataset folder, or a dataset folder into such rows.

    For example: vlmalign data convert llava-rlhf vlmalign comparisons.json pairs --images coco
    or: vlmalign data convert vlmalign llama-factory pairs for-llama-factory

    Everything is checked before anything is written. Ties and videos are left out, counted and listed; so is what
    a format cannot hold.
    """
    reading = {
        "images": images, "split": split, "group": group, "key": key, "drop": list(drop), "on_bad": on_bad,
        "dataset": dataset, "data_use": data_use,
    }  # fmt: skip
    before = stamp(out) if target == OURS else None
    report = run_convert(source, target, path, out, reading, on_bad, carry, overwrite)
    if report is None:
        tell_outcome(out, before)
        return
    console.print(f"wrote {out}\n{report.records} rows", markup=False)
    for what, counts in (("lost", report.lost), ("left out", report.left_out)):
        if counts:
            told = ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))
            ending = "; the column `vlmalign` carries them" if report.carried and what == "lost" else ""
            errors.print(f"{what}: {told}{ending}", markup=False)


@stage("convert", continues=False)
def run_convert(
    source: str,
    target: str,
    path: Path,
    out: Path,
    reading: dict[str, Any] | None = None,
    on_bad: Bad = "refuse",
    carry: bool = False,
    overwrite: bool = False,
) -> Any:
    """Convert; between two foreign formats by way of our records. Returns the report of what was written."""
    from vlmalign.data.formats import export_rows, get_format, import_rows

    if source == target == OURS:
        raise ValueError("both formats are vlmalign: there is nothing to convert")
    forms = {name: get_format(name) for name in (source, target) if name != OURS}
    kinds = sorted({form.kind for form in forms.values()})
    if len(kinds) > 1:
        raise ValueError(
            f"{source} holds {forms[source].kind}s, {target} holds {forms[target].kind}s: choose another"
        )
    if target == OURS:
        import_rows(forms[source], path, out, options=_options(reading), overwrite=overwrite)
        return None
    if overwrite:
        raise ValueError("overwrite is for dataset folders: delete the folder of rows yourself")
    if source == OURS:
        return export_rows(forms[target], path, out, carry=carry, on_unfit=on_bad)
    if out.exists():
        raise FileExistsError(f"{out} is there already. Delete it or name another folder.")
    between = out.with_name(out.name + ".between")
    try:
        import_rows(forms[source], path, between, options=_options(reading), overwrite=True)
        return export_rows(forms[target], between, out, carry=carry, on_unfit=on_bad)
    finally:
        shutil.rmtree(between, ignore_errors=True)


def _options(reading: dict[str, Any] | None) -> Any:
    from vlmalign.data.formats import ImportOptions

    given = dict(reading or {})
    key = given.pop("key", None)
    if key is not None:
        secret = Path(key).read_bytes().strip()
        if len(secret) < 16:
            raise ValueError(f"{key} holds {len(secret)} bytes: a secret of at least 16 is required")
        given["key"] = secret
    given["drop"] = tuple(given.get("drop", ()))
    return ImportOptions(**given)
