from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from data_builders.sources import bccd, build_bccd
from data_builders.sources.bccd import cells_in_field, field_corners
from data_builders.sources.bccd_groups import OVERLAPS, group_of
from data_builders.sources.pixel_rules import edge_width, focus_of, red_cell_density, stain_of
from data_builders.sources.voc import VocBox, VocPhotograph
from vlmalign.records import Case, DataError, Finding, RecordFolder, read_manifest, read_records
from vlmalign.records.validation import validate_folder

DATA = Path(os.environ.get("VLMALIGN_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "bccd"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="BCCD photographs are absent (VLMALIGN_DATA)")


def photograph(*boxes: tuple[str, tuple[float, float, float, float]]) -> VocPhotograph:
    return VocPhotograph("a_1", Path("a_1.jpg"), 640, 480, tuple(VocBox(*box) for box in boxes), 0)


def some_photographs(target: Path, numbers: Iterable[int]) -> Path:
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (target / folder).mkdir(parents=True)
        for number in numbers:
            name = f"BloodImage_{number:05d}.{suffix}"
            (target / folder / name).symlink_to((DATA / folder / name).resolve())
    return target


def found(case: Case) -> dict[str, Finding]:
    assert case.reference is not None
    return {finding.concept: finding for finding in case.reference.findings}


def test_fields_are_centred_and_do_not_overlap() -> None:
    corners = field_corners(640, 480, 208)
    assert corners == [
        (0, 0, 8, 32),
        (0, 1, 216, 32),
        (0, 2, 424, 32),
        (1, 0, 8, 240),
        (1, 1, 216, 240),
        (1, 2, 424, 240),
    ]


def test_boxes_are_clipped_to_the_field_and_counted_by_their_share() -> None:
    cells = cells_in_field(
        photograph(
            ("RBC", (90, 0, 110, 20)),  # half inside: counted
            ("RBC", (91, 0, 111, 20)),  # 45 %: cut
            ("Platelets", (0, 91, 10, 107)),  # 56 %: cut
            ("Platelets", (0, 90, 10, 106)),  # 62 %: counted
            ("WBC", (80, 80, 120, 100)),  # half
            ("WBC", (100, 100, 120, 120)),  # outside, touching
        ),
        0,
        0,
        100,
    )
    assert cells.counted["red_cell"] == [(90.0, 0.0, 100.0, 20.0)]
    assert cells.counted["platelet"] == [(0.0, 90.0, 10.0, 100.0)]
    assert cells.counted["leukocyte"] == [(80.0, 80.0, 100.0, 100.0)]
    assert cells.cut == {"red_cell": 1, "platelet": 1}


def test_cover_is_the_union_of_inscribed_ellipses() -> None:
    one = cells_in_field(photograph(("RBC", (10, 10, 70, 50))), 0, 0, 100)
    twice = cells_in_field(photograph(("RBC", (10, 10, 70, 50)), ("RBC", (10, 10, 70, 50))), 0, 0, 100)
    half = cells_in_field(photograph(("RBC", (70, 10, 130, 50))), 0, 0, 100)
    assert one.red_cell_cover == pytest.approx(np.pi * 30 * 20 / 100**2, abs=0.002)
    assert twice.red_cell_cover == one.red_cell_cover
    assert half.red_cell_cover == pytest.approx(one.red_cell_cover / 2, abs=0.002)


def test_linked_blocks_form_one_group_and_others_their_own() -> None:
    assert group_of(204, 10) == group_of(276, 10) == 20
    assert group_of(165, 10) == group_of(193, 10) == 16
    assert group_of(5, 10) == 0 and group_of(15, 10) == 1
    for one, other in OVERLAPS:
        for block in (1, 7, 10, 50):
            assert group_of(one, block) == group_of(other, block)


def test_a_blurred_step_is_measured_and_a_flat_field_is_not() -> None:
    step = np.zeros((96, 96, 3))
    step[:, 48:] = 150
    for sigma in (2, 4, 6):
        soft = Image.fromarray(gaussian_filter(step, (sigma, sigma, 0)).astype(np.uint8))
        assert edge_width(soft) == pytest.approx(sigma, abs=0.7)
        assert focus_of(soft) == ("sharp" if sigma < 3.4 else "blurred")
    assert focus_of(Image.new("RGB", (96, 96), (200, 200, 200))) is None


def test_stain_does_not_depend_on_how_many_cells_there_are() -> None:
    for width in (20, 60):
        field = np.full((96, 96, 3), 220, dtype=np.uint8)
        field[:, :width] = (200, 160, 158)
        assert red_cell_density(Image.fromarray(field)) == pytest.approx(np.log(221 / 161), abs=1e-3)
        assert stain_of(Image.fromarray(field)) == "dark"
    assert stain_of(Image.new("RGB", (96, 96), (220, 220, 220))) is None


def test_nuclei_do_not_decide_the_stain() -> None:
    field = np.full((96, 96, 3), 220, dtype=np.uint8)
    field[:, :20] = (200, 178, 176)
    pale = stain_of(Image.fromarray(field))
    field[:, 40:80] = (90, 40, 150)
    assert pale == stain_of(Image.fromarray(field)) == "pale"


@pytest.mark.parametrize("setting", [{"field": 4}, {"block": 0}, {"limit": -1}])
def test_settings_out_of_range_are_refused(tmp_path: Path, setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        build_bccd(tmp_path, tmp_path / "out", **setting)  # type: ignore[arg-type]


def test_limit_zero_is_refused_rather_than_read_as_no_limit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="limit is 0"):
        build_bccd(tmp_path, tmp_path / "out", limit=0)


@needs_data
def test_six_fields_per_photograph_with_findings_a_source_can_know(tmp_path: Path) -> None:
    data = some_photographs(tmp_path / "data", [0, 1, 12])
    folder = RecordFolder(build_bccd(data, tmp_path / "out"), Case)
    cases = list(folder)
    assert len(cases) == 18 and validate_folder(folder.path) == []
    assert {case.group_kind for case in cases} == {"photograph_block"}
    assert len({case.group_id for case in cases}) == 2
    for case in cases:
        truth = found(case)
        assert "leukocyte_kind" not in truth
        assert truth["focus"].expert == "pixel_rule@1"
        assert truth["red_cell_count"].expert == "bccd_annotation@1"
        for finding in truth.values():
            for x0, y0, x1, y1 in finding.region.boxes if finding.region else ():
                assert 0 <= x0 < x1 <= 208 and 0 <= y0 < y1 <= 208


@needs_data
def test_pixels_of_a_field_are_those_of_the_photograph(tmp_path: Path) -> None:
    data = some_photographs(tmp_path / "data", [0])
    folder = RecordFolder(build_bccd(data, tmp_path / "out"), Case)
    last = list(folder)[-1]
    whole = np.asarray(Image.open(data / "JPEGImages" / "BloodImage_00000.jpg"))
    assert np.array_equal(np.asarray(folder.image(last.images[0])), whole[240:448, 424:632])


@needs_data
def test_the_two_degenerate_boxes_are_refused_by_default_and_counted_when_skipped(tmp_path: Path) -> None:
    data = some_photographs(tmp_path / "data", [337, 338, 343])
    with pytest.raises(DataError, match=r"BloodImage_00338.xml.*has no area.*--on-bad skip"):
        build_bccd(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert read_manifest(build_bccd(data, tmp_path / "out", on_bad="skip")).counts["bad_boxes"] == 2


@needs_data
def test_a_build_that_is_killed_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = some_photographs(tmp_path / "data", [0, 1])
    whole = build_bccd(data, tmp_path / "whole")
    cut = bccd.cells_in_field
    calls = 0

    def killed(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        return cut(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bccd, "cells_in_field", killed)
    with pytest.raises(KeyboardInterrupt):
        build_bccd(data, tmp_path / "cut")
    monkeypatch.undo()
    build_bccd(data, tmp_path / "cut")
    for name in ("records.jsonl", "manifest.json"):
        assert (whole / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


@needs_data
def test_a_photograph_without_any_red_cell_box_is_not_assessed_for_red_cells(tmp_path: Path) -> None:
    number = next(
        int(path.stem.rpartition("_")[2])
        for path in sorted((DATA / "Annotations").glob("*.xml"))
        if "RBC" not in path.read_text()
    )
    data = some_photographs(tmp_path / "data", [number])
    for case in read_records(build_bccd(data, tmp_path / "out"), Case):
        truth = found(case)
        assert truth["red_cell_count"].status == truth["red_cell_cover"].status == "not_assessed"
        assert truth["red_cell_cover"].value is None
        assert truth["platelet_count"].status in ("present", "absent")


@needs_data
@pytest.mark.parametrize(("one", "other", "down", "right"), [(244, 247, -48, 146), (204, 277, 70, -70)])
def test_listed_overlaps_show_the_same_cells(one: int, other: int, down: int, right: int) -> None:
    def detail(number: int) -> np.ndarray:
        path = DATA / "JPEGImages" / f"BloodImage_{number:05d}.jpg"
        green = np.asarray(Image.open(path), dtype=float)[..., 1]
        return gaussian_filter(green, 2) - gaussian_filter(green, 16)

    a, b = detail(one), detail(other)
    height, width = a.shape[0] - abs(down), a.shape[1] - abs(right)
    a = a[max(down, 0) :, max(right, 0) :][:height, :width]
    b = b[max(-down, 0) :, max(-right, 0) :][:height, :width]
    assert (one, other) in OVERLAPS
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.85
    assert np.corrcoef(a.ravel(), detail(0)[:height, :width].ravel())[0, 1] < 0.4
