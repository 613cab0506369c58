"""Logs of predictions (JSON lines, JSON, CSV, TSV, our folders) as rows: questions joined with their answers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmalign.evaluation.benchmarks.logs import read_log, read_text
from vlmalign.records import Candidate, Case, DataError, Judgement, RecordFolder, read_manifest

Row = dict[str, Any]
IDS = ("id", "question_id", "qid", "index", "idx", "image_id")
PREDICTIONS = ("prediction", "pred", "model_prediction", "answer_pred", "response", "model_output", "output")
GROUPS = (
    "group", "group_id", "patient", "patient_id", "subject_id", "study_id", "image", "image_name", "img_name",
    "image_id", "img_id", "image_source", "filename", "imagename",
)  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """A question with the answer to it.

    Attributes:
        id: unique; with the part of the benchmark where ids recur in several.
        row: all columns of the question, and those of the answer that the question lacks.
        prediction: the answer as it is in the file; None where there is none.
        file: where the question stands.
    """

    id: str
    row: Mapping[str, Any]
    prediction: Any
    file: Path

    def text(self) -> str | None:
        """The answer as text, or None where there is none."""
        return None if self.prediction is None else str(self.prediction)

    def get(self, *names: str) -> Any:
        """The first of the columns that is there and not empty, or None."""
        return field_of(self.row, names)

    def need(self, *names: str) -> Any:
        """Likewise.

        Raises:
            DataError: there is none.
        """
        if (found := self.get(*names)) is None:
            raise DataError(f"it has none of the columns {', '.join(names)}",
                            "Give the file of questions beside that of predictions, or add the column.",
                            file=self.file, record=self.id)  # fmt: skip
        return found

    def group(self) -> str:
        """Patient or image where the row names one, else the item itself."""
        found = self.get(*GROUPS)
        return self.id if found is None else str(found)


def field_of(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first of the columns that is there and neither None nor an empty cell.

    Example:
        >>> field_of({"pred": None, "answer": 0}, ("pred", "answer"))
        0
    """
    return next((row[name] for name in names if row.get(name) is not None and row[name] != ""), None)


def read_rows(path: Path) -> list[Row]:
    """Rows of a file (.jsonl, .json, .csv, .tsv) or of a folder of our cases, candidates or judgements.

    A JSON object of objects, or of texts, is read as id -> row, or id -> prediction. A file of JSON lines may be
    called .json. Of a folder of candidates the first sample of each case is read.

    Raises:
        DataError: damaged (NUL bytes, a half line, no UTF-8), empty, or in another format.
    """
    if path.is_dir():
        return list(_of_folder(path))
    suffix = path.suffix.lower()
    if suffix not in (".jsonl", ".json", ".csv", ".tsv"):
        raise DataError(f"{suffix or 'no ending'} is not a format that is read: .jsonl, .json, .csv or .tsv",
                        "Save it as one of these (a spreadsheet: as .tsv).", file=path)  # fmt: skip
    if suffix in (".csv", ".tsv"):
        return _of_table(read_text(path), path, "\t" if suffix == ".tsv" else ",")
    log = read_log(path)
    one_object = len(log.rows) == 1 and path.read_bytes().removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    return _of_object(log.rows[0]) if suffix == ".json" and one_object else log.rows


