"""A processor with a chat template whose turns end on </s>, and toy folders."""

import pytest
from PIL import Image

from vlmalign.models import build_tiny_llava
from vlmalign.records import DatasetBuild, Demonstration, Preference, assistant, user

QUESTION = "Describe the field."


@pytest.fixture(scope="session")
def vlm():
    return build_tiny_llava(
        ["A leukocyte is present.", "No leukocyte is seen."],
        image_size=32,
        patch_size=16,
        hidden=16,
        layers=1,
        vision_hidden=16,
        vision_layers=1,
        heads=2,
        vocab_size=300,
    )


@pytest.fixture(scope="session")
def processor(vlm):
    return vlm.processor


@pytest.fixture
def template(processor):
    """Change the chat template for one test."""
    kept = processor.chat_template

    def change(text):
        processor.chat_template = text

    yield change
    processor.chat_template = kept


@pytest.fixture
def build_folder(tmp_path):
    """Write records made by a function of the build into a folder."""

    def write(name, kind, make):
        with DatasetBuild(tmp_path / name, kind, {"name": name}) as build:
            for record in make(build):
                build.commit(record.id, [record])
        return str(tmp_path / name)

    return write


def grey(build, level):
    return build.add_image(Image.new("RGB", (32, 32), (level, level, level)))


def demonstration(build, i, text="No leukocyte is seen.", split="train", level=10):
    return Demonstration(
        id=f"d{i}", case_id=f"c{i}", group_id=f"g{i}", split=split, images=(grey(build, level),),
        prompt=(user(QUESTION, images=1),), response=(assistant(text),), source="labels",
    )  # fmt: skip


def preference(build, i, **changes):
    fields = {
        "id": f"p{i}", "case_id": f"c{i}", "group_id": f"g{i}", "split": "train", "images": (grey(build, 10 * i),),
        "prompt": (user(QUESTION, images=1),), "chosen": (assistant("A leukocyte is present."),),
        "rejected": (assistant("None."),), "margin": 1.5, "source": "expert",
    }  # fmt: skip
    return Preference(**{**fields, **changes})


@pytest.fixture(scope="session")
def records():
    return {"demonstration": demonstration, "preference": preference}
