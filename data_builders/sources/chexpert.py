"""CheXpert (Irvin et al. 2019): chest radiographs with 14 labels read from their reports.

Layout: `train.csv` and `valid.csv` (Path, Sex, Age, Frontal/Lateral, AP/PA, 14 labels) and the pictures at
`.../train/patient00001/study1/view1_frontal.jpg`. A case is a study with all its views, frontal first, because the
labels are of the study. A blank label was not mentioned: it is not assessed, which is not absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_builders.sources.age_band import age_band
from data_builders.sources.case_writing import CaseDraft, OnBad, Picture, refuse_divided_groups, write_cases
from data_builders.sources.chest_labels import (
    CHEXPERT_COLUMNS,
    DOMAIN,
    chexpert_findings,
    frontal_first,
    sex_of,
    technique,
)
from data_builders.sources.contained import contained, listing_hash
from data_builders.sources.options import check_shared, one_of
from data_builders.sources.patient_key import NOTE, PatientKey, patient_key
from data_builders.sources.prompt import prompt_bank
from data_builders.sources.tables import Row, find_table, read_table
from vlmalign.records import Attributes
from vlmalign.records.case import Split
from vlmalign.records.hashing import sha256_file

VERSION = 1
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_COLUMNS)
SPLITS: dict[str, tuple[Split, str]] = {  # table -> split, who labelled it
    "train": ("train", "chexpert_labeler@1"),
    "valid": ("validation", "chexpert_radiologists@1"),
    "test": ("test", "chexpert_radiologists@1"),
}
PLACE = re.compile(r"(?:^|/)(?P<patient>patient\d+)/(?P<study>study\d+)/(?P<view>[^/]+)$")
NOTES = {
    "licence": "Stanford University Dataset Research Use Agreement: no sharing with third parties (local_only).",
    "patients": f"By the patient's folder. {NOTE}",
    "labels": "train: a labeller read the reports (1 present, 0 absent, -1 uncertain, blank not mentioned and so "
    "not_assessed). valid and test: radiologists looked at the pictures. Labels are of the study and stand at its "
    "first picture.",
}


@dataclass(frozen=True)
class Study:
    """The rows of one study, frontal first, and the files that they name."""

    table: str
    patient: str
    name: str
    rows: tuple[Row, ...]
    files: tuple[Path, ...]


def build_chexpert(
    data: str | Path,
    out: str | Path,
    *,
    tables: str = "train,valid",
    key_file: Path | None = None,
    split: str = "official",
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """CheXpert: studies with all views and 14 labels (train.csv, valid.csv and pictures).

    Args:
        data: the folder that holds the tables.
        out: the dataset folder.
        tables: which tables, with commas: train, valid, test.
        key_file: secret of the patients' pseudonyms, outside of `out`; see `patient_key`.
        split: "official" (train, validation, test by table) or "none".
        limit: only the first so many studies.
        on_bad: "skip" leaves out studies with a picture that cannot be decoded.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: a table breaks a rule, a picture cannot be read.
        ValueError: a setting out of range.
    """
    check_shared(split=split, limit=limit, on_bad=on_bad)
    names = [name.strip() for name in tables.split(",")]
    for name in names:
        one_of("tables", name, SPLITS)
    root = Path(data)
    files = {name: find_table(root, f"{name}.csv") for name in names}
    studies = [study for name in names for study in _studies(root, name, files[name])][:limit]
    if split == "official":
        refuse_divided_groups(((study.patient, study.table) for study in studies), root)
    config = {
        "source": f"chexpert@{VERSION}",
        "tables_sha256": {name: sha256_file(path) for name, path in files.items()},
        "pictures_sha256": listing_hash(root, (file for study in studies for file in study.files)),
        "studies": len(studies),
        "split": split,
        "prompts": prompt_bank(DOMAIN),
    }
    key = patient_key(out, key_file, overwrite=overwrite)
    return write_cases(
        out,
        (_draft(study, key, split) for study in studies),
        domain=DOMAIN,
        config={**config, "key": key.fingerprint},
        notes=NOTES,
        data_use="local_only",
        on_bad=on_bad,
        overwrite=overwrite,
        key=key,
        root=root,
    )


def _studies(root: Path, table: str, file: Path) -> Iterator[Study]:
    """Studies in the order of their first rows."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in read_table(file, COLUMNS):
        place = PLACE.search(row["Path"])
        if place is None:
            raise row.error(
                f"{row['Path']!r} is not .../patient<number>/study<number>/<picture>", "Restore the table.", "Path"
            )
        chexpert_findings(row, "")  # a wrong cell is told before anything is written
        found.setdefault((place["patient"], place["study"]), []).append(row)
    for (patient, name), rows in found.items():
        ordered = tuple(rows[k] for k in frontal_first([view_of(row) for row in rows]))
        files = tuple(_picture_file(root, row) for row in ordered)
        yield Study(table, patient, name, ordered, files)


def view_of(row: Row) -> str:
    """PA, AP or LATERAL; FRONTAL where the table does not say which."""
    return "LATERAL" if row["Frontal/Lateral"] == "Lateral" else row["AP/PA"].upper() or "FRONTAL"


def _picture_file(root: Path, row: Row) -> Path:
    """The file, whether `data` is the folder that the paths begin with or the one above it."""
    path = contained(root, row["Path"], file=row.file, line=row.line, field="Path")
    inner = "/".join(row["Path"].split("/")[1:])
    return (
        path if path.exists() or not inner else contained(root, inner, file=row.file, line=row.line, field="Path")
    )


def _draft(study: Study, key: PatientKey, split: str) -> CaseDraft:
    first = study.rows[0]
    of, expert = SPLITS[study.table]
    years = float(first["Age"]) if first["Age"].isdecimal() else None
    views = [view_of(row) for row in study.rows]
    return CaseDraft(
        id=f"chexpert-{key.pseudonym('study', f'{study.table}/{study.patient}/{study.name}')}",
        pictures=tuple(Picture(file, {"modality": "xray"}) for file in study.files),
        group_id=key.pseudonym("patient", study.patient),
        group_kind="patient",
        known=(*chexpert_findings(first, expert), *technique(years, views[0])),
        split=of if split == "official" else "unassigned",
        attributes=Attributes(sex=sex_of(first["Sex"]), age_band=age_band(years)),
        extra={"views": views},
    )
