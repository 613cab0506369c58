from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from data_builders.sources import build_fundus
from data_builders.sources.fundus_drawing import LABELS, Drawing, draw_fundus, rows
from data_builders.sources.fundus_scene import (
    EYES,
    Scene,
    intended_answers,
    intended_answers_of_pair,
    sample_scene,
)
from vlmalign.clinical import answers_from_findings, is_consistent, load_logic
from vlmalign.clinical.between_eyes import compare_eyes
from vlmalign.records import Case, DataError, Finding, RecordFolder, read_records
from vlmalign.records.validation import validate_folder

LOGIC = load_logic("glaucoma_fundus")
SIZE = 192


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Scene, Drawing]]:
    scenes = [sample_scene(4, group, eye) for group in range(30) for eye in EYES]
    return [(scene, draw_fundus(scene, SIZE)) for scene in scenes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RecordFolder[Case]:
    return RecordFolder(build_fundus(tmp_path_factory.mktemp("f") / "a", n_groups=25, seed=4, size=128), Case)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> RecordFolder[Case]:
    path = tmp_path_factory.mktemp("f") / "b"
    return RecordFolder(build_fundus(path, n_groups=25, eyes="both", seed=4, size=128), Case)


def found(case: Case) -> dict[str, Finding]:
    assert case.reference is not None
    return {finding.concept: finding for finding in case.reference.findings}


def scenes_of(case: Case) -> list[Scene]:
    eye = case.extra["eye"]
    return [sample_scene(4, case.extra["person"], e) for e in EYES if eye in (e, "both")]


def intended(case: Case) -> dict[str, str]:
    scenes = scenes_of(case)
    return intended_answers(scenes[0]) if len(scenes) == 1 else intended_answers_of_pair(scenes[0], scenes[1])


def in_order(answers: dict[str, str]) -> dict[str, str]:
    return {name: answers[name] for name in LOGIC.order if name in answers}


def gradable(drawn: list[tuple[Scene, Drawing]]) -> Iterator[Drawing]:
    return (drawing for scene, drawing in drawn if scene.quality != "ungradable")


def beside(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return binary_dilation(mask, iterations=6) & ~binary_dilation(mask, iterations=2)


@pytest.mark.parametrize("shown", ["folder", "pairs"])
def test_findings_give_the_answers_that_a_photograph_is_drawn_for(
    shown: str, request: pytest.FixtureRequest
) -> None:
    cases: RecordFolder[Case] = request.getfixturevalue(shown)
    for case in cases:
        assert case.reference is not None
        read = answers_from_findings(LOGIC, case.reference.findings)
        assert read.answers == in_order(intended(case)), case.id
        assert is_consistent(LOGIC, read.answers)
        assert not read.unused and not read.uncertain
        assert set(read.not_assessed) == set(LOGIC.order) - set(read.answers)


def test_every_intended_path_is_consistent_and_every_value_occurs() -> None:
    seen: dict[str, set[str]] = {}
    for group in range(300):
        right, left = (sample_scene(1, group, eye) for eye in EYES)
        shown = intended_answers(right), intended_answers(left), intended_answers_of_pair(right, left)
        for answers in shown:
            assert is_consistent(LOGIC, answers), answers
            assert set(answers) | {"disc_size"} == set(LOGIC.order)
            for concept, value in answers.items():
                seen.setdefault(concept, set()).add(value)
    assert seen == {name: set(LOGIC.concepts[name].values) for name in LOGIC.order}


def test_labels_have_the_ratio_and_the_size_of_the_disc_within_a_pixel(
    drawn: list[tuple[Scene, Drawing]],
) -> None:
    for scene, drawing in drawn:
        high = scene.disc.diameter / scene.person.field_mm * SIZE
        assert drawing.diameter == pytest.approx(high, abs=1.01)
        assert rows(drawing.labels == LABELS["cup"]) == pytest.approx(scene.disc.ratio * high, abs=1.01)
        assert drawing.ratio == rows(drawing.labels == LABELS["cup"]) / rows(drawing.labels > 0)


def test_the_rim_of_the_labels_is_as_wide_as_recorded_in_every_sector(
    drawn: list[tuple[Scene, Drawing]],
) -> None:
    for scene, drawing in drawn:
        disc = drawing.labels > 0
        scale = scene.disc.diameter / 2 / scene.person.field_mm * SIZE  # pixels per radius of the disc
        ys, xs = np.nonzero(disc)
        y, x = (
            np.mgrid[:SIZE, :SIZE]
            - np.array([(ys.min() + ys.max()) / 2, (xs.min() + xs.max()) / 2])[:, None, None]
        )
        angle = np.arctan2(-y, x if scene.eye == "left" else -x)
        for pole, direction in (("superior", 90), ("nasal", 180), ("inferior", -90), ("temporal", 0)):
            near = np.abs(np.angle(np.exp(1j * (angle - np.radians(direction))))) < np.radians(20)
            area = (near & (drawing.labels == LABELS["rim"])).sum()
            outer = np.sqrt(2 * (near & disc).sum() / np.radians(40))
            width = outer - np.sqrt(max(0.0, outer**2 - 2 * area / np.radians(40)))
            assert width == pytest.approx(scene.disc.sector_widths[pole] * scale, abs=1.0), pole


def test_the_macula_lies_temporally_in_both_eyes(drawn: list[tuple[Scene, Drawing]]) -> None:
    for scene, drawing in drawn:
        if scene.quality != "good" or "rnfl_defect" in scene.signs:
            continue
        third = SIZE // 12
        band = drawing.image[SIZE // 2 - 12 : SIZE // 2 + 24, :, 1].astype(float)
        left, right = band[:, third : 3 * third].mean(), band[:, -3 * third : -third].mean()
        assert (left < right) == (scene.eye == "right")
        assert (np.nonzero(drawing.labels)[1].mean() > SIZE / 2) == (scene.eye == "right")


def test_disc_cup_vessels_and_signs_are_visible(drawn: list[tuple[Scene, Drawing]]) -> None:
    contrast: dict[str, list[float]] = {}
    for drawing in gradable(drawn):
        green = drawing.image[..., 1].astype(float)
        free = ~drawing.vessels
        cup = drawing.labels == LABELS["cup"]
        parts = {**drawing.signs, "disc": drawing.labels > 0, "cup": cup, "vessel": drawing.vessels}
        for name, mask in parts.items():
            inside = mask if name == "vessel" else mask & free
            around = beside(mask) & free & (green > 20)
            contrast.setdefault(name, []).append(green[inside].mean() - green[around].mean())
    assert min(contrast["disc"]) > 15
    assert min(contrast["cup"]) > 8
    assert np.mean(contrast["peripapillary_atrophy"]) > 10
    assert max(contrast["vessel"]) < -8
    assert max(contrast["haemorrhage"]) < -10
    assert np.mean(contrast["rnfl_defect"]) < -8


def test_quality_is_visible(drawn: list[tuple[Scene, Drawing]]) -> None:
    """The steepest edges: sharp in a good photograph, nearly gone in an ungradable one."""
    steep: dict[str, list[float]] = {"good": [], "limited": [], "ungradable": []}
    for scene, drawing in drawn:
        middle = drawing.image[48:144, 48:144, 1].astype(float)
        steep[scene.quality].append(float(np.percentile(np.abs(np.diff(middle, axis=1)), 99.5)))
    assert min(steep["good"]) > max(steep["limited"]) > min(steep["limited"]) > max(steep["ungradable"])


def test_asymmetry_needs_both_photographs(folder: RecordFolder[Case], pairs: RecordFolder[Case]) -> None:
    singles = {(case.extra["person"], case.extra["eye"]): case for case in folder}
    for pair in pairs:
        one = [singles[pair.extra["person"], eye] for eye in EYES]
        assert pair.images == tuple(case.images[0] for case in one)
        assert pair.group_id == one[0].group_id == one[1].group_id
        if "vertical_cup_disc_ratio" not in found(pair):
            continue
        ratios = [found(case)["vertical_cup_disc_ratio"] for case in one]
        asymmetry = compare_eyes(ratios)[1].value
        assert found(pair)["vertical_cup_disc_ratio_asymmetry"].value == asymmetry
        assert found(pair)["vertical_cup_disc_ratio"].value == max(float(r.value) for r in ratios)  # type: ignore[arg-type]
        assert pair.extra["eyes"]["left"]["vertical_cup_disc_ratio"] == ratios[1].value


def test_masks_on_disk_hold_what_the_findings_say(folder: RecordFolder[Case]) -> None:
    def mask(case: Case, finding: Finding) -> NDArray[np.bool_]:
        assert finding.region is not None and finding.region.mask is not None
        with folder.image(case.images[0].model_copy(update={"path": finding.region.mask})) as picture:
            return np.asarray(picture) == finding.region.label

    for case in folder:
        truth = found(case)
        if "vertical_cup_disc_ratio" not in truth:
            continue
        cup, rim = mask(case, truth["vertical_cup_disc_ratio"]), mask(case, truth["rim"])
        assert truth["vertical_cup_disc_ratio"].value == rows(cup) / rows(cup | rim)
        spacing, diameter = case.images[0].spacing_mm, truth["vertical_disc_diameter"]
        assert (spacing is None) == (diameter.status == "not_assessed")
        if spacing is not None:
            assert diameter.value == pytest.approx(rows(cup | rim) * spacing[0])
        for sign in ("haemorrhage", "rnfl_defect", "peripapillary_atrophy"):
            assert (truth[sign].region is not None) == (truth[sign].status == "present")
            assert truth[sign].region is None or mask(case, truth[sign]).sum() > 12


def test_folders_are_sound_and_a_person_is_one_group(
    folder: RecordFolder[Case], pairs: RecordFolder[Case]
) -> None:
    assert validate_folder(folder.path) == validate_folder(pairs.path) == []
    assert len({case.group_id for case in folder}) == 25
    assert all(case.images[0].laterality == case.extra["eye"] for case in folder)
    assert "none" in folder.manifest.notes["patients"]


def test_a_person_is_the_same_whatever_else_is_built(tmp_path: Path, folder: RecordFolder[Case]) -> None:
    few = read_records(build_fundus(tmp_path / "few", n_groups=1, first_group=2, seed=4, size=128), Case)
    assert few == [case for case in folder if case.extra["person"] == 2]


def test_an_interrupted_build_ends_with_the_same_bytes(tmp_path: Path, killed, bytes_of) -> None:  # type: ignore[no-untyped-def]
    whole = build_fundus(tmp_path / "whole", n_groups=3, size=128)
    killed(lambda: build_fundus(tmp_path / "cut", n_groups=3, size=128), 2)
    cut = build_fundus(tmp_path / "cut", n_groups=3, size=128)
    assert bytes_of(whole) == bytes_of(cut)
    with pytest.raises(DataError, match="eyes: 'single' there, 'both' here"):
        build_fundus(tmp_path / "cut", n_groups=3, size=128, eyes="both")


@pytest.mark.parametrize("setting", [{"n_groups": 0}, {"size": 96}, {"first_group": -1}, {"eyes": "one"}])
def test_settings_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, setting: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        build_fundus(tmp_path / "a", **{"n_groups": 1, **setting})  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()
