"""Progress bars on standard error, where somebody watches. Imports no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def is_interactive() -> bool:
    """Whether somebody watches: a terminal or a notebook, unless VLMALIGN_QUIET is set."""
    return not is_quiet() and (sys.stderr.isatty() or "ipykernel" in sys.modules)


def is_quiet() -> bool:
    """Whether VLMALIGN_QUIET is set: someone else draws the progress, or nobody wants it."""
    return bool(os.environ.get("VLMALIGN_QUIET"))


@contextmanager
def progress_bar(title: str, total: float, done: float = 0) -> Iterator[Callable[[float, str], None]]:
    """Show a bar with the time left while the block runs; the block calls what it is given with (done, note).

    It is silent where standard error is no terminal, and where `is_quiet`.

    Example:
        >>> with progress_bar("Training", 2) as show:
        ...     show(1, "loss 0.5")
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    shown = sys.stderr.isatty() and not is_quiet()
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        task = progress.add_task(title, total=total, completed=done, note="")  # type: ignore[arg-type]
        yield lambda completed, note: progress.update(task, completed=completed, note=note)
