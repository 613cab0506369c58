from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, find_objects, label

from data_builders.sources import oct
from data_builders.sources.oct import build_oct, oct_findings
from data_builders.sources.oct_drawing import LABELS, OctDrawing, draw_oct
from data_builders.sources.oct_layers import lay_layers
from data_builders.sources.oct_scene import EYES, OctScene, sample_oct
from vlmalign.clinical import answers_from_findings, is_consistent, load_logic
from vlmalign.records import Case, DataError, ImageRef, RecordFolder, read_manifest, read_records
from vlmalign.records.validation import validate_folder

IMAGE = ImageRef(path="images/x.png", sha256="0" * 64)
REFERRALS = {
    "healthy": "none",
    "early": "none",
    "intermediate": "routine",
    "late_dry": "routine",
    "late_wet_inactive": "routine",
    "late_wet_active": "urgent",
}


def scenes(groups: int, scans: int = 1, seed: int = 4) -> list[OctScene]:
    return [sample_oct(seed, g, eye, scan) for g in range(groups) for eye in EYES for scan in range(scans)]


def referral(scene: OctScene) -> str:
    """By hand: fluid that nothing explains is urgent; traction alone explains it; a lesion besides does not."""
    if scene.stage != "undetermined":
        return REFERRALS[scene.stage]
    lesion = bool(scene.of_kind("shrm", "fibrosis", "fibrovascular", "double_layer"))
    return "urgent" if scene.hyaloid != "attached" or lesion else "routine"


def parts(drawing: OctDrawing, structure: str) -> list[tuple[float, float]]:
    """Height and width (um) of each connected part of a structure in the mask."""
    found = find_objects(label(drawing.labels == LABELS[structure], np.ones((3, 3)))[0])
    row, column = drawing.spacing_um
    return [((y.stop - y.start) * row, (x.stop - x.start) * column) for y, x in found]


def edge_contrast(picture: np.ndarray, labels: np.ndarray, number: int) -> float:
    """Mean difference of a structure from each of its neighbours, weighted by how much they touch it."""
    mask = labels == number
    around = binary_dilation(mask, iterations=3) & ~mask
    neighbours, pixels = np.unique(labels[around], return_counts=True)
    inside = picture[mask].mean()
    differences = [abs(inside - picture[around & (labels == other)].mean()) for other in neighbours]
    return float(np.average(differences, weights=pixels))


