"""Files that a command writes beside what it prints: their options, a check before any work, and the writing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console

JsonFile = Annotated[Path | None, typer.Option("--json", help="write all figures here")]
JsonInsteadFile = Annotated[
    Path | None, typer.Option("--json", help="write the figures here instead of printing them")
]
ReportFile = Annotated[Path | None, typer.Option("--report", help="write a self-contained HTML page here")]
PlotFile = Annotated[Path | None, typer.Option("--plot", help="draw proxy and gold over KL: a .svg or .png file")]
PLOTS = (".svg", ".png")


def check_out(path: Path | None, option: str, inputs: Iterable[Path] = ()) -> None:
    """Refuse a file to write that cannot be one, before any work is done for it.

    Raises:
        ValueError: it is a folder, lies below a file or where nothing can be written, or is one of the inputs; a
            plot of no known format.

    Example:
        >>> check_out(Path("."), "--json")
        Traceback (most recent call last):
        ...
        ValueError: --json .: this is a folder. Name a file in it.
    """
    if path is None:
        return
    if option == "--plot" and path.suffix not in PLOTS:
        raise ValueError(f"--plot is {path}: name a file that ends on {' or '.join(PLOTS)}")
    if path.is_dir():
        raise ValueError(f"{option} {path}: this is a folder. Name a file in it.")
    for given in inputs:
        if path.resolve() == given.resolve() or given.resolve() in path.resolve().parents:
            raise ValueError(f"{option} {path}: this would change the input {given}. Choose another place.")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise ValueError(f"{option} {path}: {above} is a file, not a folder. Choose another place.")
    if not os.access(above, os.W_OK):
        raise ValueError(f"{option} {path}: nothing can be written to {above}. Choose another place.")


def check_outs(outs: Mapping[str, Path | None], inputs: Iterable[Path] = ()) -> None:
    """Refuse the files that a command is to write, by option, before any work is done for them.

    Raises:
        ValueError: see `check_out`; or two options name one file.

    Example:
        >>> check_outs({"--json": Path("x"), "--report": Path("x")})
        Traceback (most recent call last):
        ...
        ValueError: --json and --report are both x: give each a file of its own
    """
    given, taken = list(inputs), dict[Path, str]()
    for option, path in outs.items():
        check_out(path, option, given)
        if path is not None and (other := taken.setdefault(path.resolve(), option)) != option:
            raise ValueError(f"{other} and {option} are both {path}: give each a file of its own")


def write_figures(results: Mapping[str, Any], path: Path | None) -> None:
    """Write figures as a JSON file, sorted, if one is wanted; a figure that is no number is refused."""
    if path is None:
        return
    from vlmalign.records.writing import write_atomic

    text = json.dumps(results, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (text + "\n").encode())
    console.print(f"wrote {path}", markup=False)


def give_figures(results: Mapping[str, Any], path: Path | None) -> None:
    """Write figures as a JSON file, or print them as JSON where no file is wanted."""
    if path is None:
        console.print_json(json.dumps(results, indent=1, sort_keys=True, allow_nan=False))
    write_figures(results, path)


def write_plot(path: Path | None, draw: Callable[..., bytes], shown: Any) -> None:
    """Draw what is shown into a file, if one is wanted; its ending says in which format."""
    if path is None:
        return
    from vlmalign.records.writing import put

    put(path, draw(shown, image_format=path.suffix.removeprefix(".")))
    console.print(f"wrote {path}", markup=False)
