"""Pre-training a vision tower from masks."""

import json

import pytest
import torch
from PIL import Image

from vlmalign.models import load_vlm
from vlmalign.records import Case, DataError, DatasetBuild, Finding, Reference, Region, user
from vlmalign.training import TowerConfig, pretrain_tower
from vlmalign.training.tower import IGNORED, patch_shares, read_dense_data


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """White squares (structure 1) left or right; the category says which, for all but one case."""
    folder = tmp_path_factory.mktemp("tower") / "cases"
    with DatasetBuild(folder, "case", {}) as build:
        for i in range(24):
            image, mask = Image.new("RGB", (32, 32), (20, 20, i)), Image.new("L", (32, 32))
            box = (0, 8, 16, 24) if i % 2 else (16, 8, 32, 24)
            image.paste((240, 240, 240), box)
            mask.paste(1, box)
            ref, drawn = build.add_image(image), build.add_image(mask)
            common = {"image": ref, "status": "present", "expert": "hand@1"}
            findings = [Finding(id=f"{i}/n", concept="disc_count", value=1.0,
                                region=Region(mask=drawn.path, label=1), **common)]  # fmt: skip
            if i:
                findings.append(Finding(id=f"{i}/s", concept="side", value="left" if i % 2 else "right", **common))
            known = Reference(findings=tuple(findings))
            case = Case(id=f"c{i}", images=(ref,), messages=(user("What?", images=1),), domain="d",
                        group_id=f"g{i}", group_kind="slide", reference=known)  # fmt: skip
            build.commit(case.id, [case])
    return folder


def config(discs, make_demos, out, **changes):
    settings = {
        "data": str(discs), "corpus": (str(make_demos()),), "out": str(out), "image_size": 32, "patch_size": 16,
        "hidden": 32, "layers": 1, "vision_hidden": 32, "vision_layers": 1, "heads": 2, "vocab_size": 300,
        "steps": 60, "batch_size": 8, "jitter": 0.0,
    }  # fmt: skip
    return TowerConfig(**(settings | changes))


def test_shares_are_counted_patch_by_patch_and_structure_by_structure():
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    labels[0, :2, :2] = 1
    labels[0, 2, 3] = 2
    assert patch_shares(labels, structures=2, patch=2)[0].tolist() == [[1, 0], [0, 0], [0, 0], [0, 0.25]]


def test_a_category_that_is_not_known_is_ignored_and_not_a_class(discs):
    data = read_dense_data(discs, 32)
    assert data.classes == {"side": ["left", "right"]}
    assert data.categories[:3, 0].tolist() == [IGNORED, 0, 1]


def test_the_tower_learns_where_the_structure_lies_and_the_folder_loads(discs, make_demos, tmp_path):
    out = pretrain_tower(config(discs, make_demos, tmp_path / "t"))
    losses = json.loads((out / "summary.json").read_text())["losses"]
    # half of two patches: knowing nothing of the place costs 1, knowing it 0.62, as half a patch is not settled
    assert losses["structure_1"] < 0.8
    load_vlm(out / "model")


def test_the_same_settings_do_nothing_and_others_are_refused(discs, make_demos, tmp_path):
    short = config(discs, make_demos, tmp_path / "t", steps=1)
    pretrain_tower(short)
    before = (tmp_path / "t" / "summary.json").stat().st_mtime_ns
    pretrain_tower(short)
    assert (tmp_path / "t" / "summary.json").stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="other settings"):
        pretrain_tower(short.model_copy(update={"seed": 1}))


def test_cases_without_masks_are_refused(make_demos, tmp_path):
    with DatasetBuild(tmp_path / "c", "case", {}) as build:
        ref = build.add_image(Image.new("RGB", (8, 8)))
        build.commit("c", [Case(id="c", images=(ref,), messages=(user("?", images=1),), domain="d", group_id="g",
                                group_kind="slide")])  # fmt: skip
    with pytest.raises(DataError, match="no case has a mask"):
        read_dense_data(tmp_path / "c", 32)
