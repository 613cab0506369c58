from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label

from data_builders.sources import build_smear
from data_builders.sources.smear_drawing import draw_smear
from data_builders.sources.smear_scene import WIDTH, Leukocyte, Scene, sample_scene, sample_slide
from vlmalign.records import Case, DataError, Finding, RecordFolder, read_manifest, read_records
from vlmalign.records.validation import validate_folder


def empty_scene(**changes: object) -> Scene:
    values: dict[str, object] = {
        "slide": sample_slide(0, 0),
        "stain": "normal",
        "strength": 1.0,
        "blur_sigma": 0.0,
        "blurred": False,
        "red_cells": np.zeros((0, 6)),
        "leukocytes": (),
        "platelets": np.zeros((0, 6)),
        "specks": np.zeros((0, 3)),
        "bubbles": np.zeros((0, 3)),
        "texture_seed": 1,
    }
    return Scene(**{**values, **changes})  # type: ignore[arg-type]


def found(case: Case) -> dict[str, Finding]:
    assert case.reference is not None
    return {finding.concept: finding for finding in case.reference.findings}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RecordFolder[Case]:
    return RecordFolder(build_smear(tmp_path_factory.mktemp("smear") / "a", n_groups=30, seed=3), Case)


def test_an_empty_scene_has_no_cells_and_no_cover() -> None:
    drawing = draw_smear(empty_scene())
    assert drawing.counts == {"red_cell": 0, "leukocyte": 0, "platelet": 0}
    assert drawing.red_cell_cover == 0.0
    assert not drawing.labels.any()


def test_cover_of_one_disc_is_its_area() -> None:
    cell = np.array([[48.0, 48.0, 10.0, 10.0, 0.0, 0.5]])
    drawing = draw_smear(empty_scene(red_cells=cell))
    assert drawing.red_cell_cover == pytest.approx(np.pi * 100 / WIDTH**2, rel=0.02)


def test_cover_does_not_depend_on_the_size_of_the_picture() -> None:
    scene = sample_scene(0, 1, 0)
    small, large = draw_smear(scene, 96), draw_smear(scene, 192)
    assert large.image.shape == (192, 192, 3)
    assert small.red_cell_cover == pytest.approx(large.red_cell_cover, abs=0.005)
    assert small.counts == large.counts


@pytest.mark.parametrize(("x", "counted"), [(0.0, 1), (-2.0, 1), (-6.0, 0), (103.0, 0), (200.0, 0)])
def test_a_cell_counts_only_when_a_third_of_it_is_inside(x: float, counted: int) -> None:
    """A disc cut at distance d from its centre shows arccos(d/r)/pi - d sqrt(r^2-d^2)/(pi r^2) of its area.

    r = 10: d = 2 shows 0.37, d = 6 shows 0.14, d = 7 shows 0.09.
    """
    drawing = draw_smear(empty_scene(red_cells=np.array([[x, 48.0, 10.0, 10.0, 0.0, 0.5]])))
    assert drawing.counts["red_cell"] == counted


def test_leukocytes_lie_on_red_cells_and_platelets_on_top() -> None:
    leukocyte = Leukocyte(48, 48, 15, "mononuclear", np.zeros((3, 2)), np.array([[0.0, 0.0, 0.7]]))
    scene = empty_scene(
        red_cells=np.array([[48.0, 48.0, 8.0, 8.0, 0.0, 0.5], [20.0, 20.0, 8.0, 8.0, 0.0, 0.5]]),
        leukocytes=(leukocyte,),
        platelets=np.array([[20.0, 20.0, 4.0, 4.0, 0.0, 0.0]]),
    )
    labels = draw_smear(scene).labels
    assert labels[48, 48] == 2
    assert labels[20, 20] == 3
    assert labels[20, 26] == 1
    assert labels[80, 80] == 0


def test_dark_stain_is_darker_and_pale_stain_lighter() -> None:
    cell = np.array([[48.0, 48.0, 20.0, 20.0, 0.0, 0.0]])
    pale, normal, dark = (
        draw_smear(empty_scene(red_cells=cell, strength=strength)).image[40:56, 40:56, 1].mean()
        for strength in (0.45, 0.95, 2.1)
    )
    assert dark < normal - 20 < pale - 40


def test_blur_lowers_the_sharpest_edge() -> None:
    cell = np.array([[48.0, 48.0, 20.0, 20.0, 0.0, 0.0]])
    sharp, blurred = (
        np.abs(np.diff(draw_smear(empty_scene(red_cells=cell, blur_sigma=s)).image[..., 1].astype(float))).max()
        for s in (0.2, 2.0)
    )
    assert blurred < 0.6 * sharp


