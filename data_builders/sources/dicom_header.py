"""What may leave a DICOM header: a short list of values, each checked against what it can be. All else stays.

Identifiers are read for grouping alone and handed over only to be made pseudonyms.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_builders.sources.case_writing import Unreadable
from data_builders.sources.dicom_pixels import check_pixels, group_item, read_dicom

MODALITIES = {
    "CR": "xray", "DX": "xray", "RG": "xray", "PX": "xray", "IO": "xray", "MG": "mammography", "CT": "ct", "MR": ""
    "mri",
    "US": "ultrasound", "OP": "fundus", "OPT": "oct", "OCT": "oct", "SM": "light_microscopy", "GM": "photograph",
    "XC": "photograph", "ES": "endoscopy", "PT": "pet", "NM": "nuclear_medicine", "XA": "angiography",
    "RF": "fluoroscopy", "OT": "unknown", "SC": "unknown",
}  # fmt: skip
SIDES = {"L": "left", "R": "right", "B": "bilateral"}
SEXES = {"F": "female", "M": "male", "O": "other"}
VIEWS = ("PA", "AP", "LL", "RL", "LATERAL", "LLD", "RLD", "LLO", "RLO", "CC", "MLO", "ML", "LM", "LMO")
LIKELY_BURNED_IN = ("US", "SC", "OT", "XC", "ES")  # pictures into which devices and people write
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SPACINGS = {"PixelSpacing": "patient", "ImagerPixelSpacing": "detector", "NominalScannedPixelSpacing": "film"}
AGE = re.compile(r"(\d{3})([YMWD])")
DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")


@dataclass(frozen=True)
class Header:
    """One file. The identifiers are not shown by `repr`, and must not be written anywhere."""

    file: Path
    patient: str = field(repr=False)
    study: str = field(repr=False)
    series: str = field(repr=False)
    instance: str = field(repr=False)
    number: int = field(repr=False)
    frames: int
    modality: str
    view: str | None
    laterality: str | None
    sex: str | None
    years: float | None
    burned_in: str  # "no" | "yes" | "likely" | "unknown"
    recognizable: bool  # a face, say
    spacing: tuple[float, float] | None
    spacing_of: str | None  # patient | detector | film


def read_header(path: Path) -> Header:
    """Read what is needed of a file's header.

    Raises:
        Unreadable: see `read_dicom` and `check_pixels`.
    """
    dataset = read_dicom(path, pixels=False)
    check_pixels(dataset, path)
    code = str(dataset.get("Modality", "") or "").upper()
    view = str(dataset.get("ViewPosition", "") or "").upper()
    spacing, spacing_of = _spacing(dataset)
    instance = str(dataset.get("SOPInstanceUID", "") or "")
    if not instance:
        raise Unreadable.because("not_dicom", "the file has no instance UID", "Fetch it again.", file=path)
    patient = str(dataset.get("PatientID", "") or "").strip()
    issuer = str(dataset.get("IssuerOfPatientID", "") or "").strip()
    return Header(
        file=path,
        patient=f"{issuer}\0{patient}" if patient else "",
        study=str(dataset.get("StudyInstanceUID", "") or ""),
        series=str(dataset.get("SeriesInstanceUID", "") or ""),
        instance=instance,
        number=_whole(dataset.get("InstanceNumber"), 0),
        frames=max(1, _whole(dataset.get("NumberOfFrames"), 1)),
        modality=MODALITIES.get(code, "unknown"),
        view=view if view in VIEWS else None,
        laterality=_side(dataset),
        sex=SEXES.get(str(dataset.get("PatientSex", "") or "").upper()),
        years=_years(dataset),
        burned_in=_burned_in(dataset, code),
        recognizable=_yes(dataset, "RecognizableVisualFeatures"),
        spacing=spacing,
        spacing_of=spacing_of,
    )


def _whole(value: Any, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


def _side(dataset: Any) -> str | None:
    anatomy = group_item(dataset, 0, "FrameAnatomySequence")
    for holder, name in ((dataset, "ImageLaterality"), (anatomy, "FrameLaterality"), (dataset, "Laterality")):
        side = SIDES.get(str(holder.get(name, "") or "").upper()) if holder is not None else None
        if side:
            return side
    return None


def _spacing(dataset: Any) -> tuple[tuple[float, float] | None, str | None]:
    """Spacing (row, column) in millimetres, and of what: patient, detector (not corrected) or film."""
    measures = group_item(dataset, 0, "PixelMeasuresSequence")
    for name, of in SPACINGS.items():
        for holder in (measures, dataset):
            try:
                row, column = (float(part) for part in holder.get(name))
            except (AttributeError, TypeError, ValueError):
                continue
            if math.isfinite(row) and math.isfinite(column) and row > 0 and column > 0:
                return (row, column), of
    return None, None


def _years(dataset: Any) -> float | None:
    """The age as the file says it, else from the dates of birth and study."""
    told = AGE.fullmatch(str(dataset.get("PatientAge", "") or ""))
    if told:
        return int(told[1]) / {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}[told[2]]
    born, seen = (DATE.fullmatch(str(dataset.get(name, "") or "")) for name in ("PatientBirthDate", "StudyDate"))
    if not born or not seen:
        return None
    whole = int(seen[1]) - int(born[1])
    return float(whole - ((seen[2], seen[3]) < (born[2], born[3])))


def _yes(dataset: Any, name: str) -> bool:
    return str(dataset.get(name, "") or "").upper() == "YES"


def _burned_in(dataset: Any, code: str) -> str:
    told = str(dataset.get("BurnedInAnnotation", "") or "").upper()
    if told in ("YES", "NO"):
        return told.lower()
    captured = str(dataset.get("SOPClassUID", "")).startswith(SECONDARY_CAPTURE) or dataset.get("ConversionType")
    return "likely" if captured or code in LIKELY_BURNED_IN else "unknown"
