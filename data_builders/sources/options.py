"""Options that several sources share, checked before any work."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from vlmalign.records.manifest import DataUse


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Refuse a word that is not allowed.

    Raises:
        ValueError: naming the option, its value and what is allowed.

    Example:
        >>> one_of("split", "maybe", ("official", "none"))
        Traceback (most recent call last):
        ...
        ValueError: split is 'maybe': one of official, none is required
    """
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}: one of {', '.join(allowed)} is required")


def check_shared(
    *, split: str = "none", limit: int | None = None, on_bad: str = "refuse", data_use: str = "local_only"
) -> None:
    """Refuse words and numbers that no source knows.

    Raises:
        ValueError: see `one_of`; a limit below 1.
    """
    one_of("split", split, ("official", "none"))
    one_of("on_bad", on_bad, ("refuse", "skip"))
    one_of("data_use", data_use, get_args(DataUse))
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}: at least 1 is required")
