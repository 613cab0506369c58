"""One build in n parts, each a process of its own (a SLURM array), that together are the same bytes as one run.

A build goes unit by unit in the order of its input. Shard i of n takes the units from N i / n to N (i + 1) / n of
N, whole units and their own batches, so that the records of shard 0, 1, ... one after the other are those of the
whole run. Its folder says in its config which shard it is; `vlmalign data merge --shards` puts the folders
together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

SHARD = "shard"  # key in the config of a shard's folder


class Shard(NamedTuple):
    """Part `number`, counted from 0, of `of` parts.

    Example:
        >>> [list(Shard(number, 3).part(7)) for number in range(3)]
        [[0, 1], [2, 3], [4, 5, 6]]
    """

    number: int
    of: int

    def part(self, units: int) -> range:
        """Which of so many units are this shard's."""
        return range(units * self.number // self.of, units * (self.number + 1) // self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parse_shard(text: str) -> Shard:
    """Read `i/n`, i from 0 to n - 1, as a SLURM array counts.

    Raises:
        ValueError: it says no such part.

    Example:
        >>> parse_shard("0/8")
        Shard(number=0, of=8)
        >>> parse_shard("8/8")
        Traceback (most recent call last):
        ...
        ValueError: shard is '8/8': i/n is required with i from 0 to n - 1, e.g. 0/8 to 7/8
    """
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise ValueError(f"shard is {text!r}: i/n is required with i from 0 to n - 1, e.g. 0/8 to 7/8")
    return Shard(int(number), int(of))


_ACTIVE: ContextVar[Shard | None] = ContextVar("shard", default=None)


@contextmanager
def building(shard: Shard | None) -> Iterator[None]:
    """Let the build that is made inside be this shard of it; None: all of it.

    The builders' signatures so need no word of shards. A build that goes not unit by unit refuses at its end.
    """
    token = _ACTIVE.set(shard)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def active_shard() -> Shard | None:
    """The shard that a build made now is."""
    return _ACTIVE.get()
