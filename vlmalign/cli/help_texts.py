"""Help texts as a terminal of any width shows them well, and what a command that lacks an argument says of it."""

from __future__ import annotations

import inspect
import re
from typing import Any

import typer
from typer.core import TyperCommand


class TeachingCommand(TyperCommand):
    """A command that answers a missing argument with the example of its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What is given, by parameter; the library's error of what is missing ends with the example."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            example = re.search(r"^For example: .+", self.help or "", re.MULTILINE)
            if type(error).__name__ == "MissingParameter" and example:  # a class of click's or of typer's own copy
                error.message = example[0]  # type: ignore[attr-defined]
            raise


def reflow(text: str) -> str:
    r"""The same text with one line for each paragraph; lines that are indented stay alone.

    Example:
        >>> reflow("Do it.\n\nFor example: vlmalign demo, or\nvlmalign demo --seed 1\n")
        'Do it.\n\nFor example: vlmalign demo, or vlmalign demo --seed 1'
    """
    return re.sub(r"(?<=\S)[ ]*\n(?=[^\s])", " ", text.strip())


def reflow_help(app: typer.Typer) -> None:
    """Give every command of an app, and of the apps in it, its docstring reflowed as help, and let it teach."""
    for command in app.registered_commands:
        command.help = reflow(command.help or inspect.getdoc(command.callback) or "")
        command.cls = TeachingCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            reflow_help(group.typer_instance)
