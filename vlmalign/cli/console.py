"""Where the command line writes: results to standard output, progress and errors to standard error."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

# Of the processes that train together, the first one speaks.
console = Console(soft_wrap=True, highlight=False, quiet=os.environ.get("RANK", "0") != "0")
errors = Console(stderr=True, soft_wrap=True, highlight=False)


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar and ETA on standard error; silent when that is no terminal."""
    if not errors.is_terminal:
        yield from items
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as progress:
        yield from progress.track(items, total=total, description=label)
