"""Help texts as a terminal of any width shows them well: lines of a paragraph in a docstring are one line."""

from __future__ import annotations

import inspect
import re

import typer


def reflow(text: str) -> str:
    r"""The same text with one line for each paragraph; lines that are indented stay alone.

    Example:
        >>> reflow("Do it.\n\nFor example: vlmalign demo, or\nvlmalign demo --seed 1\n")
        'Do it.\n\nFor example: vlmalign demo, or vlmalign demo --seed 1'
    """
    return re.sub(r"(?<=\S)[ ]*\n(?=[^\s])", " ", text.strip())


def reflow_help(app: typer.Typer) -> None:
    """Give every command of an app, and of the apps in it, its docstring reflowed as help."""
    for command in app.registered_commands:
        command.help = reflow(command.help or inspect.getdoc(command.callback) or "")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            reflow_help(group.typer_instance)
