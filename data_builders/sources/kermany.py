"""Kermany et al. 2018: paediatric chest radiographs (anteroposterior, one to five years old), normal or pneumonia.

The pictures carry confounds: size and letters differ by class, and 16 x 16 pixels alone already separate them
(`vlmalign experts measure` computes how well). Show such a baseline beside any result.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data_builders.sources.case_writing import (
    CaseDraft,
    Known,
    OnBad,
    Picture,
    refuse_divided_groups,
    write_cases,
)
from data_builders.sources.chest_labels import DOMAIN, technique
from data_builders.sources.contained import contained, listing_hash
from data_builders.sources.options import check_shared
from data_builders.sources.patient_key import NOTE, PatientKey, patient_key
from data_builders.sources.prompt import prompt_bank
from data_builders.sources.tables import Row, find_table, read_table
from vlmalign.records import Attributes
from vlmalign.records.case import Split
from vlmalign.records.hashing import sha256_file

VERSION = 1
OLDEST_CHILD = 5  # years, of the whole set
EXPERT = "kermany_label@1"
COLUMNS = ("path", "split", "label", "subtype", "patient")
SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
NOTES = {
    "licence": "CC BY 4.0 (Kermany et al., Cell 2018).",
    "patients": f"By the number in the file name. {NOTE}",
    "attributes": "All are children (age_band child) and anteroposterior: no cardiothoracic ratio may be read.",
    "confounds": "Size and letters differ by class; 16 x 16 pixels alone separate them well.",
    "labels": "Graded by physicians: normal, or pneumonia (bacteria or virus, in extra.subtype). Nothing else was "
    "assessed.",
}


def build_kermany(
    data: str | Path,
    out: str | Path,
    *,
    key_file: Path | None = None,
    split: str = "none",
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """Paediatric chest radiographs with the labels normal and pneumonia (labels.csv and pictures).

    Args:
        data: folder with `labels.csv` (path, split, label, subtype, patient) and the pictures.
        out: the dataset folder.
        key_file: secret of the patients' pseudonyms, outside of `out`; see `patient_key`.
        split: "official" takes the table's splits over, "none" leaves the cases to be divided.
        limit: only the first so many rows.
        on_bad: "skip" leaves out pictures that cannot be decoded.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: the table breaks a rule, a picture cannot be read.
        ValueError: a setting out of range.
    """
    check_shared(split=split, limit=limit, on_bad=on_bad)
    root = Path(data)
    table = find_table(root, "labels.csv")
    rows = list(read_table(table, COLUMNS))[:limit]
    paths = [_checked(root, row) for row in rows]
    if split == "official":
        refuse_divided_groups(((row["patient"], row["split"]) for row in rows), table)
    config = {
        "source": f"kermany@{VERSION}",
        "labels_sha256": sha256_file(table),
        "pictures_sha256": listing_hash(root, paths),
        "rows": len(rows),
        "split": split,
        "prompts": prompt_bank(DOMAIN),
    }
    key = patient_key(out, key_file, overwrite=overwrite)
    return write_cases(
        out,
        _drafts(rows, paths, key, split),
        domain=DOMAIN,
        config={**config, "key": key.fingerprint},
        notes=NOTES,
        data_use="open",
        on_bad=on_bad,
        overwrite=overwrite,
        key=key,
        root=root,
    )


def _checked(root: Path, row: Row) -> Path:
    for column, known in (("split", SPLITS), ("label", ("normal", "pneumonia"))):
        if row[column] not in known:
            raise row.error(f"{row[column]!r} is none of {', '.join(known)}", "Correct the cell.", column)
    if not row["patient"]:
        raise row.error("the patient is not named", "Fill the cell: splits are by patient.", "patient")
    return contained(root, row["path"], file=row.file, line=row.line, field="path")


def _drafts(rows: list[Row], paths: list[Path], key: PatientKey, split: str) -> Iterator[CaseDraft]:
    for row, path in zip(rows, paths, strict=True):
        normal = row["label"] == "normal"
        yield CaseDraft(
            id=f"kermany-{key.pseudonym('case', row['path'])}",
            pictures=(Picture(path, {"modality": "xray"}),),
            group_id=key.pseudonym("patient", row["patient"]),
            group_kind="patient",
            known=(
                Known("pneumonia", "absent" if normal else "present", EXPERT),
                Known("no_finding", "present" if normal else "absent", EXPERT),
                *technique(OLDEST_CHILD, "AP"),
            ),
            split=SPLITS[row["split"]] if split == "official" else "unassigned",
            attributes=Attributes(age_band="child"),
            extra={"views": ["AP"], "subtype": row["subtype"]},
        )
