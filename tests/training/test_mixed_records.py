"""Training on records with one, several and no images."""

import json

import pytest

from vlmalign.records import DatasetBuild, Preference, assistant, user
from vlmalign.training import DpoConfig, train_dpo


@pytest.fixture
def mixed_pairs(tmp_path, draw):
    with DatasetBuild(tmp_path / "mixed", "preference", {}) as build:
        for i, images in enumerate((1, 0, 2, 1)):
            prompt = (user("Look.", images=images), assistant("Yes."), user("How many cells?"))
            record = Preference(
                id=f"p{i}", case_id=f"c{i}", group_id=f"g{i}", split="train", prompt=prompt, source="expert",
                images=tuple(draw(build, 10 * i + n) for n in range(images)), chosen=(assistant("One."),),
                rejected=(assistant("Many of them."),),
            )  # fmt: skip
            build.commit(record.id, [record])
    return str(tmp_path / "mixed")


def test_pairs_about_several_images_or_none_are_learnt_in_one_batch(settings, mixed_pairs, metrics_of, tmp_path):
    runs = []
    for name, extra in (("tower", {}), ("cache", {"feature_cache": str(tmp_path / "features")})):
        config = {**settings, "data": mixed_pairs, "out": str(tmp_path / name), "batch_size": 4, **extra}
        config |= {"lora": {"rank": 2}, "max_steps": 20, "learning_rate": 1e-2}
        runs.append(train_dpo(DpoConfig(**config)))
    one, other = (metrics_of(run)[-1] for run in runs)
    assert one["accuracy"] == 1.0 and other["loss"] == pytest.approx(one["loss"], rel=1e-3)
    assert json.loads((runs[0] / "summary.json").read_text())["forward_mode"] == "packed"
