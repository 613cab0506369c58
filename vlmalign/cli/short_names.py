"""What folders are called on a page: as little of their paths as tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def distinct_ends(folders: Sequence[str | Path]) -> tuple[str, ...]:
    """The last parts of each path, so many of all that no two are the same; whole paths where two are one path.

    Example:
        >>> distinct_ends(["runs/dpo/answers", "runs/sft/answers"]), distinct_ends(["/home/me/runs/dpo"])
        (('dpo/answers', 'sft/answers'), ('dpo',))
    """
    parts = [Path(folder).parts for folder in folders]
    for length in range(1, max(map(len, parts), default=0) + 1):
        ends = tuple(str(Path(*of[-length:])) for of in parts)
        if len(set(ends)) == len(ends):
            return ends
    return tuple(map(str, folders))
