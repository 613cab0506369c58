from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label

from data_builders.sources import marrow
from data_builders.sources.marrow import build_marrow, marrow_findings
from data_builders.sources.marrow_drawing import LABELS, STRUCTURE, draw_marrow
from data_builders.sources.marrow_scene import MarrowScene, clear_counts, sample_aspirate, sample_marrow
from vlmalign.clinical import answers_from_findings, is_consistent, load_logic
from vlmalign.clinical.shares import Share
from vlmalign.records import Case, DataError, ImageRef, RecordFolder, read_manifest, read_records
from vlmalign.records.validation import validate_folder

IMAGE = ImageRef(path="images/x.png", sha256="0" * 64)
DIAGNOSES = {
    "normal": "normal",
    "aml": "aml",
    "excess_blasts": "excess_blasts",
    "plasma_cell_neoplasm": "plasma_cell_neoplasm",
}
SMALL = 112  # pixels: enough to tell cells apart


def scenes(groups: int, fields: int, seed: int = 4) -> list[MarrowScene]:
    return [sample_marrow(seed, group, field) for group in range(groups) for field in range(fields)]


@pytest.fixture(scope="module")
def many() -> list[MarrowScene]:
    return scenes(70, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RecordFolder[Case]:
    path = build_marrow(tmp_path_factory.mktemp("marrow") / "a", n_groups=12, fields_per_group=2, seed=3)
    return RecordFolder(path, Case)


def test_counts_that_settle_a_share_are_those_of_the_posterior() -> None:
    """With 50 cells 5 % are 2.5 and 20 % are 10: three blasts might still be few, nine might be a fifth."""
    assert clear_counts("blasts", "increased", 50) == (4, 5, 6, 7)
    assert max(clear_counts("blasts", "normal", 50)) == 1
    assert min(clear_counts("plasma_cells", "ten_or_more", 50)) == 7
    bands = load_logic("bone_marrow").concepts["blasts"].measurement.bands  # type: ignore[union-attr]
    assert (
        Share(3, 50).band_probabilities(bands)["increased"]
        < 0.82
        < Share(4, 50).band_probabilities(bands)["increased"]
    )


def test_findings_lead_to_the_path_that_the_field_was_made_for(many: list[MarrowScene]) -> None:
    logic = load_logic("bone_marrow")
    seen: dict[str, set[str]] = {}
    for scene in many:
        drawing = draw_marrow(scene, SMALL)
        found = answers_from_findings(logic, marrow_findings("m", scene, drawing, IMAGE, IMAGE))
        observed = {name: found.answers[name] for name in ("content", "blasts", "plasma_cells")}
        assert observed == scene.answers and not found.uncertain
        assert set(found.answers) == set(logic.concepts) and is_consistent(logic, found.answers)
        adequate = scene.content == "adequate"
        assert found.answers["diagnosis"] == (DIAGNOSES[scene.aspirate.disease] if adequate else "inadequate")
        for name, value in found.answers.items():
            seen.setdefault(name, set()).add(value)
    assert seen == {name: set(concept.values) for name, concept in logic.concepts.items()}


def test_parts_of_the_mask_are_the_cells(many: list[MarrowScene]) -> None:
    for scene in many[::8]:
        drawing = draw_marrow(scene)
        for structure in ("blast", "plasma_cell", "granulocyte", "erythroblast", "lymphocyte"):
            drawn = sum(STRUCTURE.get(cell.kind, cell.kind) == structure for cell in scene.cells)
            assert label(drawing.labels == LABELS[structure], np.ones((3, 3)))[1] == drawn
            assert drawing.counts[structure] == drawn


def test_every_structure_differs_from_what_surrounds_it(many: list[MarrowScene]) -> None:
    shown = set()
    for scene in many[::6]:
        drawing = draw_marrow(scene, SMALL)
        grey = drawing.image.astype(float).mean(2)
        for name, number in LABELS.items():
            mask = drawing.labels == number
            around = binary_dilation(mask, iterations=3) & (drawing.labels == 0)
            if mask.sum() > 8 and around.sum() > 8:
                assert grey[mask].mean() < grey[around].mean() - 8, name
                shown.add(name)
    assert shown == set(LABELS)


def test_kinds_of_cells_are_told_apart_by_size_and_colour() -> None:
    """Blasts are large and violet, plasma cells blue, erythroblasts small, and lymphocytes dark."""
    values: dict[str, list[tuple[float, ...]]] = {}
    for scene in scenes(12, 1, seed=9):
        drawing = draw_marrow(scene)
        for name in ("blast", "plasma_cell", "granulocyte", "erythroblast", "lymphocyte"):
            if drawing.counts[name]:
                mask = drawing.labels == LABELS[name]
                red, green, blue = drawing.image[mask].astype(float).mean(0)
                values.setdefault(name, []).append((mask.sum() / drawing.counts[name], blue - red, green))
    mean = {name: np.mean(found, 0) for name, found in values.items()}
    assert mean["blast"][0] > 1.3 * mean["granulocyte"][0] > 1.3 * 1.3 * mean["erythroblast"][0]
    assert mean["lymphocyte"][2] < mean["granulocyte"][2] - 40
    assert mean["plasma_cell"][1] > mean["blast"][1] + 15 > mean["granulocyte"][1] + 15


def test_fields_of_an_aspirate_share_its_disease_and_its_stain() -> None:
    for group in range(10):
        aspirate = sample_aspirate(1, group)
        fields = [sample_marrow(1, group, field) for field in range(3)]
        assert {field.aspirate.disease for field in fields} == {aspirate.disease}
        assert {field.aspirate.strength for field in fields} == {aspirate.strength}


def test_an_aspirate_is_the_same_whatever_else_is_built(tmp_path: Path) -> None:
    few = read_records(
        build_marrow(tmp_path / "few", n_groups=1, first_group=2, fields_per_group=1, size=96), Case
    )
    many = read_records(build_marrow(tmp_path / "many", n_groups=3, fields_per_group=1, size=96), Case)
    assert few == [case for case in many if case.extra["aspirate"] == 2]


def test_the_folder_is_sound_and_groups_are_aspirates(folder: RecordFolder[Case]) -> None:
    assert validate_folder(folder.path) == []
    assert "none" in folder.manifest.notes["patients"]
    groups: dict[str, set[int]] = {}
    for case in folder:
        groups.setdefault(case.group_id, set()).add(case.extra["aspirate"])
        assert case.domain == "bone_marrow" and case.images[0].modality == "light_microscopy"
    assert len(groups) == 12 and all(len(aspirates) == 1 for aspirates in groups.values())


def test_an_interrupted_build_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"n_groups": 2, "fields_per_group": 2, "size": 96}
    whole = build_marrow(tmp_path / "whole", **settings)  # type: ignore[arg-type]
    draw = marrow.draw_marrow
    calls = 0

    def killed(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(marrow, "draw_marrow", killed)
    with pytest.raises(KeyboardInterrupt):
        build_marrow(tmp_path / "cut", **settings)  # type: ignore[arg-type]
    monkeypatch.undo()
    cut = build_marrow(tmp_path / "cut", **settings)  # type: ignore[arg-type]
    for name in ("records.jsonl", "manifest.json"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()


def test_other_settings_on_a_complete_folder_are_refused(tmp_path: Path) -> None:
    build_marrow(tmp_path / "a", n_groups=1, fields_per_group=1, size=96)
    with pytest.raises(DataError, match="n_groups: 1 there, 2 here.*--overwrite"):
        build_marrow(tmp_path / "a", n_groups=2, fields_per_group=1, size=96)
    assert read_manifest(tmp_path / "a").counts["records"] == 1


@pytest.mark.parametrize("setting", [{"n_groups": 0}, {"fields_per_group": 0}, {"size": 8}, {"first_group": -1}])
def test_settings_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, setting: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        build_marrow(tmp_path / "a", **{"n_groups": 1, **setting})
    assert not (tmp_path / "a").exists()
