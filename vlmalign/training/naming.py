"""Naming the records of a batch in the errors of what is computed with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

SHOWN = 8


@contextmanager
def naming_records(ids: Sequence[str]) -> Iterator[None]:
    """Put the records' ids before the message of a ValueError; prompt row 0 is the first of them.

    Args:
        ids: of the batch's records, in order.

    Example:
        >>> with naming_records(["a", "b"]):
        ...     raise ValueError("prompt row 1 has 3 image tokens")
        Traceback (most recent call last):
        ValueError: records ['a', 'b']: prompt row 1 has 3 image tokens
    """
    try:
        yield
    except ValueError as error:
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        raise ValueError(f"records {list(ids)[:SHOWN]}{more}: {error}") from error
