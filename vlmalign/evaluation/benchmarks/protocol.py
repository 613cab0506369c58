"""What a benchmark is: it reads prediction files into frozen items, and scores items into tables of estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmalign.evaluation.estimate import Estimate

if TYPE_CHECKING:
    from vlmalign.evaluation.benchmarks.prediction_files import PredictionFile

#: states of a prediction; only a scored one has a value, and only an adapter may add to these
SCORED, REFUSED, UNPARSED, MISSING, FAILED = "scored", "refused", "unparsed", "missing", "failed"
NO_MAJORITY, TIED = "no_majority", "tied"

OptionValue = str | int | float | bool


@dataclass(frozen=True)
class Item:
    """One item of a benchmark with its prediction; adapters add to it what they need to score.

    Attributes:
        id: unique within the benchmark.
        group: the cluster that intervals are over: a patient, an image, a prompt; the id where items are
            independent.
        subsets: the parts of the benchmark that the item belongs to, coarsest first.
        state: `scored`, or why there is no value: `refused`, `unparsed`, `missing`, ...

    Example:
        >>> Item("q1", "image-7", ("general",)).state
        'scored'
    """

    id: str
    group: Hashable
    subsets: tuple[str, ...] = ()
    state: str = SCORED


@dataclass(frozen=True)
class Table:
    """Figures by row and column. Every figure is an `Estimate`: n, clusters, excluded, and a 95 % interval.

    Attributes:
        name: key in the JSON file.
        title: heading on the terminal.
        rows: row -> column -> figure; None where a row has no such column.
        note: what the figures mean, or where they come from.
        share: figures are shares, shown in percent.
    """

    name: str
    title: str
    rows: Mapping[str, Mapping[str, Estimate | None]]
    note: str = ""
    share: bool = True

    @property
    def columns(self) -> list[str]:
        """All columns, in order of first appearance."""
        return list(dict.fromkeys(column for row in self.rows.values() for column in row))

    def to_dict(self) -> dict[str, Any]:
        """The form in which the JSON file holds it."""
        return {
            "title": self.title,
            "note": self.note,
            "share": self.share,
            "rows": {
                name: {column: None if found is None else found.to_dict() for column, found in row.items()}
                for name, row in self.rows.items()
            },
        }


@dataclass(frozen=True)
class BenchmarkResult:
    """All that a benchmark says of one set of predictions.

    Attributes:
        benchmark: its name.
        tables: the figures; names are unique.
        counts: items by state, zero counts left out.
        baselines: what needs no look at the image: always the first, the longer answer, a constant ...
        notes: conventions that were used, and what to know before the figures are compared with others.
        options: the options that were in force.
        files: what the predictions were read from.
    """

    benchmark: str
    tables: tuple[Table, ...]
    counts: Mapping[str, int]
    baselines: Table | None = None
    notes: tuple[str, ...] = ()
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    files: tuple[PredictionFile, ...] = ()

    def __post_init__(self) -> None:
        names = [table.name for table in self.tables]
        if len(set(names)) < len(names):
            raise ValueError(f"tables are named {', '.join(names)}: names must be unique")

    def table(self, name: str) -> Table:
        """The table of that name.

        Raises:
            KeyError: there is none.
        """
        return next((table for table in self.tables if table.name == name), None) or _no_table(name, self.tables)

    def to_dict(self) -> dict[str, Any]:
        """The form in which the JSON file holds it."""
        return {
            "benchmark": self.benchmark,
            "counts": dict(self.counts),
            "tables": {table.name: table.to_dict() for table in self.tables},
            "baselines": None if self.baselines is None else self.baselines.to_dict(),
            "notes": list(self.notes),
            "options": dict(self.options),
            "files": [file.to_dict() for file in self.files],
        }


def _no_table(name: str, tables: Iterable[Table]) -> Table:
    raise KeyError(f"no table {name!r}: there are {', '.join(table.name for table in tables)}")


@dataclass(frozen=True)
class Option:
    """An option of a benchmark, set by `--set name=value`; its type is that of its default.

    Attributes:
        default: the value that is used when none is given.
        help: one line.
        choices: the values that it may have; () = any.
    """

    default: OptionValue
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """A benchmark adapter. Reading and scoring are separate: items can be scored again under other options.

    An option goes to `read`, to `score` or to both: wherever a keyword has its name.

    Attributes:
        name: as on the command line.
        title: one line for `vlmalign evaluate list`.
        source: the paper.
        formats: prediction files that it reads -> how each is recognised.
        read: files (and options) -> items, in file order; raises `DataError` on damaged or foreign files.
        score: items (and options) -> the result.
        options: by name.

    Example:
        >>> from vlmalign.evaluation import cluster_estimate
        >>> def score(items):
        ...     rows = {"all": {"answered": cluster_estimate([1.0] * len(items), [i.group for i in items])}}
        ...     return BenchmarkResult("toy", (Table("answered", "Answered", rows),), count_states(items))
        >>> toy = Benchmark("toy", "Toy", "nobody", {"txt": "one id a line"},
        ...                 lambda files: [Item(str(f), str(f)) for f in files], score)
        >>> toy.score(toy.read([Path("a"), Path("b")])).counts
        {'scored': 2}
    """

    name: str
    title: str
    source: str
    formats: Mapping[str, str]
    read: Callable[..., Sequence[Any]]
    score: Callable[..., BenchmarkResult]
    options: Mapping[str, Option] = field(default_factory=dict)


def count_states(items: Iterable[Item]) -> dict[str, int]:
    """How many items are in each state, the commonest first.

    Example:
        >>> count_states([Item("a", "a"), Item("b", "b", state="refused"), Item("c", "c")])
        {'scored': 2, 'refused': 1}
    """
    return dict(Counter(item.state for item in items).most_common())


def unique_ids(items: Sequence[Item], files: Sequence[Path]) -> None:
    """Refuse two items of one id.

    Raises:
        DataError: an id is used twice.
    """
    from vlmalign.records import DataError

    twice = [name for name, n in Counter(item.id for item in items).items() if n > 1]
    if twice:
        raise DataError(
            f"{len(twice)} ids are used more than once",
            "Give one prediction of each item; what several items share is named in a column group.",
            file=", ".join(map(str, files)),
            record=twice[0],
        )
