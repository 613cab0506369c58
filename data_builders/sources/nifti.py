"""Slices of NIfTI volumes, turned to the canonical orientation and shown as a radiologist sees them.

Volumes are reordered to RAS+ (nibabel's closest canonical). Axial slices show the patient's right at the left and
the front at the top; coronal ones the right at the left and the head at the top; sagittal ones the front at the
left and the head at the top. Texts of the header (description, auxiliary file, extensions) stay behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_builders.sources.boxed import group_expression
from data_builders.sources.case_writing import CaseDraft, OnBad, Picture, Unread, Unreadable, write_cases
from data_builders.sources.clinical_names import check_domain
from data_builders.sources.contained import files_below, listing_hash
from data_builders.sources.grey_window import check_view, evenly, full_range, windowed
from data_builders.sources.options import check_shared, one_of
from data_builders.sources.patient_key import NOTE, PatientKey, patient_key
from data_builders.sources.prompt import prompt_bank
from vlmalign.records import DataError

VERSION = 1
AXES = {"sagittal": 0, "coronal": 1, "axial": 2}  # of an array in RAS+
PERCENTILES = (0.5, 99.5)  # of the volume: the range shown where no window is given
OBLIQUE = 0.1  # radians between an axis of the volume and the body's
SUFFIXES = (".nii", ".nii.gz")
NOTES = {
    "licence": "Not known to this reader: local_only until --set data_use says otherwise.",
    "orientation": "RAS+; frame counts slices from the left (sagittal), back (coronal) or feet (axial).",
    "grey": f"The window, or the {PERCENTILES[0]} to {PERCENTILES[1]} percentiles of the volume.",
}


def build_nifti(
    data: str | Path,
    out: str | Path,
    *,
    domain: str,
    axis: str = "axial",
    slices: int | list[int] = 3,
    window: list[float] | None = None,
    volume: int = 0,
    modality: str = "unknown",
    group: str | None = None,
    data_use: str = "local_only",
    key_file: Path | None = None,
    limit: int | None = None,
    on_bad: OnBad = "refuse",
    overwrite: bool = False,
) -> Path:
    """Slices of NIfTI volumes (.nii, .nii.gz) in canonical orientation (extra `nifti`).

    Args:
        data: a folder; every NIfTI file below it is a case.
        out: the dataset folder.
        domain: of the cases.
        axis: "axial", "coronal" or "sagittal".
        slices: so many, evenly spaced, or a list of numbers from 0.
        window: [centre, width] in the volume's units.
        volume: which one of a 4D file.
        modality: of the pictures.
        group: a regular expression with a group `patient`, searched in the path; None: each file its own.
        data_use: where the data may be sent.
        key_file: secret of the pseudonyms, outside of `out`; see `patient_key`.
        limit: only the first so many files.
        on_bad: "skip" leaves out files that cannot be read.
        overwrite: replace a folder built with other settings.

    Raises:
        DataError: no file, a file that cannot be read or has no such slice, a path without a patient.
        ValueError: a setting out of range.
        ImportError: nibabel is not installed.
    """
    check_shared(limit=limit, on_bad=on_bad, data_use=data_use)
    check_domain(domain)
    one_of("axis", axis, AXES)
    check_view("slices", slices, window)
    if volume < 0:
        raise ValueError(f"volume is {volume}: 0 or more is required")
    expression = group_expression(group)
    _nibabel()
    root = Path(data)
    files = files_below(root, SUFFIXES)[:limit]
    if not files:
        raise DataError("the folder holds no .nii or .nii.gz file", "Check --data.", file=root)
    patients = [_patient(root, path, expression) for path in files]
    config = {
        "source": f"nifti@{VERSION}",
        "files_sha256": listing_hash(root, files),
        "files": len(files),
        "axis": axis,
        "slices": slices,
        "window": window,
        "volume": volume,
        "modality": modality,
        "group": group,
        "domain": domain,
        "prompts": prompt_bank(domain),
    }
    key = patient_key(out, key_file, overwrite=overwrite)
    how = "By the paths" if group else "Not known: every file is its own group"
    view = (axis, slices, tuple(window) if window else None, volume)
    return write_cases(
        out,
        _drafts(root, files, patients, view, modality, key),
        domain=domain,
        config={**config, "key": key.fingerprint},
        notes={**NOTES, "patients": f"{how}. {NOTE}"},
        data_use=data_use,
        on_bad=on_bad,
        overwrite=overwrite,
        key=key,
        root=root,
    )


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise ImportError(f"the source `nifti` needs nibabel ({error}): pip install 'vlmalign[nifti]'") from None
    return nibabel


def _patient(root: Path, path: Path, expression: re.Pattern[str] | None) -> str | None:
    if expression is None:
        return None
    match = expression.search(path.relative_to(root).as_posix())
    if match is None:
        raise DataError("the expression of `group` finds no patient in the path", "Correct it.", file=path)
    return match["patient"]


@lru_cache(maxsize=1)  # the slices of one volume are read one after another
def canonical(path: Path, volume: int = 0) -> tuple[NDArray[np.float32], tuple[float, float, float], bool]:
    """A volume in RAS+ (X, Y, Z), its spacing in millimetres, and whether it lies oblique to the body's axes.

    Raises:
        Unreadable: not a NIfTI volume of numbers, or without that volume.
    """
    nibabel = _nibabel()
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        values = np.asanyarray(image.dataobj)
        spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
        oblique = bool(np.nanmax(nibabel.affines.obliquity(image.affine)) > OBLIQUE)
    except Exception as error:  # nibabel raises what its parsing meets; only the kind of it is told
        raise Unreadable.because(
            "not_nifti", f"not a readable NIfTI file ({type(error).__name__})", "Fetch it again.", file=path
        ) from None
    if values.ndim == 4 and volume < values.shape[3]:
        values = values[..., volume]
    if values.ndim != 3 or not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise Unreadable.because(
            "not_nifti", f"no volume {volume} of plain numbers in three dimensions", "Choose another.", file=path
        )
    if not all(np.isfinite(size) and size > 0 for size in spacing) or len(spacing) != 3:
        raise Unreadable.because("not_nifti", "the voxel size is not positive", "Repair the header.", file=path)
    return np.nan_to_num(values.astype(np.float32)), spacing, oblique  # type: ignore[return-value]


def slice_of(values: NDArray[np.float32], axis: str, number: int) -> NDArray[np.float32]:
    """One slice of a volume in RAS+, rows from top to bottom as a radiologist sees it.

    Example:
        >>> volume = np.zeros((3, 4, 5), dtype=np.float32)
        >>> volume[2, 3, 4] = 1  # the patient's right, front and head
        >>> places = {"axial": 4, "coronal": 3, "sagittal": 2}
        >>> [float(slice_of(volume, axis, number)[0, 0]) for axis, number in places.items()]
        [1.0, 1.0, 1.0]
    """
    return np.take(values, number, axis=AXES[axis])[::-1, ::-1].T


def _spacing(spacing: tuple[float, float, float], axis: str) -> tuple[float, float]:
    x, y, z = spacing
    return {"axial": (y, x), "coronal": (z, x), "sagittal": (z, y)}[axis]


def _slice_picture(
    path: Path, volume: int, axis: str, number: int, window: tuple[float, float] | None
) -> Image.Image:
    values, _, _ = canonical(path, volume)
    pixels = slice_of(values, axis, number).astype(np.float64)
    if window is not None:
        return Image.fromarray(windowed(pixels, *window))
    low, high = np.percentile(values, PERCENTILES)
    return Image.fromarray(full_range(pixels, float(low), float(high)))


def _drafts(
    root: Path,
    files: list[Path],
    patients: list[str | None],
    view: tuple[Any, ...],
    modality: str,
    key: PatientKey,
) -> Iterator[CaseDraft | Unread]:
    axis, slices, window, volume = view
    for path, patient in zip(files, patients, strict=True):
        place = key.pseudonym("file", path.relative_to(root).as_posix())
        try:
            values, spacing, oblique = canonical(path, volume)
            numbers = evenly(values.shape[AXES[axis]], slices)
            if not numbers:
                raise Unreadable.because(
                    "no_slice", "the volume has none of the slices", "Choose others.", file=path
                )
        except DataError as error:
            yield Unread(f"nifti-{place}", error)
            continue
        yield CaseDraft(
            id=f"nifti-{place}",
            pictures=tuple(
                Picture(
                    path,
                    {"modality": modality, "frame": number, "spacing_mm": _spacing(spacing, axis)},
                    partial(_slice_picture, path, volume, axis, number, window),
                )
                for number in numbers
            ),
            group_id=place if patient is None else key.pseudonym("patient", patient),
            group_kind="image" if patient is None else "patient",
            extra={"axis": axis, "oblique": oblique},
            counts={"oblique": int(oblique)},
        )
