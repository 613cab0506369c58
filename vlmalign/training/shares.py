"""Equal shares of the data for every process, also where the examples do not divide.

Processes work in step, so all need the same number of batches. Accelerate evens them out by repeating examples,
which then count twice. Here the order is filled up with marked repeats: they are left out of a batch again, and a
batch of nothing else (a filler) counts nothing. So an optimiser step is the same mean over the same examples
whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from typing import Any

from torch.utils.data import Dataset, Sampler

FILLER = "filler"


class FilledOrder(Sampler[tuple[Any, bool]]):
    """An order in which the last examples are followed by repeats, up to a multiple.

    Args:
        order: of indices; has a length.
        multiple: examples that all processes take at a time.

    Example:
        >>> list(FilledOrder([3, 1, 2], multiple=2))
        [(3, True), (1, True), (2, True), (2, False)]
    """

    def __init__(self, order: Any, multiple: int) -> None:
        self.order = order
        self.multiple = multiple

    def __len__(self) -> int:
        return -(-len(self.order) // self.multiple) * self.multiple

    def __iter__(self) -> Iterator[tuple[Any, bool]]:
        index = None
        for index in self.order:
            yield index, True
        for _ in range(len(self) - len(self.order)):
            yield index, False


class MarkedItems(Dataset[tuple[Any, bool]]):
    """A dataset's items with the mark that `FilledOrder` gave them."""

    def __init__(self, dataset: Any) -> None:
        self.dataset: Sized = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: tuple[Any, bool]) -> tuple[Any, bool]:
        """Item, and whether it is no repeat."""
        return self.dataset[index[0]], index[1]  # type: ignore[index]


def collate_real(items: list[tuple[Any, bool]], collator: Callable[[list[Any]], Any]) -> dict[str, Any]:
    """A batch of the items that are no repeats; of one repeat where there are no others, with `filler` true.

    Example:
        >>> collate_real([("a", True), ("b", False)], lambda items: {"ids": items})
        {'ids': ['a'], 'filler': False}
        >>> collate_real([("b", False), ("b", False)], lambda items: {"ids": items})
        {'ids': ['b'], 'filler': True}
    """
    real = [item for item, is_real in items if is_real]
    return {**collator(real or [items[0][0]]), FILLER: not real}
