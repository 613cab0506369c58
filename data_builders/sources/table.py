r"""Any csv with pictures: columns are named in the settings, and every cell is checked before anything is written.

    vlmalign source build table --data DIR --out cases --set table=cases.csv --set domain=chest_xray \
        --set image=path --set group=patient --set findings.pneumonia=pneumonia --set text=report

A row is a case. A cell of pictures may hold several, with semicolons.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_builders.sources.age_band import age_band
from data_builders.sources.case_writing import CaseDraft, Known, OnBad, Picture, refuse_divided_groups, write_cases
from data_builders.sources.chest_labels import sex_of
from data_builders.sources.clinical_names import check_categories, check_numbers, check_presences, logic_of
from data_builders.sources.contained import contained, listing_hash
from data_builders.sources.options import check_shared
from data_builders.sources.patient_key import NOTE, PatientKey, patient_key
from data_builders.sources.prompt import prompt_bank
from data_builders.sources.tables import Row, read_table
from vlmalign.clinical import Logic
from vlmalign.records import Attributes
from vlmalign.records.case import Split
from vlmalign.records.finding import Status
from vlmalign.records.hashing import sha256_file
from vlmalign.records.suggestions import unknown

VERSION = 1
EXPERT = "table@1"
STATES: dict[str, Status] = {
    "": "not_assessed", "not_assessed": "not_assessed", "1": "present", "yes": "present", "present": "present",
    "positive": "present", "true": "present", "0": "absent", "no": "absent", "absent": "absent", "negative": ""
    "absent",
    "false": "absent", "-1": "uncertain", "uncertain": "uncertain",
}  # fmt: skip
SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "validate": "validation", "dev": "validation", "test": "test", "": "unassigned",
}  # fmt: skip
NOTES = {
    "licence": "Not known to this reader: local_only until --set data_use says otherwise.",
    "labels": "From the columns of a table; a blank cell was not assessed.",
    "texts": "Reference texts are taken as they are: a text that names a person does so in this folder too.",
}


@dataclass(frozen=True)
class Columns:
    """Which column holds what; what is None or empty is not there."""

    image: tuple[str, ...]
    group: str | None = None
    split: str | None = None
    text: str | None = None
    sex: str | None = None
    age: str | None = None
    findings: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    measurements: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """All columns that the table must have."""
        single = [name for name in (self.group, self.split, self.text, self.sex, self.age) if name]
        return [
            *self.image,
            *single,
            *(c for m in (self.findings, self.categories, self.measurements) for c in m.values()),
        ]


def build_table(
    data: str | Path,
    out: str | Path,
    *,
    table: str,
    domain: str,
    image: str,
    group: str | None = None,
    group_kind: str = "patient",
    split: str | None = None,
    text: str | None = None,
    findings: dict[str, str] | None = None,
    categories: dict[str, str] | None = None,
    measurements: dict[str, str] | None = None,
    units: dict[str, str] | None = None,
    sex: str | None = None,
    age: str | None = None,
    modality: str = "unknown",
    data_use: str = "local_only",
    key_file: Path | None = None,
    own_names: bool = False,
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """Any csv with pictures: columns for pictures, groups, splits, texts, findings and attributes.

    Args:
        data: the folder of the table and the pictures.
        out: the dataset folder.
        table: the csv file (or csv.gz), relative to `data`.
        domain: of the cases: a shipped clinical logic, whose concepts and values are then checked.
        image: column of the pictures' paths relative to `data`; several columns with commas.
        group: column of the patient (or slide ...); None makes every row its own group.
        group_kind: what a group is.
        split: column of train, validation or test.
        text: column of the reference text.
        findings: concept -> column of 1/yes/present, 0/no/absent, -1/uncertain, or blank (not assessed).
        categories: concept -> column of a category.
        measurements: concept -> column of a number.
        units: concept -> unit of its measurement; "1" where none is given.
        sex: column of the patient's sex.
        age: column of the age in years; a band of it is kept.
        modality: of the pictures.
        data_use: where the data may be sent.
        key_file: secret of the pseudonyms, outside of `out`; see `patient_key`.
        own_names: the domain, or some of the concepts, are of no shipped clinical logic; they are not checked.
        limit: only the first so many rows.
        on_bad: "skip" leaves out rows of which a picture cannot be read.
        overwrite: replace a folder built with other settings.

    Raises:
        DataError: the table has no rows or breaks a rule (a column, cell or path), a picture cannot be read.
        ValueError: a setting out of range, a name that the domain's logic does not know.
    """
    check_shared(limit=limit, on_bad=on_bad, data_use=data_use)
    logic = logic_of(domain, own_names)
    _check_names(logic, findings or {}, categories or {}, measurements or {}, units or {}, own_names)
    root = Path(data)
    file = contained(root, table, field="table")
    columns = Columns(
        tuple(name.strip() for name in image.split(",")), group, split, text, sex, age,
        findings or {}, categories or {}, measurements or {}, units or {},
    )  # fmt: skip
    rows = list(read_table(file, columns.names()))[:limit]
    pictures = [_pictures(root, row, columns) for row in rows]
    _check(rows, columns, file, logic)
    key = patient_key(out, key_file, overwrite=overwrite)
    patients = f"By the column {group!r}." if group else "Not known: every row is its own group."
    return write_cases(
        out,
        _drafts(rows, pictures, columns, group_kind if group else "image", modality, key),
        domain=domain,
        config=_content(root, file, pictures, columns, (group_kind, modality, domain, key.fingerprint)),
        notes={**NOTES, "patients": f"{patients} {NOTE}"},
        data_use=data_use,
        on_bad=on_bad,
        overwrite=overwrite,
        key=key,
        root=root,
    )


def _content(
    root: Path, file: Path, pictures: list[list[Path]], columns: Columns, told: tuple[str, ...]
) -> dict[str, Any]:
    """What decides the content of the folder; `told`: group kind, modality, domain, fingerprint of the key."""
    group_kind, modality, domain, key = told
    return {
        "source": f"table@{VERSION}",
        "table_sha256": sha256_file(file),
        "pictures_sha256": listing_hash(root, (path for of in pictures for path in of)),
        "rows": len(pictures),
        "columns": repr(columns),
        "group_kind": group_kind,
        "modality": modality,
        "domain": domain,
        "prompts": prompt_bank(domain),
        "key": key,
    }


def _check_names(
    logic: Logic | None,
    findings: Mapping[str, str],
    categories: Mapping[str, str],
    measurements: Mapping[str, str],
    units: Mapping[str, str],
    own_names: bool,
) -> None:
    """Names and units of concepts, before anything is read."""
    for name in units:
        if name not in measurements:
            raise ValueError(f"units: {unknown('measurement', name, measurements)} Correct or drop it.")
    check_presences(logic, {f"findings.{name}": name for name in findings}, own_names)
    check_categories(logic, categories, own_names)
    check_numbers(logic, "measurements", {name: units.get(name, "1") for name in measurements}, own_names)


def _check(rows: list[Row], columns: Columns, file: Path, logic: Logic | None) -> None:
    """Every cell, before anything is written."""
    for row in rows:
        _known(row, columns)
        for concept, column in columns.categories.items():
            values = logic.concepts[concept].values if logic and concept in logic.concepts else ()
            if values and row[column] and row[column] not in values:
                raise row.error(
                    f"{row[column]!r} is no value of {concept}: {', '.join(values)}",
                    "Correct the cell, or leave it blank where it was not assessed.",
                    column,
                )
        _split(row, columns)
        if columns.group and not row[columns.group]:
            raise row.error("the group is not named", "Fill the cell: splits are by group.", columns.group)
    if columns.group and columns.split:
        refuse_divided_groups(((row[columns.group], _split(row, columns)) for row in rows), file)


def _pictures(root: Path, row: Row, columns: Columns) -> list[Path]:
    names = [(column, name.strip()) for column in columns.image for name in row[column].split(";") if name.strip()]
    if not names:
        raise row.error("the row names no picture", "Fill the cell, or remove the row.", columns.image[0])
    return [contained(root, name, file=row.file, line=row.line, field=column) for column, name in names]


def _split(row: Row, columns: Columns) -> Split:
    if columns.split is None:
        return "unassigned"
    word = row[columns.split].lower()
    if word not in SPLITS:
        raise row.error(
            f"{word!r} is none of {', '.join(filter(None, SPLITS))}", "Correct the cell.", columns.split
        )
    return SPLITS[word]


def _known(row: Row, columns: Columns) -> tuple[Known, ...]:
    found = []
    for concept, column in columns.findings.items():
        word = row[column].lower().removesuffix(".0")
        if word not in STATES:
            raise row.error(f"{row[column]!r} is none of 1, 0, -1, blank and their words", "Correct it.", column)
        found.append(Known(concept, STATES[word], EXPERT))
    for concept, column in columns.categories.items():
        value = row[column]
        found.append(Known(concept, "present" if value else "not_assessed", EXPERT, value or None))
    for concept, column in columns.measurements.items():
        found.append(_measured(row, concept, column, columns.units.get(concept, "1")))
    return tuple(found)


def _measured(row: Row, concept: str, column: str, unit: str) -> Known:
    if not row[column]:
        return Known(concept, "not_assessed", EXPERT)
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise row.error(f"{row[column]!r} is not a number", "Correct the cell, or leave it blank.", column)
    return Known(concept, "present" if value else "absent", EXPERT, value, unit)


def _years(row: Row, column: str | None) -> float | None:
    try:
        return float(row[column]) if column and row[column] else None
    except ValueError:
        return None


def _drafts(
    rows: list[Row], pictures: list[list[Path]], columns: Columns, group_kind: str, modality: str, key: PatientKey
) -> Iterator[CaseDraft]:
    for row, paths in zip(rows, pictures, strict=True):
        place = key.pseudonym("row", f"{row.line}/{paths[0].name}")
        years = _years(row, columns.age)
        yield CaseDraft(
            id=f"table-{place}",
            pictures=tuple(Picture(path, {"modality": modality}, clean=False) for path in paths),
            group_id=key.pseudonym("patient", row[columns.group]) if columns.group else place,
            group_kind=group_kind,
            known=_known(row, columns),
            text=(row[columns.text] or None) if columns.text else None,
            split=_split(row, columns),
            attributes=Attributes(sex=sex_of(row[columns.sex]) if columns.sex else None, age_band=age_band(years)),
            counts={"impossible_ages": int(bool(columns.age and row[columns.age]) and age_band(years) is None)},
        )
