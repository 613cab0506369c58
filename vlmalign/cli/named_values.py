"""Values that are given by name on the command line: NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def named_values(
    given: Sequence[str], option: str, expected: str = "NAME=VALUE", *, empty: bool = False
) -> dict[str, str]:
    """`["a=1", "b=x=y"]` -> `{"a": "1", "b": "x=y"}`.

    Args:
        given: the texts.
        option: that they were given with, for errors.
        expected: the form that a text must have, for errors.
        empty: whether a value may be empty.

    Raises:
        ValueError: a text without a name or a value, or a name that is given twice.

    Example:
        >>> named_values(["tau=0.1", "slice=first:300"], "--set")
        {'tau': '0.1', 'slice': 'first:300'}
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and (value or empty)):
            raise ValueError(f"{option} {text!r}: expected {expected}")
        if name in found:
            raise ValueError(f"{option} {name} is given twice: give each name once")
        found[name] = value
    return found


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
