"""`vlmalign source`: turn pictures and their annotations into a folder of cases, and divide it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from vlmalign.cli.commands import SHARD_HELP
from vlmalign.cli.console import console, errors
from vlmalign.cli.failures import describe
from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.settings import call_with_settings
from vlmalign.cli.stages import in_shard, parse_settings, stage
from vlmalign.records.errors import ended

ROLE_NAMES = "train, expert, labelled, unlabelled, validation, test"  # --help does not import the builders

SAMPLES = {
    "n_groups": "20", "domain": "chest_xray", "table": "cases.csv", "image": "file", "annotations": "boxes.json",
    "concepts": "'{CLASS: CONCEPT}'", "layout": "chase_db1",
}  # fmt: skip
USEFUL = {"table": "--set group=patient --set findings.pneumonia=pneumonia --set text=report"}

app = typer.Typer(no_args_is_help=True, help="Sources of images: list, build, split by group.")


@app.command("list")
def list_() -> None:
    """List the built-in sources and those that installed packages add (entry points vlmalign.sources)."""
    from data_builders.sources import get_source, list_sources

    for name in list_sources():
        try:
            lines = (get_source(name).__doc__ or "").strip().splitlines()
            about = lines[0] if lines else ""
        except ValueError as error:  # one broken package must not hide the others
            about = f"broken: {error}"
        console.print(f"[bold]{escape(f'{name:12}')}[/] {escape(about)}")


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="a name of `vlmalign source list`")]) -> None:
    """Tell what a source reads and which settings it has, for --data and --set.

    For example: vlmalign source show mimic_cxr
    """
    from data_builders.sources import get_source, origin_of

    function = get_source(name)
    console.print(f"{name} ({origin_of(name)})\n", markup=False)
    console.print(inspect.getdoc(function) or "It is not documented.", markup=False)
    console.print(f"\nFor example: {_example(name, function)}", markup=False)
    console.print("\nSettings and defaults:", markup=False)
    for setting, parameter in inspect.signature(function).parameters.items():
        default = "required" if parameter.default is parameter.empty else repr(parameter.default)
        if setting not in ("out", "overwrite"):
            console.print(f"  {setting}: {default}", markup=False, highlight=False)


def _example(name: str, function: Callable[..., Any]) -> str:
    """The shortest command that is whole, with what a table needs to be of use."""
    parameters = inspect.signature(function).parameters
    words = ["vlmalign source build", name, "--data DIR" if "data" in parameters else "", "--out cases"]
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in ("data", "out"):
            words.append(f"--set {key}={SAMPLES.get(key, key.upper())}")
    return " ".join(filter(None, [*words, USEFUL.get(name, "")]))


@app.command("build")
def build(
    name: Annotated[str, typer.Argument(help="a name of `vlmalign source list`")],
    out: Annotated[Path, typer.Option(help="the folder of cases to write")],
    data: Annotated[Path | None, typer.Option(help="where the source's own files lie, if it reads any")] = None,
    set_: Annotated[
        list[str], typer.Option("--set", help="an option of the source, e.g. --set n_groups=100")
    ] = [],  # noqa: B006
    on_bad: Annotated[
        str | None, typer.Option(help="refuse | skip: what to do with annotations that break a rule")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a folder of other settings")] = False,
    shard: Annotated[str | None, typer.Option("--shard", help=SHARD_HELP)] = None,
) -> None:
    """Turn a source's pictures and annotations into a folder of cases.

    For example: vlmalign source build smear --out cases --set n_groups=20, or from real photographs:
    vlmalign source build bccd --data BCCD --on-bad skip --out cases

    A killed build continues with the same command. Settings: vlmalign source show NAME. Next: vlmalign source
    split.
    """
    options = parse_settings(set_) | ({"on_bad": on_bad} if on_bad else {})
    before = stamp(out)
    with in_shard("source", shard):
        source(name=name, out=out, data=data, overwrite=overwrite, options=options)
    tell_outcome(out, before)
    _tell_of_key(out)
    _warn_of_unknown_patients(name, out)


def _tell_of_key(out: Path) -> None:
    """Name the secret that lies beside the folder, where it does."""
    from data_builders.sources.patient_key import SUFFIX

    folder = out.resolve()
    key = folder.with_name(folder.name + SUFFIX)
    if key.is_file():
        told = "is the secret of the pseudonyms: keep it, and never give it away with the folder"
        console.print(f"{key.name}, beside it, {told}", markup=False)


def _warn_of_unknown_patients(name: str, out: Path) -> None:
    """Say that nothing keeps the pictures of one patient together, where that is so."""
    from data_builders.sources import get_source
    from vlmalign.records import Case, RecordFolder

    first = next(iter(RecordFolder(out, Case)), None)
    if first is None or first.group_kind != "image":
        return
    remedy = ""
    if "group" in inspect.signature(get_source(name)).parameters:
        remedy = f" If your data tell them, give --set group=... (vlmalign source show {name}) and --overwrite."
    errors.print(
        "warning: the patients are not known, so every picture is a group of its own: a split can put pictures of "
        f"one patient on both sides, and intervals are too narrow.{remedy}",
        markup=False,
    )


@stage("source", shards=True)
def source(
    name: str,
    out: Path,
    data: Path | None = None,
    overwrite: bool = False,
    options: dict[str, Any] | None = None,
) -> None:
    """Build the source `name`; `options` are those of its function."""
    from data_builders.sources import get_source, origin_of

    function = get_source(name)
    given = dict(options or {})
    if data is not None:
        given["data"] = data
    if "data" not in given and "data" in inspect.signature(function).parameters:
        raise ValueError(f"source {name!r} reads files of its own: give their folder with --data DIR")
    origin = origin_of(name)
    if origin != "built in":
        function = _failing_by_name(function, f"source {name!r} ({origin})")
    given = {"out": out, "overwrite": overwrite, **given}
    told = f" `vlmalign source show {name}` tells what they mean."
    call_with_settings(function, given, where=f"source {name!r}", remedy=told)


def _failing_by_name(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The same function, whose every failure is one sentence with its name: its author is not here to ask."""

    @functools.wraps(function)
    def run(*args: Any, **given: Any) -> Any:
        try:
            return function(*args, **given)
        except (Exception, SystemExit) as error:
            expected = None if isinstance(error, SystemExit) else describe(error)
            told = expected or f"{type(error).__name__}: {ended(str(error))} VLMALIGN_TRACEBACK=1 shows where."
            raise ValueError(f"{name} failed: {' '.join(told.split())}") from error

    return run


