from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_builders.sources.retina_masks import build_retina_masks
from vlmalign.records import Case, DataError, RecordFolder, read_manifest, read_records
from vlmalign.records.validation import validate_folder

DATA = Path(os.environ.get("VLMALIGN_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "chase_db1"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="CHASE_DB1 is absent (VLMALIGN_DATA)")


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def photograph(shade: int) -> np.ndarray:
    return np.full((10, 12, 3), shade, dtype=np.uint8)


@pytest.fixture
def chase(tmp_path: Path) -> Path:
    """Two children, three photographs; vessels fill a fifth of the picture and two fifths of the field of view."""
    root = tmp_path / "chase"
    vessels, field = np.zeros((10, 12), dtype=np.uint8), np.zeros((10, 12), dtype=np.uint8)
    vessels[:2], field[:5] = 255, 255
    for shade, name in enumerate(("Image_01L", "Image_01R", "Image_02L")):
        save(root / "images" / f"{name}.jpg", photograph(shade * 40))
        save(root / "observer1" / f"{name}_1stHO.png", vessels)
        save(root / "observer2" / f"{name}_2ndHO.png", vessels[::-1])
        save(root / "fov" / f"{name}.png", field)
    return root


def test_eyes_of_one_child_stay_together_and_observers_stay_apart(chase: Path, tmp_path: Path) -> None:
    folder = RecordFolder(build_retina_masks(chase, tmp_path / "out", layout="chase_db1"), Case)
    left, right, other = folder
    assert validate_folder(folder.path) == []
    assert left.group_id == right.group_id != other.group_id and left.group_kind == "patient"
    assert [case.images[0].laterality for case in (left, right, other)] == ["left", "right", "left"]
    vessels = {f.expert: f for f in left.reference.findings if f.concept == "vessels"}
    assert vessels["observer1@1"].value == pytest.approx(0.4) and vessels["observer2@1"].value == 0.0
    mask = np.asarray(folder.image(left.images[0].model_copy(update={"path": vessels["observer1@1"].region.mask})))
    assert set(np.unique(mask)) == {0, 1} and mask.sum() == 24


def test_a_flat_folder_of_the_same_names_is_read_too(chase: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in [*chase.glob("images/*"), *chase.glob("observer?/*")]:
        (flat / file.name).write_bytes(file.read_bytes())
    cases = read_records(build_retina_masks(flat, tmp_path / "out", layout="chase_db1"), Case)
    assert len(cases) == 3 and cases[0].reference.findings[0].value == pytest.approx(0.2)


def test_a_missing_mask_stops_the_build_or_leaves_the_photograph_out(chase: Path, tmp_path: Path) -> None:
    (chase / "observer1/Image_01R_1stHO.png").unlink()
    with pytest.raises(DataError, match="Image_01R_1stHO.png: the image file is missing"):
        build_retina_masks(chase, tmp_path / "out", layout="chase_db1")
    out = build_retina_masks(chase, tmp_path / "skip", layout="chase_db1", on_bad="skip")
    assert read_manifest(out).counts["skipped"] == 1 and len(read_records(out, Case)) == 2
    assert "Image_01R_1stHO.png" in (out / "skipped.jsonl").read_text()


def test_a_mask_of_another_size_is_named(chase: Path, tmp_path: Path) -> None:
    save(chase / "observer1/Image_02L_1stHO.png", np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(DataError, match="the mask has 4 x 4 pixels, its picture 12 x 10"):
        build_retina_masks(chase, tmp_path / "out", layout="chase_db1")


def test_drive_has_its_split_and_its_masks_by_number(tmp_path: Path) -> None:
    root = tmp_path / "DRIVE"
    vessels = np.zeros((10, 12), dtype=np.uint8)
    vessels[0] = 255
    for part, number in (("training", "21"), ("test", "01")):
        save(root / f"{part}/images/{number}_{part}.tif", photograph(int(number)))
        save(root / f"{part}/1st_manual/{number}_manual1.gif", vessels)
        save(root / f"{part}/mask/{number}_{part}_mask.gif", np.full((10, 12), 255, dtype=np.uint8))
    out = build_retina_masks(root, tmp_path / "out", layout="drive", split="official")
    test, train = read_records(out, Case)
    assert (test.split, train.split) == ("test", "train") and train.group_kind == "image"
    assert {f.concept for f in train.reference.findings} == {"vessels", "field_of_view"}
    assert train.images[0].path.endswith(".png") and read_manifest(out).data_use == "local_only"


def test_refuge_masks_give_disc_cup_and_their_vertical_ratio(tmp_path: Path) -> None:
    root = tmp_path / "REFUGE"
    mask = np.full((10, 12), 255, dtype=np.uint8)
    mask[1:9, 2:10] = 128
    mask[3:7, 4:6] = 0
    save(root / "train/Images/g0001.jpg", photograph(3))
    save(root / "train/gts/g0001.bmp", mask)
    (case,) = read_records(build_retina_masks(root, tmp_path / "out", layout="refuge"), Case)
    found = {f.concept: f for f in case.reference.findings}
    assert found["vertical_cup_disc_ratio"].value == 0.5 and case.extra["label"] == "glaucoma"
    assert found["optic_disc"].region.mask != found["optic_cup"].region.mask


def test_another_layout_is_given_by_expression_and_templates(tmp_path: Path) -> None:
    root = tmp_path / "own"
    save(root / "p7_OD.png", photograph(9))
    save(root / "vessels/p7_OD_v.png", np.ones((10, 12), dtype=np.uint8))
    own = {"pictures": r"p(?P<patient>\d+)_(?P<eye>O[DS])\.png", "masks": {"vessels": "vessels/{name}_v.png"}}
    (case,) = read_records(build_retina_masks(root, tmp_path / "out", layout="drive", **own), Case)
    assert case.images[0].laterality == "right" and case.group_kind == "patient"
    with pytest.raises(DataError, match="leaves the data folder"):
        build_retina_masks(
            root, tmp_path / "b", layout="drive", pictures=own["pictures"], masks={"v": "../{name}"}
        )
    with pytest.raises(ValueError, match="cannot be filled"):
        build_retina_masks(
            root, tmp_path / "c", layout="drive", pictures=own["pictures"], masks={"v": "{eyes}.png"}
        )


@needs_data
def test_all_28_photographs_of_14_children_are_read(tmp_path: Path) -> None:
    out = build_retina_masks(DATA, tmp_path / "out", layout="chase_db1")
    cases = read_records(out, Case)
    assert len(cases) == 28 and len({case.group_id for case in cases}) == 14
    assert not (out / "skipped.jsonl").exists()
    shares = [f.value for case in cases for f in case.reference.findings if f.concept == "vessels"]
    assert len(shares) == 56 and 0.05 < min(shares) < max(shares) < 0.2
