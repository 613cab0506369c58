"""A progress bar with the time left; silent when the output is not a terminal."""

from __future__ import annotations

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


@contextmanager
def progress_bar(title: str, total: float, done: int = 0) -> Iterator[Callable[[float, str], None]]:
    """Show a bar on stderr while the block runs; the block calls what it is given with (done, note).

    Example:
        >>> with progress_bar("Training", 2) as show:
        ...     show(1, "loss 0.5")
    """
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task(title, total=total, completed=done, note="")
        yield lambda completed, note: progress.update(task, completed=completed, note=note)