@pytest.fixture(scope="module")
def drawn() -> list[tuple[OctScene, OctDrawing]]:
    return [(scene, draw_oct(scene)) for scene in scenes(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RecordFolder[Case]:
    path = build_oct(tmp_path_factory.mktemp("oct") / "a", n_groups=4, scans_per_eye=2, seed=3, size=320)
    return RecordFolder(path, Case)


def test_findings_lead_to_the_stage_and_referral_that_the_scan_was_made_for() -> None:
    logic = load_logic("amd_oct")
    seen: dict[str, set[str]] = {}
    for scene in scenes(300):
        found = answers_from_findings(logic, oct_findings("o", scene, IMAGE, IMAGE))
        assert {name: found.answers[name] for name in scene.answers} == scene.answers
        assert set(found.answers) == set(logic.concepts) and is_consistent(logic, found.answers)
        assert (found.answers["stage"], found.answers["referral"]) == (scene.stage, referral(scene))
        for name, value in found.answers.items():
            seen.setdefault(name, set()).add(value)
    assert seen == {name: set(concept.values) for name, concept in logic.concepts.items()}


@pytest.mark.parametrize("policy", ["retinavlm_train", "retinavlm_test"])
def test_other_policies_find_consistent_paths_too(policy: str) -> None:
    logic = load_logic(f"amd_oct@{policy}")
    for scene in scenes(40):
        assert is_consistent(logic, answers_from_findings(logic, oct_findings("o", scene, IMAGE, IMAGE)).answers)


def test_sizes_are_those_of_the_mask_to_a_pixel(drawn: list[tuple[OctScene, OctDrawing]]) -> None:
    """An end that lies within a column may take it or not, so a width may be one column off."""
    measured = set()
    peds = ("serous", "drusenoid", "fibrovascular")
    for scene, drawing in drawn:
        row, column = drawing.spacing_um
        widths = {"drusen": ("druse",), "hypertransmission": ("gap",), "ped": peds}
        for structure, kinds in widths.items():
            if scene.of_kind(*kinds):
                width = max(width for _, width in parts(drawing, structure))
                assert width == pytest.approx(scene.largest(*kinds), abs=1.01 * column), (structure, scene)
                measured.add(structure)
        assert len(parts(drawing, "drusen")) == len(scene.of_kind("druse"))
        for structure, kinds in {"ped": peds, "subretinal_fluid": ("fluid",)}.items():
            if scene.of_kind(*kinds):
                columns = (drawing.labels == LABELS[structure]).sum(0)
                assert columns.max() * row == pytest.approx(scene.highest(*kinds), abs=1.5 * row), (
                    structure,
                    scene,
                )
                measured.add(structure)
    assert measured == {"drusen", "hypertransmission", "ped", "subretinal_fluid"}


def test_every_cyst_and_tube_is_a_part_of_the_mask(drawn: list[tuple[OctScene, OctDrawing]]) -> None:
    names = {"cyst": "intraretinal_fluid", "pseudocyst": "pseudocysts", "tube": "outer_retinal_tubulation"}
    for scene, drawing in drawn:
        for kind, name in names.items():
            ovals = sum(oval.kind == kind for oval in scene.ovals)
            assert label(drawing.labels == LABELS[name])[1] == ovals, (name, scene)


def test_sizes_do_not_depend_on_the_size_of_the_picture() -> None:
    scene = next(scene for scene in scenes(20) if scene.signs["drusen"] == "large")
    for size in (320, 512):
        drawing = draw_oct(scene, size)
        width = max(width for _, width in parts(drawing, "drusen"))
        assert width == pytest.approx(scene.largest("druse"), abs=1.01 * drawing.spacing_um[1])


def test_a_sign_is_in_the_mask_exactly_when_it_is_reported(drawn: list[tuple[OctScene, OctDrawing]]) -> None:
    shown = [name for name in LABELS if name in drawn[0][0].signs]
    assert len(shown) == 13
    for scene, drawing in drawn:
        for name in shown:
            reported = scene.signs[name] not in ("none", "absent", "preserved")
            assert bool((drawing.labels == LABELS[name]).any()) == reported, (name, scene.signs)


def test_every_structure_differs_from_what_surrounds_it(drawn: list[tuple[OctScene, OctDrawing]]) -> None:
    shown = set()
    for scene, drawing in drawn:
        picture = drawing.image.astype(float)
        for name, number in LABELS.items():
            mask = drawing.labels == number
            if name not in ("retina", "choroid", "outer_retina") and mask.any():
                contrast = edge_contrast(picture, drawing.labels, number)
                assert contrast > (8 if scene.quality == "poor" else 20), (name, scene.quality, contrast)
                shown.add(name)
    assert shown == set(LABELS) - {"retina", "choroid", "outer_retina"}


def test_fluid_and_cysts_are_as_dark_as_the_vitreous(drawn: list[tuple[OctScene, OctDrawing]]) -> None:
    for scene, drawing in drawn:
        vitreous, retina = (
            drawing.image[drawing.labels == LABELS.get(n, 0)].mean() for n in ("vitreous", "retina")
        )
        for name in ("subretinal_fluid", "intraretinal_fluid", "pseudocysts"):
            mask = drawing.labels == LABELS[name]
            if mask.any():
                assert drawing.image[mask].mean() < vitreous + 0.45 * (retina - vitreous), (name, scene.quality)


def test_the_outer_retina_is_thinner_where_it_is_said_to_be() -> None:
    thinned = [scene for scene in scenes(30) if scene.thinned]
    assert thinned
    for scene in thinned:
        layers, whole = lay_layers(scene, 384), lay_layers(replace(scene, thinned=(), ovals=()), 384)
        for start, end in scene.thinned:
            middle = int((start + end) / 2 / 3000 * 384)
            left = layers.photoreceptors[middle] - layers.outer[middle]
            before = whole.photoreceptors[middle] - whole.outer[middle]
            assert left < 0.75 * before or any(oval.kind == "tube" for oval in scene.ovals)


def test_nerve_fibres_are_thicker_towards_the_nose() -> None:
    """The right side of the picture of a right eye, the left side of a left one."""
    for scene in scenes(10):
        layers = lay_layers(scene, 384)
        fibres = layers.inner["gcl"] - layers.inner["ilm"]
        left, right = fibres[layers.x < 600].mean(), fibres[layers.x > 2400].mean()
        assert (right > 1.4 * left) if scene.eye == "right" else (left > 1.4 * right)


def test_layers_keep_their_order_and_lie_within_the_picture() -> None:
    for scene in scenes(100):
        layers = lay_layers(scene, 384)
        inner = [layers.inner[name] for name in ("ilm", "gcl", "ipl", "inl", "opl")]
        order = [*inner, layers.outer, layers.photoreceptors, layers.rpe_top, layers.rpe, layers.bruch]
        assert all((lower - upper > -1e-9).all() for upper, lower in zip(order[:-1], order[1:], strict=True))
        assert order[0].min() > 20 and order[-1].max() < 1000


def test_a_poor_scan_has_less_contrast_for_its_speckle() -> None:
    scene = sample_oct(0, 0, "right", 0)
    clear = {}
    for quality in ("good", "poor"):
        drawing = draw_oct(replace(scene, quality=quality))  # type: ignore[arg-type]
        band, vitreous = (
            drawing.image[drawing.labels == n].astype(float) for n in (LABELS["pigment_epithelium"], 0)
        )
        clear[quality] = (band.mean() - vitreous.mean()) / band.std()
    assert clear["poor"] < 0.6 * clear["good"]


def test_scans_of_an_eye_share_its_signs_and_differ_in_places() -> None:
    one, other = sample_oct(1, 5, "left", 0), sample_oct(1, 5, "left", 1)
    assert one.stage == other.stage and one.texture_seed != other.texture_seed
    assert {k: v for k, v in one.signs.items() if k != "rpe_irregularity"} == {
        k: v for k, v in other.signs.items() if k != "rpe_irregularity"
    }


def test_a_patient_is_the_same_whatever_else_is_built(tmp_path: Path) -> None:
    few = read_records(build_oct(tmp_path / "few", n_groups=1, first_group=1, scans_per_eye=1, size=320), Case)
    many = read_records(build_oct(tmp_path / "many", n_groups=2, scans_per_eye=1, size=320), Case)
    assert few == [case for case in many if case.extra["patient"] == 1]


def test_the_folder_is_sound_and_says_which_eye_and_what_spacing(folder: RecordFolder[Case]) -> None:
    assert validate_folder(folder.path) == []
    assert "none" in folder.manifest.notes["patients"]
    assert folder.manifest.counts["images"] == 2 * len(folder)  # each with its mask
    groups: dict[str, list[str | None]] = {}
    for case in folder:
        image = case.images[0]
        groups.setdefault(case.group_id, []).append(image.laterality)
        assert image.modality == "oct" and image.spacing_mm == pytest.approx((0.006, 0.009375))
    assert [*groups.values()] == [["right", "right", "left", "left"]] * 4


def test_an_interrupted_build_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"n_groups": 2, "scans_per_eye": 1, "size": 320}
    whole = build_oct(tmp_path / "whole", **settings)  # type: ignore[arg-type]
    draw = oct.draw_oct
    calls = 0

    def killed(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(oct, "draw_oct", killed)
    with pytest.raises(KeyboardInterrupt):
        build_oct(tmp_path / "cut", **settings)  # type: ignore[arg-type]
    monkeypatch.undo()
    cut = build_oct(tmp_path / "cut", **settings)  # type: ignore[arg-type]
    for name in ("records.jsonl", "manifest.json"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()


def test_other_settings_on_a_complete_folder_are_refused(tmp_path: Path) -> None:
    build_oct(tmp_path / "a", n_groups=1, scans_per_eye=1, size=320)
    with pytest.raises(DataError, match="scans_per_eye: 1 there, 2 here.*--overwrite"):
        build_oct(tmp_path / "a", n_groups=1, scans_per_eye=2, size=320)
    assert read_manifest(tmp_path / "a").counts["records"] == 2


@pytest.mark.parametrize(
    "setting", [{"n_groups": 0}, {"scans_per_eye": 0}, {"size": 96}, {"size": 330}, {"first_group": -1}]
)
def test_settings_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, setting: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        build_oct(tmp_path / "a", **{"n_groups": 1, **setting})
    assert not (tmp_path / "a").exists()
