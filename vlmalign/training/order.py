"""The order of the data: a function of seed and epoch alone, so that a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch.utils.data import Sampler

from vlmalign.records.hashing import derive_seed


def permutation(n: int, *parts: object) -> list[int]:
    """A random order of 0..n-1 that depends on `parts` only.

    Example:
        >>> permutation(5, 0, "order", 0) == permutation(5, 0, "order", 0)
        True
    """
    generator = torch.Generator().manual_seed(derive_seed(*parts))
    return torch.randperm(n, generator=generator).tolist()


def endless_order(n: int, first: int, *parts: object) -> Iterator[int]:
    """An order of 0..n-1 that goes round without end, each round in a random order of its own.

    Args:
        n: how many there are.
        first: place to begin at.
        parts: what the order depends on.

    Example:
        >>> from itertools import islice
        >>> whole = list(islice(endless_order(4, 4, 0, "order"), 4))
        >>> sorted(whole), list(islice(endless_order(4, 6, 0, "order"), 2)) == whole[2:]
        ([0, 1, 2, 3], True)
    """
    number, offset = divmod(first, n)
    while True:
        yield from permutation(n, *parts, number)[offset:]
        number, offset = number + 1, 0


class EpochOrder(Sampler[int]):
    """Each epoch in its own random order."""

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; the trainer calls it before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        yield from permutation(self.n, self.seed, "order", self.epoch)


class PartOrder(Sampler[int]):
    """Parts one after the other, each for as many draws as it is given (a curriculum).

    Within a part all examples are drawn before one is drawn again, each round in a random order of its own. The
    whole is one epoch: a resumed run goes on at the same draw.

    Args:
        parts: indices of the examples of each part.
        draws: how many are drawn of each.
        seed: of the orders.

    Example:
        >>> list(PartOrder([[0], [1]], [2, 1], seed=0))
        [0, 0, 1]
    """

    def __init__(self, parts: Sequence[Sequence[int]], draws: Sequence[int], seed: int) -> None:
        self.parts = parts
        self.draws = draws
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        """There is one epoch alone."""

    def __len__(self) -> int:
        return sum(self.draws)

    def __iter__(self) -> Iterator[int]:
        for number, (part, n) in enumerate(zip(self.parts, self.draws, strict=True)):
            places = endless_order(len(part), 0, self.seed, "part", number)
            yield from (part[place] for place in islice(places, n))


class AnchoredOrder(Sampler[tuple[int, int]]):
    """Pairs of an example and an anchor example; anchors go round in random order without end.

    Every anchor is used before one is used again, over epochs too.
    """

    def __init__(self, n: int, anchors: int, seed: int) -> None:
        self.examples = EpochOrder(n, seed)
        self.anchors = anchors
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; the trainer calls it before each."""
        self.examples.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        drawn = self.examples.epoch * len(self.examples)
        yield from zip(self.examples, endless_order(self.anchors, drawn, self.seed, "anchors"), strict=False)
