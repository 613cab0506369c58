import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from experts import load_expert, xrayvision
from experts.xrayvision import XrayNetwork, XraySettings, build_network, calibrate, xray_tensor
from vlmalign.records import DataError


class StandIn(nn.Module):
    """Logits that grow with the image's brightness, a factor an output."""

    def __init__(self, weights=None, num_classes=18, apply_sigmoid=False):
        super().__init__()
        assert weights is None and not apply_sigmoid
        self.factor = nn.Parameter(torch.ones(num_classes))

    def forward(self, x):
        return x.mean((1, 2, 3))[:, None] / 1024 * self.factor


@pytest.fixture
def package(monkeypatch):
    models = ModuleType("torchxrayvision.models")
    models.DenseNet = StandIn
    monkeypatch.setitem(sys.modules, "torchxrayvision", ModuleType("torchxrayvision"))
    monkeypatch.setitem(sys.modules, "torchxrayvision.models", models)


NETWORKS = [
    {"name": "nih", "weights": "nih.safetensors", "pathologies": ["Mass", "Pneumothorax"]},
    {"name": "chex", "weights": "chex.safetensors", "pathologies": ["", "Pneumothorax"]},
]
SETTINGS = {
    "networks": NETWORKS,
    "findings": {"mass": "Mass", "pneumothorax": "Pneumothorax"},
}


@pytest.fixture
def files(tmp_path):
    for name, factors in (("nih", [1.0, 2.0]), ("chex", [5.0, -3.0])):
        save_file({"factor": torch.tensor(factors)}, tmp_path / f"{name}.safetensors")
    return {f"{name}.safetensors": str(tmp_path / f"{name}.safetensors") for name in ("nih", "chex")}


WHITE = Image.new("L", (30, 20), 255)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_mean_is_over_the_networks_that_know_the_finding(package, adopt_from, files):
    (found,) = load_expert(adopt_from("xrayvision", SETTINGS, files)).examine([WHITE])
    assert found.presences["mass"].probability == pytest.approx(sigmoid(1), abs=1e-6)
    both = sigmoid(2), sigmoid(-3)
    assert found.presences["pneumothorax"].probability == pytest.approx(np.mean(both), abs=1e-6)
    assert found.presences["pneumothorax"].std == pytest.approx(np.std(both), abs=1e-6)


def test_a_finding_can_be_asked_of_one_network_alone(package, adopt_from, files):
    only = {**SETTINGS, "only": {"pneumothorax": ["chex"]}}
    (found,) = load_expert(adopt_from("xrayvision", only, files)).examine([WHITE])
    assert found.presences["pneumothorax"].probability == pytest.approx(sigmoid(-3), abs=1e-6)


def test_an_operating_point_becomes_a_half_and_order_is_kept():
    t = torch.full((5,), 0.2)
    found = calibrate(torch.tensor([0.0, 0.1, 0.2, 0.6, 1.0]), t).tolist()
    assert found == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


def test_outputs_with_an_operating_point_are_shifted_and_others_are_not(package, adopt_from, files):
    shifted = [{**NETWORKS[0], "thresholds": [None, 0.9]}]
    (found,) = load_expert(adopt_from("xrayvision", {**SETTINGS, "networks": shifted}, files)).examine([WHITE])
    assert found.presences["mass"].probability == pytest.approx(sigmoid(1), abs=1e-6)
    assert found.presences["pneumothorax"].probability == pytest.approx(sigmoid(2) / 1.8, abs=1e-6)


def test_images_become_the_centre_square_in_hounsfield_like_range():
    image = Image.new("L", (30, 10), 0)
    image.paste(255, (10, 0, 20, 10))  # the centre square is white
    assert torch.equal(xray_tensor(image, 8), torch.full((1, 8, 8), 1024.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"findings": {"hernia": "Hernia"}}, "no network knows 'Hernia'"),
        ({"only": {"mass": ["chex"]}}, "chex does not know 'Mass'"),
        ({"only": {"mass": ["padchest"]}}, "expected some of the networks"),
        ({"thresholds": {"hernia": 0.5}}, "none of the findings"),
        ({"networks": [NETWORKS[0], NETWORKS[0]]}, "hold a name twice"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        XraySettings.model_validate({**SETTINGS, **change}, strict=False)


def test_without_the_package_the_error_names_the_extra(monkeypatch, adopt_from, files):
    monkeypatch.setitem(sys.modules, "torchxrayvision.models", None)
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    with pytest.raises(ImportError, match=r"pip install 'vlmalign\[xrayvision\]'"):
        adopt_from("xrayvision", SETTINGS, files)


def test_wrong_classes_are_refused(package, adopt_from, files):
    three = [{**NETWORKS[0], "pathologies": ["Mass", "Pneumothorax", "Edema"]}]
    with pytest.raises(DataError, match=r"factor has shape \(2,\), expected \(3,\)"):
        adopt_from("xrayvision", {**SETTINGS, "networks": three}, files)


@pytest.mark.skipif(importlib.util.find_spec("torchxrayvision") is None, reason="torchxrayvision is not installed")
def test_the_package_s_own_densenet_takes_our_weights_and_agrees(adopt_from, tmp_path, monkeypatch):
    network = XrayNetwork(name="a", weights="a.safetensors", pathologies=("Mass", "Edema", ""))
    torch.manual_seed(0)
    own = build_network(network).eval()
    save_file(own.state_dict(), tmp_path / "a.safetensors")
    settings = {"networks": [network.model_dump(mode="json")], "findings": {"mass": "Mass", "oedema": "Edema"}}
    monkeypatch.setitem(xrayvision.SIZES, "DenseNet", 64)  # a quicker image
    expert = load_expert(adopt_from("xrayvision", settings, {"a.safetensors": str(tmp_path / "a.safetensors")}))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 64), dtype=np.uint8))
    with torch.no_grad():
        p = own(xray_tensor(image, 64)[None])[0].sigmoid()
    (found,) = expert.examine([image])
    assert [found.presences[c].probability for c in ("mass", "oedema")] == pytest.approx(p[:2].tolist(), abs=1e-5)
