"""A set of names in little memory: 32 bytes a name, however long the names are."""

from __future__ import annotations

from array import array
from hashlib import blake2b

SMALLEST = 1 << 10


class IdSet:
    """Names that were added, told apart by 128 bits of BLAKE2b.

    A Python set keeps about 150 bytes for each name. This one keeps 16 bytes in a table of open addressing that
    is at most half full. Two of a thousand million names share their 128 bits with a probability of 1e-21.

    Example:
        >>> names = IdSet()
        >>> names.add("a"), names.add("b"), names.add("a")
        (True, True, False)
        >>> len(names), "b" in names, "c" in names
        (2, True, False)
    """

    def __init__(self) -> None:
        self._count = 0
        self._empty(SMALLEST)

    def add(self, name: str) -> bool:
        """Add a name; False when it is here already."""
        high, low = _key(name)
        place = self._place(high, low)
        if self._high[place] or self._low[place]:
            return False
        self._high[place], self._low[place] = high, low
        self._count += 1
        if 2 * self._count > self._mask:
            self._grow()
        return True

    def __contains__(self, name: str) -> bool:
        place = self._place(*_key(name))
        return bool(self._high[place] or self._low[place])

    def __len__(self) -> int:
        return self._count

    def _empty(self, size: int) -> None:
        self._mask = size - 1
        self._high, self._low = (array("Q", bytes(8 * size)) for _ in range(2))

    def _place(self, high: int, low: int) -> int:
        """Where a key stands, or the free place where it would."""
        highs, lows, mask = self._high, self._low, self._mask
        place = low & mask
        while highs[place] or lows[place]:
            if lows[place] == low and highs[place] == high:
                break
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        old = self._high, self._low
        self._empty(2 * (self._mask + 1))
        for high, low in zip(*old, strict=True):
            if high or low:
                place = self._place(high, low)
                self._high[place], self._low[place] = high, low


def _key(name: str) -> tuple[int, int]:
    """128 bits in two halves, never both zero, which marks a free place."""
    digest = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big") or 1
    return digest >> 64, digest & 0xFFFFFFFFFFFFFFFF