def _of_table(text: str, path: Path, delimiter: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    try:
        names = list(reader.fieldnames or ())
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            raise DataError(f"the heading names {', '.join(twice)} more than once" if twice else "the file is "
            "empty",
                            "Give every column a name of its own." if twice else "Give a file with predictions.",
                            file=path, line=1 if twice else None)  # fmt: skip
        for row in reader:
            if None in row or None in row.values():
                raise DataError(f"the row has not the {len(names)} columns of the heading",
                                "Restore the file; quote cells that hold the delimiter.",
                                file=path, line=reader.line_num)  # fmt: skip
            rows.append(dict(row))
    except csv.Error as error:
        raise DataError(f"it cannot be read as a table ({error})", "Restore the file: a quote may be left open.",
                        file=path, line=reader.line_num) from None  # fmt: skip
    if not rows:
        raise DataError("it has a heading and no row", "Give a file with predictions.", file=path)
    return rows


def _of_object(value: Row) -> list[Row]:
    """Rows of one JSON object: of id -> row, id -> prediction, or a name around a list of rows."""
    for name in ("outputs", "results"):  # ScienceQA's: a summary around the answers
        if isinstance(value.get(name), dict):
            value = value[name]
    only = next(iter(value.values()), None) if len(value) == 1 else None
    if isinstance(only, list) and only and all(isinstance(row, dict) for row in only):
        return only
    if any(name in value for name in (*IDS, *PREDICTIONS)):
        return [value]
    return [{"id": key, **(row if isinstance(row, dict) else {"prediction": row})} for key, row in value.items()]


def _of_folder(path: Path) -> Iterator[Row]:
    kind = read_manifest(path).kind
    if kind == "candidate":
        for answer in RecordFolder(path, Candidate):
            if answer.sampling.sample == 0:
                yield {"id": answer.case_id, "prediction": answer.text, "policy": answer.policy,
                       "finished": answer.finished}  # fmt: skip
        return
    if kind == "judgement":
        yield from _of_judgements(path)
        return
    if kind != "case":
        raise DataError(f"it is a folder of kind {kind}, expected cases, candidates or judgements", "Give those.",
                        file=path)  # fmt: skip
    for case in RecordFolder(path, Case):
        truth = case.reference
        row: Row = {"question": case.messages[-1].text, "image": case.images[0].sha256}
        if truth is not None and truth.text is not None:
            row |= {"answer": truth.text, "label": truth.text, "reference": truth.text}
        yield {**row, **case.extra, "id": case.id, "group": case.group_id, "case": case}


def _of_judgements(path: Path) -> Iterator[Row]:
    """Scores of one answer to each case; several judgements of it are a judge's runs, an invalid one is None."""
    found: dict[str, list[Judgement]] = {}
    for judgement in RecordFolder(path, Judgement):
        given = found.setdefault(judgement.case_id, [])
        if len(judgement.candidate_ids) != 1 or (given and given[0].candidate_ids != judgement.candidate_ids):
            raise DataError("it is of another answer to the case than the first judgement, or of two",
                            "Give judgements of one answer to each case.",
                            file=path, record=judgement.id, field="candidate_ids")  # fmt: skip
        given.append(judgement)
    for case_id, given in found.items():
        scores = [judgement.score for judgement in given]
        yield {"id": case_id, "score": scores[0] if len(scores) == 1 else scores}


def read_answered(
    files: Sequence[Path],
    *,
    truth: Sequence[str],
    predictions: Sequence[str] = PREDICTIONS,
    answers: Sequence[str] = ("text", "answer"),
    ids: Sequence[str] = IDS,
    joined_ids: Sequence[str] = (),
    part: Callable[[Row, Path], str] = lambda row, file: "",
) -> list[Answered]:
    """Questions with their answers, from one file that has both or from files of either.

    Rows that have a column of `truth` are questions; the others answer them, by id, or, where they have none, in
    order (POPE), if the texts of the questions agree. A question without an answer stays, with None.

    Args:
        files: in any order.
        truth: columns that only a question has.
        predictions: columns of an answer, in either sort of file.
        answers: further columns of an answer, in a file that has no truth.
        ids: columns of an id, the first that is there.
        joined_ids: columns that make an id together, where all are there.
        part: of a row and its file, which part of the benchmark it is of, where ids recur in several.

    Raises:
        DataError: no question or no answer at all, an id twice, an answer to no question.
    """
    questions: dict[str, Answered] = {}
    found: dict[str, tuple[Row, Any, Path]] = {}
    for file in files:
        unnamed = []
        for number, row in enumerate(read_rows(file)):
            is_question = field_of(row, truth) is not None or "case" in row
            name, of = _name(row, ids, joined_ids), part(row, file)
            if name is None and not is_question:
                unnamed.append(row)
                continue
            key = "/".join(filter(None, (of, str(number) if name is None else name)))
            said = field_of(row, predictions if is_question else (*predictions, *answers))
            if is_question:
                if key in questions:
                    raise DataError("the id is used twice", "Give every question once.", file=file, record=key)
                questions[key] = Answered(key, row, said, file)
            elif key in found:
                raise DataError("it is answered twice", "Give one answer to each question.", file=file, record=key)
            else:
                found[key] = (row, said, file)
        if unnamed:
            found |= _in_order(unnamed, file, questions, part({}, file), (*predictions, *answers))
    if not questions:
        raise DataError(
            f"no row has one of the columns {', '.join(truth)}: there is no truth to score against",
            "Give the benchmark's file of questions, too.",
            file=", ".join(map(str, files)),
        )
    for key, (_, _, file) in found.items():
        if key not in questions:
            raise DataError("it answers no question that was given", "Give the questions that were answered.",
                            file=file, record=key)  # fmt: skip
    if not found and all(question.prediction is None for question in questions.values()):
        raise DataError("no row has an answer", f"Name its column {predictions[0]}, or give the file of answers.",
                        file=", ".join(map(str, files)))  # fmt: skip
    return [_join(question, found.get(key)) for key, question in questions.items()]


def _name(row: Row, ids: Sequence[str], joined: Sequence[str]) -> str | None:
    if joined and all(row.get(name) is not None for name in joined):
        return "/".join(str(row[name]) for name in joined)
    name = field_of(row, ids)
    return None if name is None else str(name)


def _join(question: Answered, answer: tuple[Row, Any, Path] | None) -> Answered:
    if answer is None:
        return question
    row, said, _ = answer
    return Answered(question.id, {**row, **question.row}, said, question.file)


def _in_order(
    rows: Sequence[Row], file: Path, questions: Mapping[str, Answered], part: str, columns: Sequence[str]
) -> dict[str, tuple[Row, Any, Path]]:
    """Answers without ids, as questions of the same part follow each other."""
    asked = [question for key, question in questions.items() if not part or key.startswith(f"{part}/")]
    if len(asked) != len(rows):
        raise DataError(f"it has {len(rows)} answers without an id, to {len(asked)} questions",
                        "Give ids, or as many answers as questions, the file of questions first.",
                        file=file)  # fmt: skip
    for number, (row, question) in enumerate(zip(rows, asked, strict=True), start=1):
        given, wanted = row.get("question"), question.get("question", "text")
        if given is not None and wanted is not None and str(given).strip() != str(wanted).strip():
            raise DataError(
                f"answer {number} is to {str(given)[:60]!r}, the question there is {str(wanted)[:60]!r}",
                "Give answers in the order of the questions, or with ids.",
                file=file,
            )
    return {question.id: (row, field_of(row, columns), file) for row, question in zip(rows, asked, strict=True)}
