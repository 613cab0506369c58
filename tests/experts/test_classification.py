import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from experts import load_expert, read_card
from experts.classification import ClassifierSettings, build_classifier, load_classification
from experts.preparation import Preparation
from experts.protocol import Presence
from experts.running import findings_of, run_expert, status_of_presence
from vlmalign.records import DataError, Finding, ImageRef, RecordFolder, read_records

SETTINGS = {
    "network": "test_resnet",
    "classes": ["normal", "mass"],
    "kind": "multi_class",
    "no_finding": ["normal"],
    "weights": ["a.safetensors", "b.safetensors"],
    "preparation": {"size": 32},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    made = {}
    for seed, name in enumerate(("a", "b")):
        torch.manual_seed(seed)
        settings = ClassifierSettings.model_validate_json(json.dumps(SETTINGS))
        network = build_classifier(settings)
        torch.nn.init.normal_(network.get_classifier().weight)
        save_file(network.state_dict(), folder / f"{name}.safetensors")
        made[f"{name}.safetensors"] = str(folder / f"{name}.safetensors")
    return made


def pictures(n=5, seed=0):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, (20 + i, 33, 3), dtype=np.uint8)) for i in range(n)]


def test_the_probability_is_the_members_mean_and_its_std_their_spread(adopt_from, files):
    both = load_expert(adopt_from("classification", SETTINGS, files))
    alone = [
        load_expert(
            adopt_from("classification", {**SETTINGS, "weights": [name]}, {name: files[name]}, name=name[0])
        )
        for name in files
    ]
    (image,) = pictures(1)
    p = [expert.examine([image])[0].presences["mass"].probability for expert in alone]
    assert p[0] != pytest.approx(p[1], abs=1e-3)
    found = both.examine([image])[0].presences
    assert list(found) == ["mass"]  # normal is no finding
    assert found["mass"].probability == pytest.approx(sum(p) / 2, abs=1e-5)
    assert found["mass"].std == pytest.approx(abs(p[0] - p[1]) / 2, abs=1e-5)


def test_what_is_found_does_not_depend_on_the_images_of_the_same_call(adopt_from, files):
    expert = load_expert(adopt_from("classification", {**SETTINGS, "views": ["as_is", "left_2"]}, files))
    images = pictures(18)
    together = [one.presences["mass"] for one in expert.examine(images)]
    backwards = [one.presences["mass"] for one in expert.examine(images[::-1])][::-1]
    alone = [expert.examine([image])[0].presences["mass"] for image in images]
    for one, other in [*zip(together, alone, strict=True), *zip(together, backwards, strict=True)]:
        assert (one.probability, one.std) == pytest.approx((other.probability, other.std), abs=2e-6)


def test_a_mirrored_view_is_refused_unless_left_and_right_are_alike(adopt_from, files):
    mirrored = {**SETTINGS, "views": ["as_is", "mirrored"]}
    with pytest.raises(DataError, match="laterality_matters is true"):
        adopt_from("classification", mirrored, files)
    with pytest.raises(DataError, match="'left_mass' names a side"):
        sided = {**mirrored, "classes": ["normal", "left_mass"], "laterality_matters": False}
        adopt_from("classification", sided, files)
    assert adopt_from("classification", {**mirrored, "laterality_matters": False}, files)


def test_an_adopted_expert_says_that_nobody_measured_it(adopt_from, files):
    card = read_card(adopt_from("classification", SETTINGS, files))
    assert card.performance == () and card.limits[0].startswith("Performance unknown")
    assert any("No threshold was chosen for mass" in text for text in card.limits)


