"""From a table's rows to questions: balanced yes and no, and answers that the cells give."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from data_builders.curriculum_config import (
    Attribute,
    CurriculumConfig,
    CurriculumPart,
    Number,
    TableQuestion,
    option_texts,
    render,
)
from data_builders.curriculum_table import Cell, Row
from vlmalign.records.hashing import derive_seed


@dataclass(frozen=True)
class Asked:
    """One question with its answer.

    Attributes:
        name: unique among those of an image and a part.
        question: as it is asked.
        answer: as it is answered.
        told: attribute, form, item and value, for the record's provenance.
    """

    name: str
    question: str
    answer: str
    told: dict[str, Any]


def balanced_items(
    rows: Iterable[tuple[str, Cell]], *, seed: int, attribute: str
) -> tuple[set[tuple[str, str]], int]:
    """Which items are asked of which images, so that each item is answered yes as often as no.

    Of the more frequent answer of an item as many are drawn as there are of the other. So a question's text alone
    says nothing of its answer, and an item is asked where it is absent as often as it is present: absent ones are
    drawn by their frequency, as RetinaVLM's curriculum draws them.

    Args:
        rows: id and cell of the images of one split.
        seed: of the draw.
        attribute: part of the draw.

    Returns:
        Pairs of image and item that are asked, and how many were left out.

    Example:
        >>> cells = [("a", Cell(("fluid",), ("drusen",))), ("b", Cell((), ("fluid", "drusen")))]
        >>> asked, left_out = balanced_items(cells, seed=0, attribute="findings")
        >>> sorted(asked), left_out
        ([('a', 'fluid'), ('b', 'fluid')], 2)
    """
    yes: dict[str, list[str]] = defaultdict(list)
    no: dict[str, list[str]] = defaultdict(list)
    for row, cell in rows:
        for item in cell.present:
            yes[item].append(row)
        for item in cell.absent:
            no[item].append(row)
    asked: set[tuple[str, str]] = set()
    left_out = 0
    for item in {**yes, **no}:
        n = min(len(yes[item]), len(no[item]))
        for side in (yes[item], no[item]):
            drawn = sorted(side, key=lambda row: derive_seed(seed, "balance", attribute, item, row))  # noqa: B023
            asked.update((row, item) for row in drawn[:n])
            left_out += len(side) - n
    return asked, left_out


class PartQuestions:
    """The questions of one part about every row.

    Args:
        config: the curriculum.
        part: with questions.
        rows: of the table.
    """

    def __init__(self, config: CurriculumConfig, part: CurriculumPart, rows: Sequence[Row]) -> None:
        self.config = config
        self.part = part
        self.left_out: Counter[str] = Counter()
        self._balanced: dict[str, set[tuple[str, str]]] = {}
        for name in {q.attribute: None for q in part.questions if q.form == "present"}:
            found: set[tuple[str, str]] = set()
            for split in dict.fromkeys(row.split for row in rows):
                cells = [(row.id, row.cells[name]) for row in rows if row.split == split and name in row.cells]
                asked, left_out = balanced_items(cells, seed=config.seed, attribute=f"{part.name}/{name}")
                found |= asked
                self.left_out[name] += left_out
            self._balanced[name] = found

    def of_row(self, row: Row) -> tuple[list[Asked], Counter[str]]:
        """Questions about one image, and what was counted: `missing:ATTRIBUTE`, `yes`, `no`, `FORM` questions."""
        counts: Counter[str] = Counter(images_seen=1)
        found: list[Asked] = []
        for name in {q.attribute: None for q in self.part.questions}:
            counts[f"missing:{name}"] += name not in row.cells
        for number, question in enumerate(self.part.questions):
            if question.attribute in row.cells:
                some = list(self._asked(row, question, number))
                counts[question.form] += len(some)
                counts.update(one.told["answer"] for one in some if one.told["answer"] in ("yes", "no"))
                found += some
        return found, +counts

    def _asked(self, row: Row, question: TableQuestion, number: int) -> Iterable[Asked]:
        attribute, cell = self.config.attributes[question.attribute], row.cells[question.attribute]
        options = option_texts(attribute)
        given: dict[str, Any] = {
            "name": attribute.name or question.attribute,
            "unit": getattr(attribute, "unit", ""),
            "options": ", ".join(options.values()),
        }
        if question.form == "present":
            for item in (*cell.present, *cell.absent):
                if (row.id, item) in self._balanced[question.attribute]:
                    role = "yes" if item in cell.present else "no"
                    values = {**given, "item": options[item]}
                    yield self._one(row, question, f"{number}-{item}", role, values, values, role)
            return
        role, values = "answer", dict(given)
        if question.form == "list":
            values["items"] = _join([options[item] for item in cell.present])
            role = "answer" if cell.present else "none"
            told: Any = list(cell.present)
        elif question.form == "number":
            told = values["number"] = _said(attribute, cell)
        else:
            told = cell.present[0]
            values["value"] = options[told]
        yield self._one(row, question, str(number), role, given, values, told)

    def _one(
        self,
        row: Row,
        question: TableQuestion,
        name: str,
        role: str,
        given: dict[str, Any],
        values: dict[str, Any],
        told: Any,
    ) -> Asked:
        where = f"part {self.part.name!r}, question about {question.attribute!r}"
        seed = (self.config.seed, self.part.name, row.id, name)
        texts = {
            key: render(_draw(question.wording(key), *seed, key), part, where)
            for key, part in (("ask", given), (role, values))
        }
        about: dict[str, Any] = {"attribute": question.attribute, "form": question.form, "answer": told}
        if question.form == "present":
            about["item"] = name.partition("-")[2]
        return Asked(name, texts["ask"], texts[role], about)


def _draw(texts: Sequence[str], *seed: Any) -> str:
    return texts[derive_seed(*seed) % len(texts)]


def _said(attribute: Attribute, cell: Cell) -> str:
    assert isinstance(attribute, Number) and cell.number is not None
    return f"{cell.number:.{attribute.decimals}f}"


def _join(items: Sequence[str]) -> str:
    """A list as it is said.

    Example:
        >>> _join(["drusen", "fluid", "atrophy"])
        'drusen, fluid and atrophy'
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
