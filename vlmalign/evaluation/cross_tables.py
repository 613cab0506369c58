"""Counts of what was said against what is true, or against what another said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

NOT_SAID = "not said"


@dataclass(frozen=True)
class CrossTable:
    """A table of counts.

    Attributes:
        title: what it is of.
        rows: names of the rows, e.g. what is true.
        columns: names of the columns, e.g. what was said.
        counts: one row of counts for each.
        row_title: what the rows are.
        column_title: what the columns are.
        excluded: items that are in no cell.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    counts: Sequence[Sequence[int]]
    row_title: str
    column_title: str
    excluded: int = 0

    @property
    def n(self) -> int:
        """Items in the table."""
        return sum(map(sum, self.counts))

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        rows = [list(row) for row in self.counts]
        return {**vars(self), "rows": list(self.rows), "columns": list(self.columns), "counts": rows, "n": self.n}


def cross_table(
    pairs: Iterable[tuple[str | None, str | None]],
    *,
    title: str,
    row_title: str,
    column_title: str,
    order: Sequence[str] = (),
    missing: str | None = None,
) -> CrossTable:
    """Count pairs of categories.

    Args:
        pairs: row and column category of each item; None: not known.
        title: what the table is of.
        row_title: what the rows are.
        column_title: what the columns are.
        order: the categories in their order; others follow by name.
        missing: a column of this name holds the items whose column category is None, last; else they are excluded,
            as those without a row category always are.

    Example:
        >>> found = cross_table([("a", "a"), ("a", None), (None, "a")], title="t", row_title="true",
        ...                     column_title="said", missing=NOT_SAID)
        >>> found.columns, found.counts, found.excluded
        (['a', 'not said'], [[1, 1]], 1)
    """
    counts: Counter[tuple[str, str]] = Counter()
    excluded = 0
    for row, column in pairs:
        column = missing if column is None else column
        if row is None or column is None:
            excluded += 1
        else:
            counts[row, column] += 1
    rows = _ordered({row for row, _ in counts}, order)
    columns = _ordered({column for _, column in counts} - {missing}, order)
    if missing is not None and any(column == missing for _, column in counts):
        columns.append(missing)
    cells = [[counts[row, column] for column in columns] for row in rows]
    return CrossTable(title, rows, columns, cells, row_title, column_title, excluded)


def _ordered(found: set[str | None] | set[str], order: Sequence[str]) -> list[str]:
    names = {name for name in found if name is not None}
    return [name for name in order if name in names] + sorted(names - set(order))