def test_the_version_follows_weights_and_settings(adopt_from, files):
    one = read_card(adopt_from("classification", SETTINGS, files, name="one"))
    same = read_card(adopt_from("classification", SETTINGS, files, name="two"))
    other = read_card(adopt_from("classification", {**SETTINGS, "thresholds": {"mass": 0.3}}, files, name="three"))
    assert one.version == same.version != other.version


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["normal", "mass", "cyst"]}, r"classifier|shape \(2,"),
        ({"network": "test_resnet_of_mine"}, "does not have"),
        ({"network": "test_vit"}, "do not fit the network"),
        ({"weights": ["c.safetensors"]}, "is missing"),
        ({"weights": ["../a.safetensors"]}, "leaves the dataset folder"),
        ({"no_finding": ["healthy"]}, "not one of the classes"),
        ({"thresholds": {"normal": 0.5}}, "expected one of"),
        ({"classes": ["mass"], "no_finding": []}, "softmax is always 1"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_settings_that_do_not_fit_are_named_and_nothing_is_left_behind(
    adopt_from, files, tmp_path, change, message
):
    with pytest.raises((DataError, ValueError), match=message):
        adopt_from("classification", {**SETTINGS, **change}, files)
    assert [path.name for path in tmp_path.iterdir()] == ["adopted.yaml"]


def test_pickled_weights_are_refused_unread(adopt_from, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save(Bomb(), tmp_path / "bomb.pth")
    with pytest.raises(DataError, match="pickled weights can run code"):
        adopt_from("classification", SETTINGS, {"a.safetensors": str(tmp_path / "bomb.pth")})
    (tmp_path / "bomb.pth").rename(tmp_path / "bomb.safetensors")  # renamed, it is no safetensors file
    with pytest.raises(DataError, match="cannot be read"):
        adopt_from(
            "classification",
            {**SETTINGS, "weights": ["a.safetensors"]},
            {"a.safetensors": str(tmp_path / "bomb.safetensors")},
        )
    assert not (tmp_path / "exploded").exists()


def test_changed_weights_or_thresholds_are_refused_on_loading(adopt_from, files):
    folder = adopt_from("classification", SETTINGS, files)
    text = (folder / "expert.json").read_text()
    (folder / "expert.json").write_text(text.replace('"temperature": 1.0', '"temperature": 2.0'))
    with pytest.raises(DataError, match="the card says"):
        load_classification(folder)
    (folder / "expert.json").write_text(text)
    (folder / "a.safetensors").write_bytes((folder / "b.safetensors").read_bytes())
    with pytest.raises(DataError, match="the card says"):
        load_classification(folder)
    (folder / "a.safetensors").unlink()
    with pytest.raises(DataError, match=r"is missing"):
        load_classification(folder)


def test_temperature_moves_every_probability_towards_a_half(adopt_from, files):
    hot = load_expert(adopt_from("classification", {**SETTINGS, "temperature": 4.0}, files, name="hot"))
    cold = load_expert(adopt_from("classification", SETTINGS, files, name="cold"))
    for image in pictures():
        far, near = (abs(e.logits([image]).numpy() / e.settings.temperature).max() for e in (cold, hot))
        assert near == pytest.approx(far / 4, rel=1e-4)


def test_another_expert_in_the_folder_is_not_overwritten_by_accident(adopt_from, files):
    folder = adopt_from("classification", SETTINGS, files)
    before = (folder / "expert.json").read_bytes()
    assert adopt_from("classification", SETTINGS, files) == folder  # the same again does nothing
    with pytest.raises(DataError, match="another expert is here"):
        adopt_from("classification", {**SETTINGS, "temperature": 2.0}, files)
    assert (folder / "expert.json").read_bytes() == before
    adopt_from("classification", {**SETTINGS, "temperature": 2.0}, files, overwrite=True)
    assert (folder / "expert.json").read_bytes() != before


def test_an_empty_folder_is_filled_and_anything_else_is_left_alone(adopt_from, files, tmp_path):
    (tmp_path / "empty").mkdir()
    assert (adopt_from("classification", SETTINGS, files, name="empty") / "expert.json").is_file()
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(DataError, match="holds no expert"):
        adopt_from("classification", SETTINGS, files, name="letters", overwrite=True)
    assert (tmp_path / "letters" / "a.txt").read_text() == "dear"


def test_a_side_of_the_threshold_that_the_members_do_not_agree_on_is_uncertain():
    assert status_of_presence(Presence(0.6, 0.0, 0.5)) == "present"
    assert status_of_presence(Presence(0.6, 0.3, 0.5)) == "uncertain"  # Phi(1/3) = 0.63
    assert status_of_presence(Presence(0.6, 0.1, 0.5)) == "present"  # Phi(1) = 0.84
    assert status_of_presence(Presence(0.4, 0.1, 0.5)) == "absent"
    assert status_of_presence(Presence(0.9, 0.0, 0.95)) == "uncertain"  # likely, yet below a strict threshold


def test_findings_keep_the_probability_its_spread_and_the_threshold(blob_expert, blobs, tmp_path):
    findings = read_records(run_expert(blob_expert, blobs, tmp_path / "f"), Finding)
    expert = load_expert(blob_expert)
    assert {f.concept for f in findings} == {"blob"} and all(f.value is None for f in findings)
    threshold = read_card(blob_expert).operating_points[0].threshold
    for finding in findings:
        assert finding.expert == expert.card.id
        spread = finding.extra.get("probability_std", 0.0)
        assert finding.status == status_of_presence(Presence(finding.probability, spread, threshold))
        assert finding.extra["threshold"] == threshold
    assert RecordFolder(tmp_path / "f", Finding).manifest.counts["cases_of_training_groups"] > 0


def test_a_concept_that_could_not_be_assessed_is_a_finding_with_its_reason():
    from experts.protocol import Examination

    image = ImageRef(path="images/x.png", sha256="0" * 64)
    seen = Examination({}, presences={"mass": Presence(0.9)}, not_assessed={"ratio": "the cup mask is empty"})
    mass, ratio = findings_of(seen, image, None, "c", "c", "x@1")
    assert (mass.status, mass.probability, mass.std) == ("present", 0.9, None)
    assert (ratio.status, ratio.value, ratio.probability) == ("not_assessed", None, None)
    assert ratio.extra["why"] == "the cup mask is empty"


def test_preparation_pads_crops_and_normalises():
    from experts.preparation import prepare

    image = Image.fromarray(np.full((10, 20), 255, dtype=np.uint8))
    white = prepare(image, Preparation(size=8, channels=1, fit="crop", mean=(0.5,), std=(0.25,)))
    assert torch.equal(white, torch.full((1, 8, 8), 2.0))
    with pytest.raises(ValueError, match="std has 2 values"):
        prepare(image, Preparation(size=8, std=(1.0, 2.0)))