def test_a_slide_is_the_same_whatever_else_is_built(tmp_path: Path) -> None:
    few = read_records(build_smear(tmp_path / "few", n_groups=1, first_group=2, seed=5), Case)
    many = read_records(build_smear(tmp_path / "many", n_groups=4, seed=5), Case)
    assert few == [case for case in many if case.extra["slide"] == 2]


def test_another_seed_gives_other_slides_and_other_groups(tmp_path: Path) -> None:
    one = read_records(build_smear(tmp_path / "one", n_groups=2, seed=0), Case)
    two = read_records(build_smear(tmp_path / "two", n_groups=2, seed=1), Case)
    assert not {case.group_id for case in one} & {case.group_id for case in two}
    assert not {case.images[0].sha256 for case in one} & {case.images[0].sha256 for case in two}


def test_fields_of_a_slide_share_one_group(folder: RecordFolder[Case]) -> None:
    groups: dict[str, set[int]] = {}
    for case in folder:
        groups.setdefault(case.group_id, set()).add(case.extra["slide"])
    assert len(groups) == 30
    assert all(len(slides) == 1 for slides in groups.values())


def test_the_folder_is_sound_and_says_that_there_are_no_patients(folder: RecordFolder[Case]) -> None:
    assert validate_folder(folder.path) == []
    assert "none" in folder.manifest.notes["patients"]


def test_findings_agree_with_the_mask(folder: RecordFolder[Case]) -> None:
    for case in folder:
        truth = found(case)
        region = truth["platelet_count"].region
        assert region is not None and region.mask is not None
        with folder.image(case.images[0].model_copy(update={"path": region.mask})) as picture:
            mask = np.asarray(picture)
        assert truth["red_cell_cover"].value == float((mask == 1).mean())
        assert truth["platelet_count"].value == label(mask == 3)[1]  # platelets never touch each other
        assert (truth["leukocyte_count"].value or 0) <= label(mask == 2)[1]  # a sliver is not counted


def test_the_kind_is_known_exactly_when_a_leukocyte_is_counted(folder: RecordFolder[Case]) -> None:
    for case in folder:
        truth = found(case)
        assert ("leukocyte_kind" in truth) == (truth["leukocyte_count"].value > 0)  # type: ignore[operator]
        assert (truth["leukocyte_count"].status == "present") == ("leukocyte_kind" in truth)
        assert {"focus", "stain"} <= set(truth)


def test_every_answer_appears_with_reasonable_frequency() -> None:
    scenes = [sample_scene(7, group, field) for group in range(150) for field in range(2)]
    share = {
        "blurred": np.mean([s.blurred for s in scenes]),
        "pale": np.mean([s.stain == "pale" for s in scenes]),
        "dark": np.mean([s.stain == "dark" for s in scenes]),
        "leukocyte": np.mean([len(s.leukocytes) > 0 for s in scenes]),
        "no platelets": np.mean([len(s.platelets) == 0 for s in scenes]),
        "many platelets": np.mean([len(s.platelets) > 2 for s in scenes]),
    }
    wanted = {"blurred": 0.25, "pale": 0.25, "dark": 0.25, "leukocyte": 0.48, "no platelets": 0.4}
    wanted["many platelets"] = 0.25
    assert share == pytest.approx(wanted, abs=0.1)


def test_an_interrupted_build_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_builders.sources import smear

    whole = build_smear(tmp_path / "whole", n_groups=3, fields_per_group=2)
    draw = smear.draw_smear
    calls = 0

    def killed(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(smear, "draw_smear", killed)
    with pytest.raises(KeyboardInterrupt):
        build_smear(tmp_path / "cut", n_groups=3, fields_per_group=2)
    monkeypatch.undo()
    cut = build_smear(tmp_path / "cut", n_groups=3, fields_per_group=2)
    for name in ("records.jsonl", "manifest.json"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()


def test_other_settings_on_a_complete_folder_are_refused(tmp_path: Path) -> None:
    build_smear(tmp_path / "a", n_groups=1)
    with pytest.raises(DataError, match="n_groups: 1 there, 2 here.*--overwrite"):
        build_smear(tmp_path / "a", n_groups=2)
    build_smear(tmp_path / "a", n_groups=2, overwrite=True)
    assert read_manifest(tmp_path / "a").counts["records"] == 8


@pytest.mark.parametrize("setting", [{"n_groups": 0}, {"fields_per_group": 0}, {"size": 8}, {"first_group": -1}])
def test_settings_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, setting: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        build_smear(tmp_path / "a", **{"n_groups": 1, **setting})
    assert not (tmp_path / "a").exists()
