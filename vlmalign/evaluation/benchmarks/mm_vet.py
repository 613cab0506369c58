"""MM-Vet: graded answers by capability, by exact set of capabilities, with the judge's own spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmalign.evaluation.benchmarks.answer_files import Answered, read_answered
from vlmalign.evaluation.benchmarks.marks import Figures, size_note, unread_note
from vlmalign.evaluation.benchmarks.protocol import SCORED, Benchmark, BenchmarkResult, Item, Table, count_states
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.records import DataError

UNGRADED = "ungraded"
QUESTIONS = 218


@dataclass(frozen=True, kw_only=True)
class GradedItem(Item):
    """A question with the judge's grades of one answer.

    Attributes:
        grades: of each run of the judge, in [0, 1]; None where it gave none.
        capabilities: rec, ocr, know, gen, spat, math.
    """

    grades: tuple[float | None, ...]
    capabilities: tuple[str, ...]

    @property
    def value(self) -> float | None:
        """Mean over the runs with a grade."""
        given = [grade for grade in self.grades if grade is not None]
        return statistics.fmean(given) if given else None


def read(files: Sequence[Path]) -> list[GradedItem]:
    """`mm-vet.json` beside a grade file of the benchmark's script, or a table with `category` and `score`.

    A grade whose `content` does not begin with a number in [0, 1] is none, whatever `score` says: after five tries
    the script writes 0 there.

    Raises:
        DataError: a grade is no number in [0, 1].
    """
    items = []
    for row in read_answered(
        files, truth=("capability", "capabilities", "category"), predictions=("score",), answers=()
    ):
        tags = row.need("capability", "capabilities", "category")
        names = tags.replace("+", ",").split(",") if isinstance(tags, str) else tags
        if not isinstance(names, list):
            raise DataError(f"its capabilities are {tags!r}, expected names", "Correct the row.",
                            file=row.file, record=row.id, field="capability")  # fmt: skip
        grades = _grades(row)
        state = SCORED if any(grade is not None for grade in grades) else UNGRADED
        group = row.get("imagename", "image", "image_id", "group")
        items.append(GradedItem(
            row.id, row.id if group is None else str(group), (), state, grades=grades,
            capabilities=tuple(sorted({str(name).strip() for name in names})),
        ))  # fmt: skip
    return items


def _grades(row: Answered) -> tuple[float | None, ...]:
    scores = row.prediction if isinstance(row.prediction, list) else [row.prediction]
    said = row.get("content")
    texts = said if isinstance(said, list) else [said] * len(scores)
    if len(texts) != len(scores):
        raise DataError(f"it has {len(scores)} grades and {len(texts)} texts of the judge", "Grade it again.",
                        file=row.file, record=row.id, field="content")  # fmt: skip
    return tuple(_grade(score, text, row) for score, text in zip(scores, texts, strict=True))


def _grade(score: object, text: object, row: Answered) -> float | None:
    if score is None or score == "" or (text is not None and _number(str(text).split(" ")[0]) is None):
        return None
    grade = _number(score)
    if grade is None:
        raise DataError(f"the grade is {score!r}, expected a number from 0 to 1", "Correct it.",
                        file=row.file, record=row.id, field="score")  # fmt: skip
    return grade


def _number(text: object) -> float | None:
    try:
        number = float(str(text).strip())
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


def score(items: Sequence[GradedItem]) -> BenchmarkResult:
    """Mean grades: overall, of the items with a capability, of the items with exactly a set of them."""
    names = sorted({name for item in items for name in item.capabilities})
    sets = sorted({item.capabilities for item in items}, key=lambda tags: (-_size(items, tags), tags))
    runs = max(len(item.grades) for item in items)
    overall = _figures(items) | {f"run_{k + 1}": _run(items, k) for k in range(runs)}
    notes = ["no baseline: grading a constant answer takes the judge; grade an empty answer and give it as a file"]
    if (spread := judge_run_std(items)) is not None:
        overall["judge_run_std"] = spread
        notes.append("judge_run_std: population standard deviation of the runs' totals; it holds the judge's "
                     "noise on frozen answers only, not that of the questions, which the intervals "
                     "hold")  # fmt: skip
    few = sum(len(item.grades) < runs for item in items)
    if few:
        notes.append(f"{few} of {len(items)} items have fewer than {runs} grades")
    having = {name: [item for item in items if name in item.capabilities] for name in names}
    exact = {"+".join(tags) or "none": [item for item in items if item.capabilities == tags] for tags in sets}
    note = "score: of the graded items; score_all: an ungraded item counts 0, as in the benchmark's script"
    return BenchmarkResult(
        "mm-vet",
        (
            Table("overall", "All items", {"all": overall}, note),
            Table("capabilities", "Items that need a capability (an item may need several)",
                  {name: _figures(chosen) for name, chosen in having.items()}, note),
            Table("integrations", "Items that need exactly these capabilities",
                  {name: _figures(chosen) for name, chosen in exact.items()}, note),
        ),
        count_states(items),
        None,
        tuple(filter(None, (*notes, size_note(len(items), QUESTIONS, "questions"), unread_note(items)))),
    )  # fmt: skip


def judge_run_std(items: Sequence[GradedItem]) -> Estimate | None:
    """Population standard deviation of the totals of the runs, None with one run; no interval is known for it.

    Example:
        >>> item = GradedItem("q", "q", grades=(0.4, 0.6), capabilities=("rec",))
        >>> round(judge_run_std([item]).mean, 3)
        0.1
    """
    runs = max(len(item.grades) for item in items)
    totals = [mean for k in range(runs) if (mean := _run(items, k).mean) is not None]
    if len(totals) < 2:
        return None
    return Estimate(statistics.pstdev(totals), None, None, len(totals), 1, runs - len(totals),
                    "population std of run totals: judge noise only")  # fmt: skip


def _run(items: Sequence[GradedItem], k: int) -> Estimate:
    grades = [item.grades[k] if k < len(item.grades) else None for item in items]
    return cluster_estimate(grades, [item.group for item in items], proportion=True)


def _figures(items: Sequence[GradedItem]) -> Figures:
    values, groups = [item.value for item in items], [item.group for item in items]
    return {
        "score": cluster_estimate(values, groups, proportion=True),
        "score_all": cluster_estimate([value or 0.0 for value in values], groups, proportion=True),
    }


def _size(items: Sequence[GradedItem], tags: tuple[str, ...]) -> int:
    return sum(item.capabilities == tags for item in items)


ADAPTERS = (
    Benchmark(
        "mm-vet",
        "MM-Vet: graded open answers by capability",
        "Yu et al., MM-Vet: Evaluating Large Multimodal Models for Integrated Capabilities, ICML 2024 "
        "(arXiv:2308.02490)",
        {".json": "mm-vet.json (capability) and a grade file (id -> score, content)",
         ".tsv, .csv, .jsonl": "index, category, score",
         "folder": "judgements of one answer to each case, in the place of the grade file"},
        read,
        score,
    ),
)  # fmt: skip
