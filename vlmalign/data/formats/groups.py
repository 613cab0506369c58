"""Groups of foreign rows: by a named column, else by picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vlmalign.data.formats.row import Spot
from vlmalign.records.hashing import pseudonym, sha256_bytes

LENGTH = 16


class PictureGroups:
    """Rows that share a picture, also over other rows, are one group.

    Only rows of several pictures are remembered (a union-find over their hashes): a row of one picture needs no
    memory.

    Example:
        >>> groups = PictureGroups()
        >>> groups.join(["a" * 64, "b" * 64]); groups.join(["b" * 64, "c" * 64])
        >>> groups.of(["a" * 64]) == groups.of(["c" * 64]) != groups.of(["d" * 64])
        True
    """

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def join(self, pictures: Iterable[str]) -> None:
        """Note that pictures, by their SHA-256, stand in one row."""
        roots = sorted({self._root(picture) for picture in pictures})
        for root in roots:
            self._parent[root] = roots[0]

    def of(self, pictures: Iterable[str]) -> str:
        """The group of a row; rows without a picture are asked for by text."""
        return min(self._root(picture) for picture in pictures)[:LENGTH]

    def _root(self, picture: str) -> str:
        root = picture
        while (up := self._parent.get(root, root)) != root:
            root = up
        while (up := self._parent.get(picture, root)) != root:
            self._parent[picture], picture = root, up
        return root


def text_group(texts: str) -> str:
    """The group of a row without picture: its prompt."""
    return sha256_bytes(texts.encode())[:LENGTH]


def column_group(row: Mapping[str, Any], column: str, key: bytes, spot: Spot) -> str:
    """Keyed pseudonym of the column's value; the value itself stays outside the dataset folder.

    Raises:
        DataError: the row has no such value.
    """
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise spot.error(column, f"got {value!r}; the group's column needs a text or a whole number in every row")
    return pseudonym(str(value), key)
