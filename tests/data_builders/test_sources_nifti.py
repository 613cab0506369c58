from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_builders.sources.nifti import build_nifti
from vlmalign.records import Case, DataError, RecordFolder, read_manifest, read_records
from vlmalign.records.validation import validate_folder

nibabel = pytest.importorskip("nibabel")
MARKED = np.zeros((4, 5, 6), dtype=np.int16)
MARKED[3, 4, 5] = 1000  # in RAS+: right, front, head


def write(
    path: Path, values: np.ndarray = MARKED, codes: str = "RAS", spacing: tuple[float, ...] = (1, 2, 3)
) -> None:
    """The same body, stored with its axes in another order or direction."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    path.parent.mkdir(parents=True, exist_ok=True)
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    affine = np.diag([*spacing, 1.0]) @ inv_ornt_aff(turn, values.shape[:3])
    image = nibabel.Nifti1Image(apply_orientation(values, turn), affine)
    image.header["descrip"] = b"DOE JANE"
    nibabel.save(image, path)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
@pytest.mark.parametrize(
    ("axis", "number", "shape", "spacing"),
    [("axial", 5, (5, 4), (2, 1)), ("coronal", 4, (6, 4), (3, 1)), ("sagittal", 3, (6, 5), (3, 2))],
)
def test_right_front_and_head_are_upper_left_however_the_file_is_stored(
    tmp_path: Path, codes: str, axis: str, number: int, shape: tuple[int, int], spacing: tuple[float, float]
) -> None:
    write(tmp_path / "data/a.nii.gz", codes=codes)
    out = build_nifti(
        tmp_path / "data", tmp_path / "out", domain="ct", axis=axis, slices=[number], window=[500.0, 1000.0]
    )
    folder = RecordFolder(out, Case)
    (case,) = folder
    pixels = np.asarray(folder.image(case.images[0]))
    assert pixels.shape == shape and pixels[0, 0] == 255 and (pixels > 0).sum() == 1
    assert case.images[0].spacing_mm == spacing and case.images[0].frame == number


def test_slices_are_evenly_spaced_and_patients_found_in_the_path(tmp_path: Path) -> None:
    values = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    for name in ("p1/a", "p1/b", "p2/a"):
        write(tmp_path / f"data/{name}.nii", values)
    out = build_nifti(tmp_path / "data", tmp_path / "out", domain="ct", group=r"^(?P<patient>p\d)/")
    cases = read_records(out, Case)
    assert validate_folder(out) == [] and [image.frame for image in cases[0].images] == [1, 3, 5]
    assert cases[0].group_id == cases[1].group_id != cases[2].group_id
    assert all(b"DOE" not in file.read_bytes() for file in out.rglob("*") if file.is_file())


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "data/a.nii")
    (tmp_path / "data/b.nii").write_bytes(b"no volume")
    (tmp_path / "data/c.nii.gz").write_bytes((tmp_path / "data/a.nii").read_bytes())
    with pytest.raises(DataError, match=r"b.nii: not a readable NIfTI file.*--on-bad skip"):
        build_nifti(tmp_path / "data", tmp_path / "out", domain="ct")
    out = build_nifti(tmp_path / "data", tmp_path / "skip", domain="ct", on_bad="skip")
    assert read_manifest(out).counts["skipped_not_nifti"] == 2 and len(read_records(out, Case)) == 1
    with pytest.raises(DataError, match="none of the slices"):
        build_nifti(tmp_path / "data", tmp_path / "far", domain="ct", slices=[99])


def test_a_time_of_a_series_is_chosen_and_a_missing_one_refused(tmp_path: Path) -> None:
    write(tmp_path / "data/a.nii", np.stack([MARKED, MARKED * 0], axis=-1))
    assert len(read_records(build_nifti(tmp_path / "data", tmp_path / "out", domain="ct", volume=1), Case)) == 1
    with pytest.raises(DataError, match="no volume 2"):
        build_nifti(tmp_path / "data", tmp_path / "far", domain="ct", volume=2)
