from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from data_builders.sources import build_cxr
from data_builders.sources.cxr_anatomy import MIDDLE, chest_of
from data_builders.sources.cxr_drawing import LABELS, Drawing, columns, draw_cxr
from data_builders.sources.cxr_scene import Scene, intended_answers, sample_scene
from vlmalign.clinical import answers_from_findings, is_consistent, load_logic
from vlmalign.records import Case, DataError, Finding, RecordFolder, read_records
from vlmalign.records.validation import validate_folder

LOGIC = load_logic("chest_xray")
SIZE = 192
NEVER = {"projection": {"lateral"}, "pneumonia": {"present"}}  # what the phantom cannot show


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Scene, Drawing]]:
    scenes = [sample_scene(6, group, 0) for group in range(70)]
    return [(scene, draw_cxr(scene, SIZE)) for scene in scenes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RecordFolder[Case]:
    return RecordFolder(build_cxr(tmp_path_factory.mktemp("c") / "a", n_groups=25, seed=6, size=128), Case)


def found(case: Case) -> dict[str, Finding]:
    assert case.reference is not None
    return {finding.concept: finding for finding in case.reference.findings}


def scene_of(case: Case) -> Scene:
    return sample_scene(6, case.extra["person"], case.extra["film"])


def test_findings_give_the_answers_that_a_film_is_drawn_for(folder: RecordFolder[Case]) -> None:
    for case in folder:
        assert case.reference is not None
        read = answers_from_findings(LOGIC, case.reference.findings)
        answers = intended_answers(scene_of(case))
        assert read.answers == {name: answers[name] for name in LOGIC.order if name in answers}, case.id
        assert is_consistent(LOGIC, read.answers)
        assert not read.unused and not read.uncertain


def test_every_intended_path_is_consistent_and_every_value_but_the_named_ones_occurs() -> None:
    seen: dict[str, set[str]] = {}
    for group in range(500):
        answers = intended_answers(sample_scene(1, group, 0))
        assert group >= 250 or is_consistent(LOGIC, answers), answers
        for concept, value in answers.items():
            seen.setdefault(concept, set()).add(value)
    assert seen == {name: set(LOGIC.concepts[name].values) - NEVER.get(name, set()) for name in LOGIC.order}


def test_the_heart_is_judged_on_adult_erect_straight_pa_films_in_full_inspiration_only(
    folder: RecordFolder[Case],
) -> None:
    wanted = {"age_group": "adult", "projection": "pa", "position": "erect", "inspiration": "adequate"}
    wanted["rotation"] = "straight"
    judged = set()
    for case in folder:
        truth = found(case)
        allowed = all(truth[name].value == value for name, value in wanted.items())
        answers = answers_from_findings(LOGIC, truth.values())
        assert ("cardiomegaly" in answers.answers) == ("cardiomegaly_severity" in answers.answers) == allowed
        assert truth["cardiothoracic_ratio"].value > 0.3  # type: ignore[operator]
        judged.add(allowed)
    assert judged == {True, False}


def test_labels_have_the_cardiothoracic_ratio_within_a_pixel(drawn: list[tuple[Scene, Drawing]]) -> None:
    for scene, drawing in drawn:
        chest = chest_of(scene)
        heart = columns(drawing.labels == LABELS["heart"])
        assert heart == pytest.approx(chest.heart_width * SIZE / 192, abs=1.01)
        assert drawing.ratio == heart / columns(drawing.labels > 0)
        assert drawing.ratio == pytest.approx(scene.ratio, abs=1.5 / chest.width)


def test_sides_of_masks_are_the_patients_sides(drawn: list[tuple[Scene, Drawing]]) -> None:
    for scene, drawing in drawn:
        left = np.arange(SIZE)[None, :] > MIDDLE * SIZE / 192  # the patient's left is on the right
        sided = {"pleural_effusion": set(scene.effusions), "pneumothorax": set(scene.pneumothoraces)}
        sided["lung_opacity"] = {opacity.side for opacity in scene.opacities}
        for name, sides in sided.items():
            assert (name in drawing.signs) == bool(sides)
            if sides:
                mask = drawing.signs[name]
                assert {s for s, half in (("left", left), ("right", ~left)) if (mask & half).sum() > 8} == sides


def test_the_surface_of_an_effusion_lies_where_it_was_put(drawn: list[tuple[Scene, Drawing]]) -> None:
    """Half-way across, the meniscus is 5 - 14 / 8 below the level; the level is a share of apex to dome."""
    tried = 0
    for scene, drawing in drawn:
        chest = chest_of(scene)
        for side, level in scene.effusions.items():
            if scene.position == "supine" or scene.effusion_size == "small":
                continue
            sign = 1 if side == "left" else -1
            column = round(MIDDLE + sign * 0.5 * chest.half_widths[side] - 0.5)
            top = np.flatnonzero(drawing.signs["pleural_effusion"][:, column])
            if not (drawing.labels[:, column] == LABELS["heart"]).any():
                wanted = chest.domes[side] - level * (chest.domes[side] - chest.apex) + 5 - 14 / 8
                assert top[0] + 0.5 == pytest.approx(wanted, abs=1.01)
                tried += 1
    assert tried > 2


def test_larger_sizes_take_more_of_the_pleural_space() -> None:
    shares: dict[tuple[str, str], list[float]] = {}
    for group in range(260):
        scene = sample_scene(2, group, 0)
        if not (scene.effusions or scene.pneumothoraces) or len(shares.get(("x", "x"), [])) > 60:
            continue
        drawing = draw_cxr(scene, 128)
        for name, size, sides in (
            ("effusion " + scene.position, scene.effusion_size, scene.effusions),
            ("pneumothorax", scene.pneumothorax_size, scene.pneumothoraces),
        ):
            for side in sides:
                space = drawing.labels == LABELS[f"{side}_lung"]
                mask = drawing.signs["pneumothorax" if name == "pneumothorax" else "pleural_effusion"]
                shares.setdefault((name, size), []).append(float(mask[space].mean()))
                shares.setdefault(("x", "x"), []).append(1)
    for name in ("effusion erect", "effusion supine", "pneumothorax"):
        small, moderate, large = (shares[name, size] for size in ("small", "moderate", "large"))
        assert 0 < min(small) <= max(small) < min(moderate) <= max(moderate) < min(large), name


def surround(mask: NDArray[np.bool_], within: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return binary_dilation(mask, iterations=8) & ~binary_dilation(mask, iterations=2) & within


def test_lungs_heart_findings_and_devices_are_visible(drawn: list[tuple[Scene, Drawing]]) -> None:
    contrast: dict[str, list[float]] = {}
    for _, drawing in drawn:
        shown = drawing.image.astype(float)
        lungs = (drawing.labels == 1) | (drawing.labels == 2)
        heart = drawing.labels == LABELS["heart"]
        if not drawing.signs:
            contrast.setdefault("heart", []).append(shown[heart].mean() - shown[surround(heart, lungs)].mean())
            contrast.setdefault("lungs", []).append(shown[lungs].mean() - shown[surround(lungs, ~lungs)].mean())
        for name, mask in drawing.signs.items():
            device = name in ("central_line", "cardiac_device", "airway", "gastric", "chest", "fracture")
            around = surround(mask, np.ones_like(lungs) if device else lungs)
            if name == "fracture" or around.sum() < 12:
                continue
            inside = mask if device else mask & lungs
            contrast.setdefault(name, []).append(shown[inside].mean() - shown[around].mean())
    assert min(contrast["heart"]) > 40
    assert max(contrast["lungs"]) < -40
    assert max(contrast["pneumothorax"]) < -6
    for name in ("lung_opacity", "consolidation", "atelectasis", "lung_lesion", "edema"):
        assert np.mean(contrast[name]) > 12, name
    for name in ("pleural_effusion", "pleural_other", "cardiac_device"):
        assert np.mean(contrast[name]) > 20, name
    for name in ("central_line", "airway", "gastric", "chest"):
        assert min(contrast[name]) > 3, name


def test_a_fracture_changes_its_place_and_no_mask_of_the_lungs() -> None:
    broken = [scene for scene in (sample_scene(6, group, 0) for group in range(150)) if scene.fracture is not None]
    assert {scene.fracture[1] for scene in broken if scene.fracture} == {"rib", "clavicle"}
    for scene in broken[:8]:
        whole, hurt = draw_cxr(replace(scene, fracture=None)), draw_cxr(scene)
        changed = np.abs(whole.image.astype(float) - hurt.image.astype(float))
        assert np.percentile(changed[hurt.signs["fracture"]], 95) > 10
        assert "fracture" not in whole.signs and (whole.labels == hurt.labels).all()


def test_masks_on_disk_hold_what_the_findings_say(folder: RecordFolder[Case]) -> None:
    for case in folder:
        truth = found(case)
        assert set(truth) == {"cardiothoracic_ratio", *LOGIC.order} - {"cardiomegaly", "no_finding"}
        for name, finding in truth.items():
            placed = finding.region is not None and finding.region.mask is not None
            if name in ("lung_opacity", "pneumothorax", "fracture", "tube", "support_devices"):
                assert placed == (finding.status == "present"), name
            if finding.region is not None and finding.region.mask is not None:
                with folder.image(case.images[0].model_copy(update={"path": finding.region.mask})) as picture:
                    mask = np.asarray(picture) == finding.region.label
                assert mask.sum() > 8, name
                if name == "cardiothoracic_ratio":
                    with folder.image(case.images[0].model_copy(update={"path": finding.region.mask})) as picture:
                        assert finding.value == columns(mask) / columns(np.asarray(picture) > 0)


def test_the_folder_is_sound_and_a_person_is_one_group(folder: RecordFolder[Case]) -> None:
    assert validate_folder(folder.path) == []
    groups: dict[str, set[int]] = {}
    for case in folder:
        groups.setdefault(case.group_id, set()).add(case.extra["person"])
    assert len(groups) == 25 and all(len(persons) == 1 for persons in groups.values())
    assert "none" in folder.manifest.notes["patients"]


def test_a_person_is_the_same_whatever_else_is_built(tmp_path: Path, folder: RecordFolder[Case]) -> None:
    few = read_records(build_cxr(tmp_path / "few", n_groups=1, first_group=2, seed=6, size=128), Case)
    assert few == [case for case in folder if case.extra["person"] == 2]


def test_an_interrupted_build_ends_with_the_same_bytes(tmp_path: Path, killed, bytes_of) -> None:  # type: ignore[no-untyped-def]
    whole = build_cxr(tmp_path / "whole", n_groups=3, size=128)
    killed(lambda: build_cxr(tmp_path / "cut", n_groups=3, size=128), 2)
    cut = build_cxr(tmp_path / "cut", n_groups=3, size=128)
    assert bytes_of(whole) == bytes_of(cut)
    with pytest.raises(DataError, match="films_per_group: 2 there, 1 here"):
        build_cxr(tmp_path / "cut", n_groups=3, size=128, films_per_group=1)


@pytest.mark.parametrize("setting", [{"n_groups": 0}, {"size": 96}, {"first_group": -1}, {"films_per_group": 0}])
def test_settings_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, setting: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        build_cxr(tmp_path / "a", **{"n_groups": 1, **setting})
    assert not (tmp_path / "a").exists()
