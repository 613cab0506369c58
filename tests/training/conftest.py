"""A tiny LLaVA and toy folders: bright fields hold a leukocyte, dark ones do not."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from vlmalign.models import build_tiny_llava, load_vlm, save_vlm
from vlmalign.records import (
    Case,
    DatasetBuild,
    Demonstration,
    Finding,
    Preference,
    assistant,
    user,
)
from vlmalign.records import Reference as Known
from vlmalign.training import DpoConfig, train_dpo
from vlmalign.training.reference import Reference

QUESTION = "Describe the field."
PRESENT, ABSENT = "A leukocyte is present.", "No leukocyte is seen."

torch.set_num_threads(1)
os.environ["VLMALIGN_QUIET"] = "1"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A model folder whose attention has dropout, so that a resumed run must restore the random state."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    vlm = build_tiny_llava(
        [PRESENT, ABSENT, QUESTION],
        image_size=32,
        patch_size=16,
        hidden=32,
        layers=2,
        vision_hidden=32,
        vision_layers=2,
        heads=2,
        vocab_size=300,
    )
    vlm.model.config.text_config.attention_dropout = 0.1
    save_vlm(vlm, folder)
    return str(folder)


@pytest.fixture
def tiny(tiny_folder):
    return load_vlm(tiny_folder)


def truth(i: int) -> tuple[str, str]:
    return (PRESENT, ABSENT) if i % 2 else (ABSENT, PRESENT)


def picture(build: DatasetBuild, i: int):
    level = 220 - i if i % 2 else 30 + i
    return build.add_image(Image.new("RGB", (32, 32), (level, level, level)))


@pytest.fixture(scope="session")
def draw():
    return picture


@pytest.fixture(scope="session")
def make_demos(tmp_path_factory):
    def make(n=8, first=0, split="train", group="g", weight=1.0, wrong=False):
        folder = tmp_path_factory.mktemp("demos") / "d"
        with DatasetBuild(folder, "demonstration", {"n": n, "first": first, "group": group}) as build:
            for i in range(first, first + n):
                record = Demonstration(
                    id=f"d{i}", case_id=f"c{i}", group_id=f"{group}{i}", split=split, images=(picture(build, i),),
                    prompt=(user(QUESTION, images=1),), response=(assistant(truth(i)[wrong]),),
                    source="labels",
                    weight=weight,
                )  # fmt: skip
                build.commit(record.id, [record])
        return str(folder)

    return make


@pytest.fixture(scope="session")
def make_pairs(tmp_path_factory):
    def make(n=8, first=0, split="train", group="g", margin=1.0):
        folder = tmp_path_factory.mktemp("pairs") / "p"
        with DatasetBuild(folder, "preference", {"n": n, "first": first, "group": group}) as build:
            for i in range(first, first + n):
                good, bad = truth(i)
                record = Preference(
                    id=f"p{i}", case_id=f"c{i}", group_id=f"{group}{i}", split=split, images=(picture(build, i),),
                    prompt=(user(QUESTION, images=1),), chosen=(assistant(good),), rejected=(assistant(bad),),
                    margin=margin, source="expert",
                )  # fmt: skip
                build.commit(record.id, [record])
        return str(folder)

    return make


@pytest.fixture(scope="session")
def make_ranked(tmp_path_factory):
    """Three answers to each case, in all three pairs."""

    def make(cases, compared=((0, 1), (0, 2), (1, 2)), weights=(1.0, 1.0, 1.0)):
        folder = tmp_path_factory.mktemp("ranked") / "p"
        with DatasetBuild(folder, "preference", {"cases": cases}) as build:
            for i in range(cases):
                answers = [*truth(i), "The field is blurred."]
                for n, (a, b) in enumerate(compared):
                    record = Preference(
                        id=f"p{i}/{n}", case_id=f"c{i}", group_id=f"g{i}", split="train",
                        images=(picture(build, i),), prompt=(user(QUESTION, images=1),),
                        chosen=(assistant(answers[a]),),
                        rejected=(assistant(answers[b]),), margin=float(n + 1), source="expert",
                        weight=weights[n],
                    )  # fmt: skip
                    build.commit(record.id, [record])
        return str(folder)

    return make


@pytest.fixture(scope="session")
def make_cases(tmp_path_factory):
    """Fields whose leukocyte is known."""

    def make(n=8, first=0, split="train", group="g"):
        folder = tmp_path_factory.mktemp("cases") / "c"
        with DatasetBuild(folder, "case", {"n": n, "first": first, "split": split}) as build:
            for i in range(first, first + n):
                image = picture(build, i)
                seen = "present" if i % 2 else "absent"
                known = Finding(
                    id=f"c{i}/leukocyte",
                    image=image,
                    concept="leukocyte",
                    status=seen,
                    expert="labels",
                )
                record = Case(
                    id=f"c{i}", images=(image,), messages=(user(QUESTION, images=1),), domain="peripheral_smear",
                    group_id=f"{group}{i}", group_kind="slide", split=split,
                    reference=Known(findings=(known,)),
                )  # fmt: skip
                build.commit(record.id, [record])
        return str(folder)

    return make


@pytest.fixture(scope="session")
def talking_folder(tiny_folder, make_demos, tmp_path_factory):
    """A model that says one of the two answers, whatever it sees."""
    from vlmalign.training import SftConfig, train_sft

    settings = {"learning_rate": 3e-3, "batch_size": 8, "max_steps": 150, "device": "cpu", "warmup": 0.0}
    out = tmp_path_factory.mktemp("talking") / "run"
    data = [make_demos(n=8, wrong=True), make_demos(n=8)]
    return str(train_sft(SftConfig(model=tiny_folder, data=data, out=str(out), **settings)) / "model")


@pytest.fixture(scope="session")
def demos(make_demos):
    return make_demos()


@pytest.fixture(scope="session")
def pairs(make_pairs):
    return make_pairs()


@pytest.fixture
def settings(tiny_folder, tmp_path):
    """Settings that all stages need, without the data."""
    return {
        "model": tiny_folder, "out": str(tmp_path / "run"), "max_steps": 6, "batch_size": 2,
        "learning_rate": 1e-3, "logging_steps": 1, "device": "cpu", "warmup": 0.0, "lr_schedule": "constant",
    }  # fmt: skip


@pytest.fixture
def still_settings(settings, tmp_path):
    """Without dropout, so that policy and reference agree before the first step."""
    vlm = load_vlm(settings["model"])
    vlm.model.config.text_config.attention_dropout = 0.0
    save_vlm(vlm, tmp_path / "still")
    return {**settings, "model": str(tmp_path / "still")}


@pytest.fixture
def first_step_at(monkeypatch):
    """Run a first step whose log-ratios are given, by changing the reference before it; returns its metrics."""
    from vlmalign.training import trainer

    def run(config: DpoConfig, ratios) -> dict:
        with monkeypatch.context() as patch:
            patch.setattr(trainer.StageTrainer, "train", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                train_dpo(config)
        file = Path(config.out) / "reference.safetensors"
        found = Reference.load(file)
        Reference(list(found.row), found.logps - torch.tensor(ratios), found.flops).save(file)
        return read_metrics(train_dpo(config))[0]

    return run


def read_metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def metrics_of():
    return read_metrics
