"""Near-duplicate pictures among many: found by bands of their hashes, without comparing all pairs."""

from __future__ import annotations

BITS = 64


class NearPictures:
    """64-bit difference hashes, asked for one that differs in at most `max_bits` bits.

    The bits are cut in `max_bits + 1` bands: of two hashes that differ in at most `max_bits` bits at least one
    band is the same (pigeonhole principle), so only hashes that share a band are compared.

    Args:
        max_bits: how many bits may differ; 0 to 31.

    Raises:
        ValueError: another number.

    Example:
        >>> near = NearPictures(2)
        >>> near.add(0b1011, "a")
        >>> near.find(0b1000), near.find(0b0100)
        ('a', None)
    """

    def __init__(self, max_bits: int) -> None:
        if not 0 <= max_bits < BITS // 2:
            raise ValueError(
                f"max_bits is {max_bits}: 0 to {BITS // 2 - 1} is required; unrelated pictures differ in 32"
            )
        self.max_bits = max_bits
        edges = [BITS * number // (max_bits + 1) for number in range(max_bits + 2)]
        self._bands = [(low, (1 << (high - low)) - 1) for low, high in zip(edges, edges[1:], strict=False)]
        self._tables: list[dict[int, list[int]]] = [{} for _ in self._bands]
        self._names: dict[int, str] = {}

    def add(self, difference_hash: int, name: str) -> None:
        """Remember a picture; of equal hashes the first name is kept."""
        if difference_hash in self._names:
            return
        self._names[difference_hash] = name
        for (low, mask), table in zip(self._bands, self._tables, strict=True):
            table.setdefault(difference_hash >> low & mask, []).append(difference_hash)

    def find(self, difference_hash: int) -> str | None:
        """The name of a near picture, the first added of the nearest; None if there is none."""
        if difference_hash in self._names:
            return self._names[difference_hash]
        best, found = self.max_bits + 1, None
        for (low, mask), table in zip(self._bands, self._tables, strict=True):
            for other in table.get(difference_hash >> low & mask, ()):
                if (bits := (other ^ difference_hash).bit_count()) < best:
                    best, found = bits, other
        return None if found is None else self._names[found]