@stage("split")
def split(
    cases: Path,
    out: Path,
    roles: dict[str, float],
    seed: int = 0,
    gap: int = 0,
    stratify: str | None = None,
    overwrite: bool = False,
) -> None:
    """Divide the groups of a folder among roles; one folder of cases per role."""
    from data_builders.split import split_by_group

    split_by_group(cases, out, roles=roles, seed=seed, gap=gap, stratify=stratify, overwrite=overwrite)


@app.command("split")
def split_command(
    cases: Annotated[Path, typer.Argument(help="folder of cases")],
    out: Annotated[Path, typer.Argument(help="folder to write: one folder of cases per role inside")],
    role: Annotated[list[str], typer.Option(help=f"name=share; may be repeated; names: {ROLE_NAMES}")],
    seed: Annotated[int, typer.Option(help="of the division")] = 0,
    gap: Annotated[int, typer.Option(help="drop photographs this near to another role's")] = 0,
    stratify: Annotated[
        str | None,
        typer.Option(help="give each role its share of every value: attributes.sex, domain, finding.CONCEPT ..."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace folders of other settings")] = False,
) -> None:
    """Divide a folder of cases by group: patients, slides or blocks of photographs are never parted.

    For example: vlmalign source split cases roles --role expert=0.4 --role labelled=0.2 --role test=0.4

    What each role keeps of what is known: train all; labelled, validation and test texts and findings, no
    regions; expert measurements (findings with a unit) with their masks or boxes, nothing else; unlabelled
    nothing. A classifier of findings is trained on role train or labelled.

    With --stratify finding.pneumothorax each role gets its share of both. vlmalign source split and vlmalign data
    split are one command.
    """
    shares = parse_settings(role)
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            raise ValueError(f"--role {name}={share}: the share must be a number, e.g. --role {name}=0.8")
    before = {name: stamp(out / name) for name in shares}
    split(cases, out, {name: float(share) for name, share in shares.items()}, seed, gap, stratify, overwrite)
    for name in shares:
        tell_outcome(out / name, before[name])
