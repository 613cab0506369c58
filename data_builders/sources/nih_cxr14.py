"""NIH ChestX-ray14 (Wang et al. 2017): frontal chest radiographs with labels that a program mined from reports.

Layout: `Data_Entry_2017.csv` (or its 2020 revision), `train_val_list.txt`, `test_list.txt`, and the pictures in
`images/` or `images_001/images/` and so on. The miner looked for every label in every report, so a label that is
not listed is absent as far as it knows; where several diseases make one concept of the logic, only presence is
taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data_builders.sources.age_band import PLAUSIBLE, age_band
from data_builders.sources.case_writing import (
    CaseDraft,
    Known,
    OnBad,
    Picture,
    refuse_divided_groups,
    write_cases,
)
from data_builders.sources.chest_labels import DOMAIN, sex_of, technique
from data_builders.sources.contained import contained, files_below, listing_hash
from data_builders.sources.options import check_shared
from data_builders.sources.patient_key import NOTE, PatientKey, patient_key
from data_builders.sources.prompt import prompt_bank
from data_builders.sources.tables import Row, find_table, read_table
from vlmalign.records import Attributes, DataError
from vlmalign.records.case import Split
from vlmalign.records.hashing import sha256_file

VERSION = 1
EXPERT = "nih_text_miner@1"
COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Sex", "View Position")
LISTS: dict[str, Split] = {"train_val_list.txt": "train", "test_list.txt": "test"}
# label -> concept of the logic, and whether its absence is the concept's absence
CONCEPTS = {
    "Atelectasis": ("atelectasis", True),
    "Cardiomegaly": ("cardiomegaly", True),
    "Consolidation": ("consolidation", True),
    "Edema": ("edema", True),
    "Effusion": ("pleural_effusion", True),
    "Infiltration": ("lung_opacity", False),
    "Mass": ("lung_lesion", False),
    "Nodule": ("lung_lesion", False),
    "Pleural_Thickening": ("pleural_other", False),
    "Pneumonia": ("pneumonia", True),
    "Pneumothorax": ("pneumothorax", True),
}
ONLY_LISTED = ("Emphysema", "Fibrosis", "Hernia")  # no concept of the logic: kept in extra.labels
NORMAL = "No Finding"
NOTES = {
    "licence": "No restriction on use; credit the NIH Clinical Center and Wang et al. 2017 (CVPR).",
    "patients": f"By Patient ID. {NOTE}",
    "labels": "Mined from reports by a program, about a tenth of them wrong by its authors' own estimate. "
    "Emphysema, Fibrosis and Hernia have no concept in the logic and stand in extra.labels only.",
    "splits": "The official lists; train_val_list.txt is train. Divide it further by patient.",
}


def build_nih_cxr14(
    data: str | Path,
    out: str | Path,
    *,
    key_file: Path | None = None,
    split: str = "official",
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """NIH ChestX-ray14: frontal radiographs with 14 mined labels (Data_Entry csv, official lists and pictures).

    Args:
        data: the folder that holds the tables and pictures.
        out: the dataset folder.
        key_file: secret of the patients' pseudonyms, outside of `out`; see `patient_key`.
        split: "official" (the two lists) or "none".
        limit: only the first so many rows.
        on_bad: "skip" leaves out pictures that are missing or cannot be decoded.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder.

    Raises:
        DataError: the table or a list breaks a rule, a picture cannot be read.
        ValueError: a setting out of range.
    """
    check_shared(split=split, limit=limit, on_bad=on_bad)
    root = Path(data)
    table = find_table(root, "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
    rows = list(read_table(table, COLUMNS))[:limit]
    for row in rows:
        _labels(row)
    lists = _lists(root) if split == "official" else {}
    places = {path.name: path for path in files_below(root, [".png"])}
    paths = [_path(root, row, places) for row in rows]
    if split == "official":
        for row in rows:
            if row["Image Index"] not in lists:
                raise row.error("the picture is in neither official list", "Use --set split=none.", "Image Index")
        refuse_divided_groups(((row["Patient ID"], lists[row["Image Index"]]) for row in rows), table)
    config = {
        "source": f"nih_cxr14@{VERSION}",
        "table_sha256": sha256_file(table),
        "lists_sha256": {name: sha256_file(root / name) for name in LISTS} if lists else {},
        "pictures_sha256": listing_hash(root, paths),
        "rows": len(rows),
        "split": split,
        "prompts": prompt_bank(DOMAIN),
    }
    key = patient_key(out, key_file, overwrite=overwrite)
    return write_cases(
        out,
        _drafts(rows, paths, lists, key),
        domain=DOMAIN,
        config={**config, "key": key.fingerprint},
        notes=NOTES,
        data_use="open",
        on_bad=on_bad,
        overwrite=overwrite,
        key=key,
        root=root,
    )


def _lists(root: Path) -> dict[str, Split]:
    found: dict[str, Split] = {}
    for name, split in LISTS.items():
        path = root / name
        if not path.is_file():
            raise DataError("the official list is missing", "Fetch it, or use --set split=none.", file=path)
        for line, picture in enumerate(path.read_text("utf-8").split("\n"), start=1):
            if picture.strip() and found.setdefault(picture.strip(), split) != split:
                raise DataError("the picture is in both official lists", "Fetch them again.", file=path, line=line)
    return found


def _path(root: Path, row: Row, places: dict[str, Path]) -> Path:
    name = row["Image Index"]
    contained(root, name, file=row.file, line=row.line, field="Image Index")
    return places.get(name, root / "images" / name)


def _labels(row: Row) -> list[str]:
    labels = row["Finding Labels"].split("|")
    for label in labels:
        if label not in CONCEPTS and label not in ONLY_LISTED and label != NORMAL:
            raise row.error(f"unknown label {label!r}", "Restore the table.", "Finding Labels")
    if NORMAL in labels and len(labels) > 1:
        raise row.error(f"{NORMAL} beside other labels", "Restore the table.", "Finding Labels")
    return labels


def nih_findings(labels: list[str]) -> tuple[Known, ...]:
    """Concepts of the logic, from the labels of a picture.

    Example:
        >>> found = {known.concept: known.status for known in nih_findings(["Effusion", "Hernia"])}
        >>> found["pleural_effusion"], found["edema"], found["no_finding"], "lung_opacity" in found
        ('present', 'absent', 'absent', False)
    """
    present = {CONCEPTS[label][0] for label in labels if label in CONCEPTS}
    absent = {concept for concept, exactly in CONCEPTS.values() if exactly} - present
    found = [Known(concept, "present", EXPERT) for concept in sorted(present)]
    found += [Known(concept, "absent", EXPERT) for concept in sorted(absent)]
    return (*found, Known("no_finding", "present" if labels == [NORMAL] else "absent", EXPERT))


def _years(cell: str) -> float | None:
    """An age as the revisions write it: `58`, or `058Y`, `011M`, `004D`."""
    match = re.fullmatch(r"(\d+)([YMD]?)", cell)
    return int(match[1]) / {"Y": 1, "": 1, "M": 12, "D": 365.25}[match[2]] if match else None


def _drafts(rows: list[Row], paths: list[Path], lists: dict[str, Split], key: PatientKey) -> Iterator[CaseDraft]:
    for row, path in zip(rows, paths, strict=True):
        years = _years(row["Patient Age"])
        view = row["View Position"].upper()
        yield CaseDraft(
            id=f"nih-{key.pseudonym('case', row['Image Index'])}",
            pictures=(Picture(path, {"modality": "xray"}),),
            group_id=key.pseudonym("patient", row["Patient ID"]),
            group_kind="patient",
            known=(*nih_findings(_labels(row)), *technique(years, view)),
            split=lists.get(row["Image Index"], "unassigned"),
            attributes=Attributes(sex=sex_of(row["Patient Sex"]), age_band=age_band(years)),
            extra={"views": [view], "labels": _labels(row)},
            counts={"impossible_ages": int(years is None or years > PLAUSIBLE)},
        )
