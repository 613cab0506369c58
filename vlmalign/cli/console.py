r"""Where the command line writes: results to standard output, progress and errors to standard error.

Answers of models, file names and readers' comments are shown as they are but for characters that command a
terminal: these appear as escapes (`\x1b`), whoever wrote them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment

T = TypeVar("T")
#: C0 without tab and line feed, DEL, C1, and what makes text run the other way
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class SafeConsole(Console):
    """A console on which no text can move the cursor, rename the window, write to the clipboard or hide a line."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The parts of what is printed; commands are let through only from rich itself."""
        for part in super().render(renderable, options):
            if part.control or not COMMANDS.search(part.text):
                yield part
            else:
                yield Segment(shown(part.text), part.style)


def shown(text: str) -> str:
    r"""A text with its terminal commands as escapes.

    Example:
        >>> shown("No effusion.\x1b[2K")
        'No effusion.\\x1b[2K'
    """
    return COMMANDS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


# Of the processes that train together, the first one speaks.
console = SafeConsole(soft_wrap=True, highlight=False, quiet=os.environ.get("RANK", "0") != "0")
errors = SafeConsole(stderr=True, soft_wrap=True, highlight=False)


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
