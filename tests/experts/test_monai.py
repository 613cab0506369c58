import json

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from PIL import Image
from safetensors.torch import save_file

from experts import load_expert, monai_bundles
from experts.monai_bundles import download_bundle
from experts.monai_networks import NamedSettings, build_named
from experts.protocol import ImageContext
from experts.registry import read_card
from vlmalign.records import DataError

ARGUMENTS = {
    "spatial_dims": 2, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2], "num_res_units": 0,
}  # fmt: skip
COMMON = {
    "task": "segmentation",
    "preparation": {"size": 32, "channels": 1},
    "structures": ["cup", "rim"],
    "measures": [
        {"concept": "vcdr", "kind": "vertical_cup_disc_ratio", "of": "cup", "to": "cup+rim"},
        {"concept": "height", "kind": "vertical_extent", "of": "rim"},
    ],
}
NAMED = {**COMMON, "network": "UNet", "arguments": ARGUMENTS, "weights": ["a.safetensors", "b.safetensors"]}


@pytest.fixture(scope="module")
def networks():
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.append(UNet(**ARGUMENTS).eval())
    return made


@pytest.fixture
def files(networks, tmp_path):
    for name, network in zip("ab", networks, strict=True):
        save_file(network.state_dict(), tmp_path / f"{name}.safetensors")
    return {f"{name}.safetensors": str(tmp_path / f"{name}.safetensors") for name in "ab"}


def picture(size=(48, 40), seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, size[::-1], dtype=np.uint8))


def make_bundle(folder, network, definition=None):
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    definition = definition or {"_target_": "UNet", **ARGUMENTS}
    (folder / "configs" / "inference.json").write_text(json.dumps({"network_def": definition}))
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder


def test_masks_lie_on_the_image_and_every_concept_is_measured_or_says_why_not(adopt_from, files, networks):
    expert = load_expert(adopt_from("monai_network", NAMED, files))
    image = picture()
    (found,) = expert.examine([image])
    assert found.labels.shape == (40, 48)
    assert {*found.measurements, *found.not_assessed} == {"vcdr", "height"}
    batch = torch.tensor(np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))).float()[None, None] / 255
    with torch.no_grad():
        mean = sum(
            torch.nn.functional.interpolate(n(batch), (40, 48), mode="bilinear").softmax(1) for n in networks
        )
    assert (found.labels == mean.argmax(1)[0].numpy()).mean() > 0.999


def test_an_image_with_spacing_is_measured_in_millimetres_beside_one_without(adopt_from, files):
    expert = load_expert(adopt_from("monai_network", NAMED, files))
    known, unknown = expert.examine_in_context([picture()] * 2, [ImageContext((0.5, 0.25)), ImageContext()])
    mm, px = known.measurements["height"], unknown.measurements["height"]
    assert (mm.unit, px.unit) == ("mm", "px") and mm.value == pytest.approx(px.value / 2)


def test_what_is_found_does_not_depend_on_the_images_of_the_same_call(adopt_from, files):
    expert = load_expert(adopt_from("monai_network", {**NAMED, "views": ["as_is", "up_2"]}, files))
    images = [picture((48, 40), 1), picture((30, 60), 2), picture((48, 40), 3)]
    for one, image in zip(expert.examine(images), images, strict=True):
        (alone,) = expert.examine([image])
        assert one.measurements == alone.measurements and (one.labels == alone.labels).all()


def test_a_classifying_network_gives_presences(adopt_from, tmp_path):
    arguments = {
        "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_features": 4, "growth_rate": 4,
        "block_config": [1, 1],
    }  # fmt: skip
    from monai.networks.nets import DenseNet

    save_file(DenseNet(**arguments).state_dict(), tmp_path / "w.safetensors")
    settings = {
        "task": "multi_class", "preparation": {"size": 32, "channels": 1}, "classes": ["normal", "mass"],
        "no_finding": ["normal"], "network": "DenseNet", "arguments": arguments, "weights": ["w.safetensors"],
    }  # fmt: skip
    expert = load_expert(adopt_from("monai_network", settings, {"w.safetensors": str(tmp_path / "w.safetensors")}))
    (found,) = expert.examine([picture()])
    assert list(found.presences) == ["mass"] and 0 < found.presences["mass"].probability < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "load_state_dict"}, "no network of monai"),
        ({"network": "UNetOfMine"}, "no network of monai"),
        ({"arguments": {**ARGUMENTS, "colour": 1}}, "colour"),
        ({"arguments": {**ARGUMENTS, "out_channels": 4}}, "do not fit the network"),
        ({"arguments": {**ARGUMENTS, "spatial_dims": 3}}, "experts look at 2-D images"),
        ({"structures": ["cup"]}, "not one of the structures"),
        ({"classes": ["a"]}, "has no classes"),
        ({"weights": []}, "at least one safetensors"),
    ],
)
def test_networks_that_cannot_be_meant_are_named(adopt_from, files, change, message):
    with pytest.raises((DataError, ValueError), match=message):
        adopt_from("monai_network", {**NAMED, **change}, files)


def test_outputs_that_are_not_the_structures_are_an_error_and_no_mask(adopt_from, files):
    fewer = {**NAMED, "structures": ["cup", "rim", "vessel"]}
    with pytest.raises(ValueError, match=r"expected 4 channels"):
        load_expert(adopt_from("monai_network", fewer, files)).examine([picture()])


