"""Labels of public chest radiograph sets as findings of the logic `chest_xray`."""

from __future__ import annotations

from collections.abc import Sequence

from data_builders.sources.age_band import age_band
from data_builders.sources.case_writing import Known
from data_builders.sources.tables import Row
from vlmalign.records.finding import Status

DOMAIN = "chest_xray"
TABLE_EXPERT = "dataset_table@1"
CHEXPERT_COLUMNS = {
    "No Finding": "no_finding",
    "Enlarged Cardiomediastinum": "enlarged_cardiomediastinum",
    "Cardiomegaly": "cardiomegaly",
    "Lung Opacity": "lung_opacity",
    "Lung Lesion": "lung_lesion",
    "Edema": "edema",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Atelectasis": "atelectasis",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "pleural_effusion",
    "Pleural Other": "pleural_other",
    "Fracture": "fracture",
    "Support Devices": "support_devices",
}
CHEXPERT_CELLS: dict[str, Status] = {"": "not_assessed", "-1": "uncertain", "0": "absent", "1": "present"}
PROJECTIONS = {"PA": "pa", "AP": "ap", "LATERAL": "lateral", "LL": "lateral", "RL": "lateral"}
FRONTAL_FIRST = ("PA", "AP")


def chexpert_findings(row: Row, expert: str) -> tuple[Known, ...]:
    """The 14 labels of a row: 1 present, 0 absent, -1 uncertain, blank not mentioned and so not assessed.

    Raises:
        DataError: another cell.
    """
    found = []
    for column, concept in CHEXPERT_COLUMNS.items():
        cell = row[column].removesuffix(".0")
        if cell not in CHEXPERT_CELLS:
            raise row.error(f"{row[column]!r} is none of 1, 0, -1 and blank", "Correct the cell.", column)
        found.append(Known(concept, CHEXPERT_CELLS[cell], expert))
    return tuple(found)


def technique(years: float | None, view: str | None) -> tuple[Known, ...]:
    """Age group and projection of the first picture, as far as the table says them.

    The logic reads a cardiothoracic ratio of adults and posteroanterior films only, so both are answers of it.

    Example:
        >>> [(known.concept, known.value) for known in technique(3, "AP")]
        [('age_group', 'child'), ('projection', 'ap')]
        >>> technique(None, "SWIMMERS")
        ()
    """
    band = age_band(years)
    found = []
    if band is not None:
        found.append(Known("age_group", "present", TABLE_EXPERT, "child" if band == "child" else "adult"))
    if projection := PROJECTIONS.get((view or "").upper()):
        found.append(Known("projection", "present", TABLE_EXPERT, projection))
    return tuple(found)


def frontal_first(views: Sequence[str]) -> list[int]:
    """The order in which to show the pictures of a study: PA, AP, then the rest as they come.

    Example:
        >>> frontal_first(["LATERAL", "AP", "PA"])
        [2, 1, 0]
    """
    rank = {view: number for number, view in enumerate(FRONTAL_FIRST)}
    return sorted(range(len(views)), key=lambda k: (rank.get(views[k].upper(), len(rank)), k))


def sex_of(cell: str) -> str | None:
    """`female`, `male` or None, of the words that the tables use.

    Example:
        >>> sex_of("F"), sex_of("Male"), sex_of("Unknown")
        ('female', 'male', None)
    """
    return {"f": "female", "female": "female", "m": "male", "male": "male"}.get(cell.strip().lower())
