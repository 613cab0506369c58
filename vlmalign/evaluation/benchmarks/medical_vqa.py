"""VQA-RAD, SLAKE and PathVQA: short answers about medical images, closed and open questions apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vlmalign.evaluation.benchmarks.answer_files import Answered, read_answered
from vlmalign.evaluation.benchmarks.answer_words import normalise, word_f1, word_recall
from vlmalign.evaluation.benchmarks.marks import Figures, unread_note
from vlmalign.evaluation.benchmarks.protocol import (
    SCORED,
    Benchmark,
    BenchmarkResult,
    Item,
    Option,
    Table,
    count_states,
)
from vlmalign.evaluation.benchmarks.unread import why_unread
from vlmalign.evaluation.benchmarks.yes_no import read_yes_no
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.records import DataError

NOTE = (
    "closed exact: equal after normalisation (lower case, no punctuation or articles); closed read: yes or no "
    "read strictly out of a longer answer, other closed answers as for exact; open recall: share of the "
    "distinct words of the truth that are in the answer (LLaVA-Med's), which longer answers raise; open F1: of "
    "words (SQuAD); pooled exact: closed and open together. Columns with _all count a missing or refused answer "
    "as wrong"
)
YES_NO = ("yes", "no")
#: state of a question in another language than the one that is scored: counted, and in no figure
OTHER_LANGUAGE = "other_language"


@dataclass(frozen=True, kw_only=True)
class ShortItem(Item):
    """A question with a short answer."""

    truth: str
    said: str | None
    closed: bool
    question: str = ""


def read(files: Sequence[Path], language: str = "en") -> list[ShortItem]:
    """Questions (question, answer, answer_type; SLAKE also q_lang) and answers by id, in one file or apart."""
    rows = read_answered(files, truth=("answer_type", "answer", "gt_ans", "reference"), answers=("text",),
                         ids=("id", "qid", "question_id", "index"))  # fmt: skip
    asked = [language == "all" or row.get("q_lang") in (None, language) for row in rows]
    if not any(asked):
        return []
    return [_item(row) if of_it else _of_other_language(row) for row, of_it in zip(rows, asked, strict=True)]


def _of_other_language(row: Answered) -> ShortItem:
    return ShortItem(row.id, row.group(), (), OTHER_LANGUAGE, truth="", said=None, closed=False)


def _item(row: Answered) -> ShortItem:
    truth = str(row.need("answer", "gt_ans", "reference")).strip()
    kind = str(row.get("answer_type") or "").strip().upper()
    if kind not in ("CLOSED", "OPEN", ""):
        raise DataError(f"the answer_type is {row.get('answer_type')!r}, expected CLOSED or OPEN",
                        "Correct it, or leave the column out: then yes and no are closed.",
                        file=row.file, record=row.id, field="answer_type")  # fmt: skip
    closed = kind == "CLOSED" or (kind != "OPEN" and normalise(truth) in YES_NO)
    said = row.text()
    readable = said is not None and normalise(said) != "" and why_unread(said) not in ("failed", "refused")
    part = row.get("image_organ", "modality", "content_type")
    subsets = () if part is None else (str(part).strip(),)
    return ShortItem(
        row.id, row.group(), subsets, SCORED if readable else why_unread(said),
        truth=truth, said=said if readable else None, closed=closed, question=str(row.get("question") or ""),
    )  # fmt: skip


def exact(item: ShortItem) -> float | None:
    """1 if truth and answer are equal after normalisation."""
    return None if item.said is None else float(normalise(item.said) == normalise(item.truth))


def closed_read(item: ShortItem) -> float | None:
    """As `exact`, but a yes or no is read out of a longer answer; None where it says neither."""
    truth = normalise(item.truth)
    if item.said is None or truth not in YES_NO:
        return exact(item)
    found = read_yes_no(item.said, item.question)
    return None if found is None else float(found == truth)


def figures(items: Sequence[ShortItem]) -> Figures:
    """All columns of the tables."""
    closed, open_ones = [i for i in items if i.closed], [i for i in items if not i.closed]
    return (
        _columns("closed_exact", closed, exact)
        | _columns("closed_read", closed, closed_read)
        | _columns("open_exact", open_ones, exact)
        | _columns("open_recall", open_ones, lambda i: None if i.said is None else word_recall(i.truth, i.said))
        | _columns("open_f1", open_ones, lambda i: None if i.said is None else word_f1(i.truth, i.said))
        | _columns("pooled_exact", items, exact)
    )


def _columns(name: str, items: Sequence[ShortItem], mark: Callable[[ShortItem], float | None]) -> Figures:
    marks, groups = [mark(item) for item in items], [item.group for item in items]
    found: Figures = {name: cluster_estimate(marks, groups, proportion=True)}
    if None in marks:
        found[f"{name}_all"] = cluster_estimate([value or 0.0 for value in marks], groups, proportion=True)
    return found


def score(name: str, items: Sequence[ShortItem]) -> BenchmarkResult:
    """Closed and open questions apart, for all and for each organ, modality or kind of content."""
    counts = count_states(items)
    items = [item for item in items if item.state != OTHER_LANGUAGE]
    names = dict.fromkeys(part for item in items for part in item.subsets)
    rows = {"all": figures(items)} | {
        part: figures([item for item in items if part in item.subsets]) for part in names
    }
    return BenchmarkResult(
        name,
        (Table("answers", "Short answers", rows, NOTE),),
        counts,
        _baselines(items),
        tuple(
            filter(
                None,
                (
                    "intervals are over images (or patients, where a column names them)",
                    unread_note(items),
                    _language_note(counts.get(OTHER_LANGUAGE, 0)),
                ),
            )
        ),  # fmt: skip
    )


def _language_note(n: int) -> str:
    return f"{n} questions are in another language and in no figure: --set language=all scores all" if n else ""


def _baselines(items: Sequence[ShortItem]) -> Table:
    """The commonest closed and open answer to every question, taken from the truth itself; and always yes, no."""
    often = {
        closed: Counter(normalise(item.truth) for item in items if item.closed == closed).most_common(1)
        for closed in (True, False)
    }
    constants = {
        f"most frequent ({', '.join(found[0][0] for found in often.values() if found)})": {
            closed: found[0][0] if found else "" for closed, found in often.items()
        },
        "always yes": {True: "yes", False: "yes"},
        "always no": {True: "no", False: "no"},
    }
    rows = {
        name: figures([replace(item, said=answers[item.closed], state=SCORED) for item in items])
        for name, answers in constants.items()
    }
    return Table("baselines", "Answers without a look at the image", rows)


def _adapter(name: str, title: str, source: str, columns: str) -> Benchmark:
    return Benchmark(
        name, title, source,
        {".json, .jsonl, .csv, .tsv": columns, "folders": "our cases (reference text) and candidates"},
        read, partial(score, name),
        {"language": Option("en", "q_lang of the questions, where there is one; all = every")},
    )  # fmt: skip


ADAPTERS = (
    _adapter(
        "vqa-rad", "VQA-RAD: short answers about radiological images",
        "Lau et al., A dataset of clinically generated visual questions and answers about radiology images, "
        "Sci. Data 2018", "qid, image_name, question, answer, answer_type, prediction",
    ),
    _adapter(
        "slake", "SLAKE: short answers about radiological images, in two languages",
        "Liu et al., SLAKE: A Semantically-Labeled Knowledge-Enhanced Dataset for Medical VQA, ISBI 2021",
        "qid, img_name, question, answer, answer_type, q_lang, modality, prediction",
    ),
    _adapter(
        "path-vqa", "PathVQA: short answers about pathology images",
        "He et al., PathVQA: 30000+ Questions for Medical Visual Question Answering, 2020 (arXiv:2003.10286)",
        "id, image, question, answer, prediction; yes and no are closed",
    ),
)  # fmt: skip
