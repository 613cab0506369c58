import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experts import classifier_training, load_expert, measuring, read_card
from experts.classifier_config import ClassifierConfig
from experts.classifier_metrics import auroc
from experts.classifier_training import train_classifier
from experts.labelled import load_labelled
from experts.measuring import measure_expert
from experts.pixel_baseline import pixel_baseline, tiny_pictures
from vlmalign.records import DataError

KERMANY = (
    Path(os.environ.get("VLMALIGN_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "kermany_cxr"
)
QUICK = ClassifierConfig(network="test_resnet", size=32, members=2, epochs=4, batch_size=8, learning_rate=3e-3)


def metrics(folder):
    return {m.name: m for m in read_card(folder).performance}


def test_it_learns_and_its_card_shows_the_pixel_baseline_beside_it(blob_expert):
    found = metrics(blob_expert)
    assert found["auroc"].value > 0.8
    assert found["auroc_above_pixels"].value == pytest.approx(
        found["auroc"].value - found["pixel_baseline_auroc"].value, abs=2e-6
    )
    assert found["auroc"].images == found["sensitivity"].images + found["specificity"].images


def test_no_group_is_in_two_of_training_choice_and_card(blob_expert, blobs):
    card, groups = read_card(blob_expert), set(load_labelled(blobs).groups)
    measured = metrics(blob_expert)["auroc"].groups
    assert len(card.training_groups) + measured == len(groups)
    assert card.operating_points[0].groups + measured < len(groups)


def test_a_killed_training_continues_to_the_same_bytes(blob_expert, blobs, tmp_path, monkeypatch):
    save, calls = classifier_training.save_epoch, 0

    def killed(*args):
        nonlocal calls
        calls += 1
        save(*args)
        if calls in (3, 5):  # in the first member and in the second
            raise KeyboardInterrupt

    monkeypatch.setattr(classifier_training, "save_epoch", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_classifier(blobs, tmp_path / "e", config=QUICK)
    train_classifier(blobs, tmp_path / "e", config=QUICK)
    for name in ("expert.json", "weights-0.safetensors", "weights-1.safetensors"):
        assert (tmp_path / "e" / name).read_bytes() == (blob_expert / name).read_bytes()


def test_other_settings_in_the_folder_and_unknown_networks_are_refused(blob_expert, blobs, tmp_path):
    with pytest.raises(DataError, match="epochs: 4 there, 5 here"):
        train_classifier(blobs, blob_expert, config=QUICK.model_copy(update={"epochs": 5}))
    with pytest.raises(ValueError, match="does not have"):
        train_classifier(blobs, tmp_path / "e", config=QUICK.model_copy(update={"network": "resnet_of_mine"}))
    assert not (tmp_path / "e").exists()


def test_uncertain_findings_are_counted_and_left_out(make_blobs, tmp_path):
    data = load_labelled(make_blobs(tmp_path / "cases", uncertain=5))
    assert data.unknown == {"blob": 5} and (data.truth == -1).sum() == 5


def test_a_part_with_one_status_only_is_named(make_blobs, tmp_path):
    cases = make_blobs(tmp_path / "cases", groups=3, per_group=1)
    with pytest.raises(
        DataError, match="in the (training|choice|held-out) groups 'blob' is (present|absent) only"
    ):
        train_classifier(cases, tmp_path / "e", config=QUICK)


def test_masked_labels_have_no_say_in_the_loss():
    import torch

    logits = torch.tensor([[0.0, 5.0], [0.0, -3.0]])
    loss = classifier_training.masked_loss(logits, torch.tensor([[1, -1], [0, -1]]), torch.ones(2))
    assert float(loss) == pytest.approx(np.log(2), abs=1e-6)


def test_measuring_leaves_out_groups_that_training_has_seen(blob_expert, blobs, make_blobs, tmp_path):
    again = measure_expert(blob_expert, blobs, tmp_path / "again")
    assert metrics(again)["auroc"].value == metrics(blob_expert)["auroc"].value


def test_cases_of_groups_that_are_all_known_measure_nothing(blob_expert, blobs, tmp_path, monkeypatch):
    card = read_card(blob_expert).model_copy(update={"training_groups": load_labelled(blobs).groups})
    monkeypatch.setattr(measuring, "read_card", lambda folder: card)
    with pytest.raises(DataError, match="0 of 18 groups are new to the expert"):
        measure_expert(blob_expert, blobs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_measuring_chooses_thresholds_on_other_groups_than_it_measures(blob_expert, make_blobs, tmp_path):
    fresh = make_blobs(tmp_path / "cases", groups=24, seed=5)
    before = set(read_card(blob_expert).training_groups)
    out = measure_expert(blob_expert, fresh, tmp_path / "out", choose="sensitivity>=0.9")
    card = read_card(out)
    assert card.version != read_card(blob_expert).version
    assert card.operating_points[0].rule == "sensitivity>=0.9" and card.operating_points[0].sensitivity >= 0.9
    new = {f"group-{i}" for i in range(24)} - before
    assert metrics(out)["auroc"].groups + card.operating_points[0].groups == len(new)
    assert load_expert(out).settings.thresholds["blob"] == card.operating_points[0].threshold
    assert measure_expert(blob_expert, fresh, out, choose="sensitivity>=0.9") == out
    with pytest.raises(DataError, match="another expert is here"):
        measure_expert(blob_expert, fresh, out, choose="f1")


def test_measuring_refuses_its_own_folder_and_the_options_of_masks(blob_expert, blobs, tmp_path):
    with pytest.raises(ValueError, match="own folder"):
        measure_expert(blob_expert, blobs, blob_expert)
    with pytest.raises(ValueError, match="observer and compare are for experts that draw masks"):
        measure_expert(blob_expert, blobs, tmp_path / "x", observer="a")


@pytest.mark.skipif(not KERMANY.is_dir(), reason="the paediatric chest films are absent (VLMALIGN_DATA)")
def test_few_pixels_tell_pneumonia_in_the_real_films_which_is_why_they_stand_beside_every_result():
    rows = list(csv.DictReader((KERMANY / "labels.csv").open()))[::4]
    pictures = tiny_pictures(Image.open(KERMANY / row["path"]) for row in rows)
    truth = np.array([row["label"] == "pneumonia" for row in rows], dtype=np.int8)
    patients = sorted({row["patient"] for row in rows})
    test = np.isin([row["patient"] for row in rows], patients[::3])
    p = pixel_baseline(pictures[~test], truth[~test], pictures[test])
    assert auroc(p, truth[test].astype(float), np.ones(test.sum())) > 0.85
