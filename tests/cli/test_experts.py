"""`vlmalign experts`: train a classifier, adopt, measure, list."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image

from vlmalign.records import Case, DatasetBuild, Finding, Reference, user


@pytest.fixture
def cases(tmp_path):
    rng = np.random.default_rng(0)
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        for number in range(24):
            bright = number % 2
            image = build.add_image(Image.fromarray(rng.integers(0, 120 + 100 * bright, (32, 32), dtype=np.uint8)))
            finding = Finding(
                id=f"{number}/x",
                image=image,
                concept="bright",
                status="present" if bright else "absent",
                expert="t@1",
            )
            build.commit(str(number), [Case(
                id=str(number), images=(image,), messages=(user("?", images=1),), domain="toy",
                reference=Reference(findings=(finding,)), group_id=f"g{number // 2}", group_kind="patient",
            )])  # fmt: skip
    return tmp_path / "cases"


def test_a_classifier_is_trained_measured_again_and_listed(vlmalign, cases, tmp_path):
    quick = ["--set", "network=test_resnet", "--set", "size=32", "--set", "epochs=1", "--set", "batch_size=8"]
    vlmalign("experts", "train", cases, tmp_path / "e", "--architecture", "classification", *quick)
    listed = vlmalign("experts", "list", tmp_path).out
    assert "auroc of bright" in listed and "pixel_baseline_auroc" in listed and "by youden" in listed


def test_an_architecture_that_cannot_be_adopted_is_refused_by_the_list_of_those_that_can(refused, tmp_path):
    from experts.adoption import ADOPTABLE, _kinds

    assert tuple(_kinds()) == ADOPTABLE
    card = {"name": "x", "modality": "xray", "domain": "toy"}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"architecture": "htpp", "card": card, "settings": {}}))
    refused(
        "experts", "adopt", tmp_path / "a.yaml", tmp_path / "out", says="zero_shot, monai_network, monai_bundle"
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ulr": "http://127.0.0.1:1/x", "concepts": ["mass"]}, "Did you mean 'url'? Correct the setting file."),
        (
            {"url": "http://127.0.0.1:1/x", "concepts": ["mass"], "thresholds": {"mas": 0.5}},
            "thresholds: unknown concept 'mas'. Did you mean 'mass'? Correct the setting file.",
        ),
        ({"url": "http://127.0.0.1:1/x", "concepts": ["mass"], "thresholds": {"mass": 5}}, "0 to 1 is required"),
    ],
)
def test_what_is_misspelt_in_an_adoption_is_refused_before_the_expert_is_loaded(
    refused, monkeypatch, tmp_path, settings, says
):
    def load(folder):
        raise AssertionError("loaded")

    monkeypatch.setattr("experts.adoption.load_expert", load)
    card = {"name": "x", "modality": "xray", "domain": "toy"}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"architecture": "http", "card": card, "settings": settings}))
    refused("experts", "adopt", tmp_path / "a.yaml", tmp_path / "out", says=says)
    assert not (tmp_path / "out").exists()


def test_an_adopted_expert_is_unknown_until_it_is_measured(vlmalign, cases, tmp_path):
    import torch
    from safetensors.torch import save_file

    from experts.classification import ClassifierSettings, build_classifier

    settings = {
        "network": "test_resnet", "classes": ["bright"], "kind": "multi_label", "weights": ["w.safetensors"],
        "preparation": {"size": 32, "channels": 1},
    }  # fmt: skip
    torch.manual_seed(0)
    network = build_classifier(ClassifierSettings.model_validate({**settings, "weights": ("w.safetensors",),
                                                                  "classes": ("bright",)}))  # fmt: skip
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({
        "architecture": "classification", "card": {"name": "x", "modality": "xray", "domain": "toy"},
        "settings": settings, "files": {"w.safetensors": "w.safetensors"},
    }))  # fmt: skip
    vlmalign("experts", "adopt", tmp_path / "a.yaml", tmp_path / "adopted" / "x")
    assert "Performance unknown" in vlmalign("experts", "list", tmp_path / "adopted").out
    told = vlmalign("experts", "measure", tmp_path / "adopted" / "x", cases, tmp_path / "m", "--choose", "f1").out
    assert "sensitivity of bright" in told and "by f1" in told
    wrong = vlmalign("experts", "measure", tmp_path / "adopted" / "x", cases, tmp_path / "n", "--choose", "best")
    assert wrong.code != 0 and "expected youden, f1 or sensitivity>=X" in wrong.err
