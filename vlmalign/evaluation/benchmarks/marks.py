"""Figures of items that are right, wrong or unread, by subset, and what answering without looking would earn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from vlmalign.evaluation.benchmarks.protocol import SCORED, Item, Table
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate

Figures = dict[str, Estimate | None]
#: what the columns of `accuracy_of` mean, for tables' notes
ACCURACY_NOTE = (
    "accuracy: of the answers that could be read; accuracy_all: of all items, an unread or missing answer being "
    "wrong; coverage: share that could be read"
)


@dataclass(frozen=True, kw_only=True)
class ClosedItem(Item):
    """A question with one right answer out of a few.

    Attributes:
        truth: the right answer.
        chosen: the answer that was read, None if none was.
        options: what could have been chosen.
    """

    truth: str
    chosen: str | None = None
    options: tuple[str, ...] = ()

    @property
    def hit(self) -> float | None:
        """1 for right, 0 for wrong, None for unread."""
        return None if self.chosen is None else float(self.chosen == self.truth)


def accuracy_of(hits: Sequence[float | None], groups: Sequence[Hashable]) -> Figures:
    """Accuracy of what was read, accuracy with the unread wrong, and coverage.

    Example:
        >>> found = accuracy_of([1.0, None, 0.0, 1.0], list("abcd"))
        >>> [round(found[name].mean, 3) for name in ("accuracy", "accuracy_all", "coverage")]
        [0.667, 0.5, 0.75]
    """
    return {
        "accuracy": cluster_estimate(hits, groups, proportion=True),
        "accuracy_all": cluster_estimate([hit or 0.0 for hit in hits], groups, proportion=True),
        "coverage": cluster_estimate([float(hit is not None) for hit in hits], groups, proportion=True),
    }


def by_subset(items: Sequence[ClosedItem]) -> dict[str, Figures]:
    """`accuracy_of` of all items and of each subset."""
    names = dict.fromkeys(name for item in items for name in item.subsets)
    rows = {"all": items, **{name: [item for item in items if name in item.subsets] for name in names}}
    return {
        name: accuracy_of([item.hit for item in chosen], [item.group for item in chosen])
        for name, chosen in rows.items()
    }


def constant_answers(items: Sequence[ClosedItem], extra: Mapping[str, str] | None = None) -> Table:
    """Accuracy of always the first option, always the last, and always the answer that is most often right.

    The commonest right answer is taken from the items themselves, so it is what no constant answer can beat.

    Args:
        items: the questions.
        extra: further constant answers, name -> answer.
    """
    often = Counter(item.truth for item in items).most_common(1)[0][0]
    groups = [item.group for item in items]
    constants: dict[str, list[str | None]] = {
        "first option": [item.options[0] if item.options else None for item in items],
        "last option": [item.options[-1] if item.options else None for item in items],
        f"most frequent ({often})": [often] * len(items),
    }
    for name, answer in (extra or {}).items():
        constants[name] = [answer] * len(items)
    rows: dict[str, Figures] = {}
    for name, answers in constants.items():
        if any(answer is None for answer in answers):
            continue
        hits = [float(answer == item.truth) for answer, item in zip(answers, items, strict=True)]
        rows[name] = {"accuracy": cluster_estimate(hits, groups, proportion=True)}
    return Table("baselines", "Answers without a look at the image", rows)


def size_note(n: int, published: int, what: str) -> str:
    """That files hold less than the published benchmark, whether cut off or a choice; "" if they do not.

    Example:
        >>> size_note(210, 218, "questions")
        'the published benchmark has 218 questions, these files 210'
    """
    return "" if n >= published else f"the published benchmark has {published:,} {what}, these files {n:,}"


def unread_note(items: Sequence[Item]) -> str:
    """How many items have no figure, and why; "" if all have one.

    Example:
        >>> unread_note([Item("a", "a"), Item("b", "b", state="refused")])
        '1 of 2 answers could not be scored (1 refused)'
    """
    counts = Counter(item.state for item in items if item.state != SCORED)
    told = ", ".join(f"{n} {state}" for state, n in counts.most_common())
    return f"{sum(counts.values())} of {len(items)} answers could not be scored ({told})" if counts else ""
