"""Figures on the terminal: one line each, mean, interval, n; and as JSON in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmalign.cli.console import console


def figure(score: Mapping[str, Any] | None, *, share: bool = True, signed: bool = False) -> str:
    """A figure in one line.

    Example:
        >>> figure({"mean": 0.5, "low": 0.4, "high": 0.6, "n": 10, "n_groups": 5, "excluded": 2})
        '50.0 (40.0 to 60.0), n 10 · 5 groups · 2 excluded'
    """
    from vlmalign.evaluation.report_view import cell_of

    cell = cell_of(score, share=share, signed=signed)
    if cell is None:
        return "–"
    return f"{cell.value} ({cell.interval})" + (f", {cell.counts}" if cell.counts else "")


def show_rows(title: str, rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text under a title, their columns aligned."""
    lines = [list(row) for row in rows]
    console.print(f"\n{title}", markup=False, style="bold")
    columns = max((len(line) for line in lines), default=0)
    widths = [max((len(line[i]) for line in lines if i < len(line)), default=0) for i in range(columns)]
    for line in lines:
        cells = [text.ljust(width) for text, width in zip(line, widths, strict=False)]
        console.print(("  " + "  ".join(cells)).rstrip(), markup=False)


def write_figures(results: Mapping[str, Any], path: Path | None) -> None:
    """Write figures as a JSON file, sorted, if one is wanted; a figure that is no number is refused."""
    if path is None:
        return
    from vlmalign.records.writing import write_atomic

    text = json.dumps(results, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (text + "\n").encode())
    console.print(f"wrote {path}", markup=False)


def check_out(path: Path | None, option: str, inputs: Iterable[Path] = ()) -> None:
    """Refuse a file to write that cannot be one, before any work is done for it.

    Raises:
        ValueError: it is a folder, lies below a file or where nothing can be written, or is one of the inputs.

    Example:
        >>> check_out(Path("."), "--json")
        Traceback (most recent call last):
        ...
        ValueError: --json .: this is a folder. Name a file in it.
    """
    if path is None:
        return
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


def named_folders(given: Sequence[str], option: str) -> dict[str, Path]:
    """`["a=x", "y/b"]` -> `{"a": x, "b": y/b}`: folders by name, the folder's own where none is given.

    Raises:
        ValueError: a name is used twice, or is empty.

    Example:
        >>> named_folders(["scalar=judged/one", "judged/two"], "--judged")
        {'scalar': PosixPath('judged/one'), 'two': PosixPath('judged/two')}
    """
    folders: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals:
            name, folder = Path(text).name, text
        if not name or not folder:
            raise ValueError(f"{option} {text!r}: expected NAME=FOLDER or FOLDER")
        if name in folders:
            raise ValueError(f"{option}: the name {name!r} is given twice. Give each its own: NAME=FOLDER.")
        folders[name] = Path(folder)
    return folders
