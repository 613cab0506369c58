"""HallusionBench: yes or no to figures, some of them altered or absent; by answer, question and figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlmalign.evaluation.benchmarks.answer_files import Answered, read_answered
from vlmalign.evaluation.benchmarks.marks import (
    ACCURACY_NOTE,
    ClosedItem,
    Figures,
    accuracy_of,
    constant_answers,
    unread_note,
)
from vlmalign.evaluation.benchmarks.protocol import (
    SCORED,
    UNPARSED,
    Benchmark,
    BenchmarkResult,
    Option,
    Table,
    count_states,
)
from vlmalign.evaluation.benchmarks.unread import why_unread
from vlmalign.evaluation.benchmarks.yes_no import read_yes_no
from vlmalign.records import DataError

KEY = ("category", "subcategory", "set_id", "figure_id", "question_id")
ANSWERS = {"0": "no", "1": "yes", "no": "no", "yes": "yes"}
#: a judge's verdicts in the published logs; 2 is "unclear"
VERDICTS = {"0": 0.0, "1": 1.0, "2": None}


@dataclass(frozen=True, kw_only=True)
class FigureItem(ClosedItem):
    """One question to one figure.

    Attributes:
        question: all figures of one question.
        figure: all questions to one figure; None where there is no figure to see.
        hard: the figure was altered, or is not the original.
        judged: a judge's verdict in the log: 1 right, 0 wrong; None for unclear, or where no judge was asked.
        was_judged: whether a judge was asked.
    """

    question: str
    figure: str | None
    hard: bool
    judged: float | None = None
    was_judged: bool = False


def read(files: Sequence[Path], judge: str = "gpt4v_output_gpt_check") -> list[FigureItem]:
    """The published rows: category, subcategory, set_id, figure_id, question_id, gt_answer, model_prediction.

    Raises:
        DataError: a right answer, or a judge's verdict, is not in the published code.
    """
    rows = read_answered(files, truth=("gt_answer",), joined_ids=KEY)
    return [_item(row, judge) for row in rows]


def _item(row: Answered, judge: str) -> FigureItem:
    code = str(row.need("gt_answer")).strip().lower()
    if code not in ANSWERS:
        raise DataError(f"gt_answer is {code!r}, expected 0 or 1", "Correct the row.",
                        file=row.file, record=row.id)  # fmt: skip
    category, subcategory, set_id, figure, question = (str(row.need(name)) for name in KEY)
    verdict = row.get(judge)
    if verdict is not None and str(verdict) not in VERDICTS:
        raise DataError(f"{judge} is {verdict!r}, expected 0, 1 or 2", "Correct it.", file=row.file, record=row.id)
    said = row.text()
    chosen = None if said is None else read_yes_no(said)
    place = f"{category}/{subcategory}/{set_id}"
    return FigureItem(
        row.id, place, (category, f"{category}/{subcategory}"), why_unread(said) if chosen is None else SCORED,
        truth=ANSWERS[code], chosen=chosen, options=("yes", "no"), question=f"{place}/q{question}",
        figure=None if category == "VS" and figure == "0" else f"{place}/f{figure}", hard=figure != "0",
        judged=None if verdict is None else VERDICTS[str(verdict)], was_judged=verdict is not None,
    )  # fmt: skip


def score(items: Sequence[FigureItem]) -> BenchmarkResult:
    """AAcc (answers), qAcc (questions: right for all figures) and fAcc (figures: all questions right)."""
    tables = [Table("strict", "Answers that say yes or no", _rows(items, lambda item: item.hit), ACCURACY_NOTE)]
    if any(item.was_judged for item in items):
        tables.append(Table("judged", "By the judge in the log", _rows(items, lambda item: item.judged),
                            ACCURACY_NOTE + "; unclear verdicts are unread"))  # fmt: skip
    always = [replace(item, chosen="yes", state=SCORED) for item in items]
    baselines = constant_answers(items, {"always yes": "yes", "always no": "no"})
    rows = {name: dict(row) for name, row in baselines.rows.items() if not name.endswith(" option")}
    rows["always yes"] |= {
        name: figures["accuracy"] for name, figures in _rows(always, lambda item: item.hit).items()
        if name in ("questions", "figures")
    }  # fmt: skip
    unread = sum(item.state == UNPARSED for item in items)
    notes = ["intervals are over sets of figures; figures of set VS without a figure are left out of fAcc",
             f"{unread} answers say neither yes nor no to begin with: a judge is needed to read them"]  # fmt: skip
    return BenchmarkResult(
        "hallusionbench", tuple(tables), count_states(items), replace(baselines, rows=rows),
        tuple(filter(None, (*notes, unread_note(items)))),
    )  # fmt: skip


def _rows(items: Sequence[FigureItem], hit: Callable[[FigureItem], float | None]) -> dict[str, Figures]:
    def flat(chosen: Sequence[FigureItem]) -> Figures:
        return accuracy_of([hit(item) for item in chosen], [item.group for item in chosen])

    rows = {
        "answers": flat(items),
        "questions": _together(items, lambda item: item.question, hit),
        "figures": _together([i for i in items if i.figure is not None], lambda item: str(item.figure), hit),
        "easy": flat([item for item in items if not item.hard]),
        "hard": flat([item for item in items if item.hard]),
    }
    for name in dict.fromkeys(name for item in items for name in item.subsets):
        rows[name] = flat([item for item in items if name in item.subsets])
    return rows


def _together(
    items: Sequence[FigureItem], key: Callable[[FigureItem], str], hit: Callable[[FigureItem], float | None]
) -> Figures:
    """Right if all are, wrong if one is, open if none is wrong and one unread."""
    found: dict[str, list[FigureItem]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    hits: list[float | None] = []
    for group in found.values():
        marks = [hit(item) for item in group]
        hits.append(0.0 if 0.0 in marks else None if None in marks else 1.0)
    return accuracy_of(hits, [group[0].group for group in found.values()])


ADAPTERS = (
    Benchmark(
        "hallusionbench",
        "HallusionBench: yes or no to altered figures",
        "Guan et al., HallusionBench: An Advanced Diagnostic Suite for Entangled Language Hallucination and "
        "Visual Illusion in Large Vision-Language Models, CVPR 2024 (arXiv:2310.14566)",
        {".json, .jsonl": "category, subcategory, set_id, figure_id, question_id, gt_answer, model_prediction, "
                          "and a judge's verdict (0 wrong, 1 right, 2 unclear)"},
        read,
        score,
        {"judge": Option("gpt4v_output_gpt_check", "column of the judge's verdict, where there is one")},
    ),
)  # fmt: skip
