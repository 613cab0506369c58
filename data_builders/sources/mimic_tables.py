"""The tables of MIMIC-CXR-JPG: which pictures make a study, in which split, and which study came before."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from data_builders.sources.chest_labels import CHEXPERT_COLUMNS, chexpert_findings, frontal_first
from data_builders.sources.contained import contained
from data_builders.sources.tables import Row, find_table, read_table

PREFIX = "mimic-cxr-2.0.0"
SPLIT_COLUMNS = ("dicom_id", "study_id", "subject_id", "split")
METADATA_COLUMNS = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
NUMBER = re.compile(r"\d{1,12}")
DICOM_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")


@dataclass
class Study:
    """One study: its pictures, frontal first."""

    subject: str
    name: str
    split: str
    pictures: tuple[str, ...]
    views: tuple[str, ...]
    time: tuple[str, float]
    previous: Study | None = None

    @property
    def folder(self) -> str:
        """Where its pictures lie; its report is the file of this name with `.txt`."""
        return f"files/p{self.subject[:2]}/p{self.subject}/s{self.name}"

    def picture_file(self, root: Path, number: int) -> Path:
        """The file of a picture."""
        return contained(root, f"{self.folder}/{self.pictures[number]}.jpg")


def read_studies(root: Path, splits: Collection[str]) -> tuple[list[Study], list[Path]]:
    """All studies in the order of the split table, each with the subject's study before; and the tables read.

    Raises:
        DataError: a table is missing or breaks a rule: an id that is none, an unknown split, a study in two splits
            or of two subjects, a picture without metadata.
    """
    split_table, metadata_table = (find_table(root, f"{PREFIX}-{name}.csv") for name in ("split", "metadata"))
    metadata = {row["dicom_id"]: row for row in read_table(metadata_table, METADATA_COLUMNS)}
    rows: dict[str, list[Row]] = {}
    for row in read_table(split_table, SPLIT_COLUMNS):
        _check(row, splits)
        if row["dicom_id"] not in metadata:
            raise row.error("the metadata table has no such picture", "Fetch both tables again.", "dicom_id")
        others = rows.setdefault(row["study_id"], [])
        for column in ("split", "subject_id"):
            if others and others[0][column] != row[column]:
                raise row.error(f"the study has two values of {column}", "Fetch the table again.", column)
        others.append(row)
    studies = [_study(of, metadata) for of in rows.values()]
    by_subject: dict[str, list[Study]] = {}
    for study in studies:
        by_subject.setdefault(study.subject, []).append(study)
    for mine in by_subject.values():
        mine.sort(key=lambda study: (study.time, study.name))
        for before, study in zip(mine, mine[1:], strict=False):
            if before.time < study.time:
                study.previous = before
    return studies, [split_table, metadata_table]


def read_labels(root: Path, labels: str) -> tuple[dict[str, Row], list[Path]]:
    """Rows of the label table by study, checked; and the table, if one is wanted.

    Raises:
        DataError: the table is missing, or a cell is none of 1, 0, -1 and blank.
    """
    if labels == "none":
        return {}, []
    table = find_table(root, f"{PREFIX}-{labels}.csv")
    rows = {}
    for row in read_table(table, ("subject_id", "study_id", *CHEXPERT_COLUMNS)):
        chexpert_findings(row, labels)
        rows[row["study_id"]] = row
    return rows, [table]


def _check(row: Row, splits: Collection[str]) -> None:
    for column, form in (("dicom_id", DICOM_ID), ("study_id", NUMBER), ("subject_id", NUMBER)):
        if not form.fullmatch(row[column]):
            raise row.error("not an id as MIMIC-CXR writes them", "Fetch the table again.", column)
    if row["split"] not in splits:
        raise row.error(f"{row['split']!r} is none of {', '.join(splits)}", "Fetch the table again.", "split")


def _study(rows: list[Row], metadata: dict[str, Row]) -> Study:
    views = [metadata[row["dicom_id"]]["ViewPosition"].upper() for row in rows]
    order = frontal_first(views)
    about = metadata[rows[0]["dicom_id"]]
    clock = re.fullmatch(r"\d{1,6}(?:\.\d+)?", about["StudyTime"])
    return Study(
        subject=rows[0]["subject_id"],
        name=rows[0]["study_id"],
        split=rows[0]["split"],
        pictures=tuple(rows[k]["dicom_id"] for k in order),
        views=tuple(views[k] for k in order),
        time=(about["StudyDate"], float(about["StudyTime"]) if clock else 0.0),
    )