BUNDLE = {**COMMON, "trust_bundle": True}


def test_a_trusted_bundle_sees_what_its_network_sees(adopt_from, files, networks, tmp_path):
    bundle = make_bundle(tmp_path / "zoo", networks[0])
    one = load_expert(adopt_from("monai_bundle", BUNDLE, {"bundle": str(bundle)}))
    two = load_expert(
        adopt_from(
            "monai_network", {**NAMED, "weights": ["a.safetensors"]}, {"a.safetensors": files["a.safetensors"]},
            name="named",
        )
    )  # fmt: skip
    assert one.examine([picture()])[0].measurements == two.examine([picture()])[0].measurements


def test_a_bundle_runs_no_code_before_it_is_trusted(adopt_from, networks, tmp_path):
    code = {"_target_": "builtins.open", "file": str(tmp_path / "exploded"), "mode": "w"}
    bundle = make_bundle(tmp_path / "zoo", networks[0], code)
    with pytest.raises(DataError, match="a bundle's configuration is a program"):
        adopt_from("monai_bundle", COMMON, {"bundle": str(bundle)})
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(DataError, match="expected a network"):  # trusted, it does run: that is what trust means
        adopt_from("monai_bundle", BUNDLE, {"bundle": str(bundle)})
    assert (tmp_path / "exploded").exists()


def test_a_bundle_whose_configuration_changed_is_refused(adopt_from, networks, tmp_path):
    folder = adopt_from("monai_bundle", BUNDLE, {"bundle": str(make_bundle(tmp_path / "zoo", networks[0]))})
    (folder / "bundle" / "scripts").mkdir()
    (folder / "bundle" / "scripts" / "extra.py").write_text("")
    with pytest.raises(DataError, match="the card says"):
        load_expert(folder)


@pytest.mark.filterwarnings("ignore")  # of the tracer
def test_torchscript_and_pickled_models_are_refused(adopt_from, networks, tmp_path):
    bundle = make_bundle(tmp_path / "zoo", networks[0])
    torch.save(networks[0], bundle / "models" / "model.pt")  # the object, not its weights
    with pytest.raises(DataError, match="cannot be read as weights only"):
        adopt_from("monai_bundle", BUNDLE, {"bundle": str(bundle)})
    torch.jit.trace(networks[0], torch.zeros(1, 1, 32, 32)).save(str(bundle / "models" / "model.ts"))
    script = {**BUNDLE, "model": "models/model.ts"}
    with pytest.raises(DataError, match="compiled program"):
        adopt_from("monai_bundle", script, {"bundle": str(bundle)})
    allowed = load_expert(
        adopt_from("monai_bundle", {**script, "allow_torchscript": True}, {"bundle": str(bundle)})
    )
    assert allowed.examine([picture()])[0].labels.shape == (40, 48)


def test_a_bundle_that_cannot_be_fetched_names_the_network(monkeypatch, tmp_path):
    import monai.bundle

    def unreachable(**_):
        raise ConnectionError("name resolution failed")

    monkeypatch.setattr(monai.bundle, "download", unreachable)
    with pytest.raises(OSError, match="needs the network"):
        download_bundle("spleen_ct_segmentation", tmp_path)


def test_a_bundle_that_somebody_else_adopted_runs_no_code_until_its_version_is_trusted_here(
    adopt_from, networks, tmp_path, monkeypatch
):
    monkeypatch.setattr(monai_bundles, "_adopted", set())
    folder = adopt_from("monai_bundle", BUNDLE, {"bundle": str(make_bundle(tmp_path / "zoo", networks[0]))})
    load_expert(folder)  # whoever adopts it says so
    monkeypatch.setattr(monai_bundles, "_adopted", set())
    monkeypatch.setattr(monai_bundles, "_network", lambda *_: pytest.fail("it ran"))
    version = read_card(folder).version
    for said in ("", "another"):
        monkeypatch.setenv("VLMALIGN_TRUSTED_BUNDLES", said)
        with pytest.raises(DataError, match=f"VLMALIGN_TRUSTED_BUNDLES={version}"):
            load_expert(folder)
    monkeypatch.undo()
    monkeypatch.setenv("VLMALIGN_TRUSTED_BUNDLES", f"another, {version}")
    monkeypatch.setattr(monai_bundles, "_adopted", set())
    load_expert(folder)


@pytest.mark.parametrize(
    ("network", "argument"),
    [("HoVerNet", {"pretrained_url": "http://127.0.0.1:1/x.pt"}), ("DenseNet121", {"pretrained": True})],
)
def test_a_network_by_name_fetches_and_unpickles_nothing(adopt_from, files, network, argument):
    settings = {**NAMED, "network": network, "arguments": argument}
    with pytest.raises((DataError, ValueError), match=rf"arguments.{next(iter(argument))} has {network} fetch"):
        adopt_from("monai_network", settings, files)


def test_a_network_that_fetches_weights_by_default_is_made_without(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("weights were fetched")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torch.utils.model_zoo.load_url", refuse)
    settings = {**COMMON, "network": "EfficientNetBN", "arguments": {"model_name": "efficientnet-b0"}}
    build_named(NamedSettings(**settings, weights=("a.safetensors",)))
