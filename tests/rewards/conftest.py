"""Cases of blood smear fields whose truth is known, and candidates that say something of them."""

import pytest
from PIL import Image

from vlmalign.models import RewardModel, build_tiny_llava
from vlmalign.records import (
    Candidate,
    Case,
    DatasetBuild,
    Finding,
    ImageRef,
    Preference,
    Reference,
    Sampling,
    assistant,
    user,
)

LOGIC = "peripheral_smear"


def image_ref(i=0):
    return ImageRef(path=f"images/{i}.png", sha256=f"{i:064d}")


def finding(concept, value, image=None, status="present", **fields):
    unit = None if isinstance(value, str) else "1"
    return Finding(
        id=f"f/{concept}/{value}", image=image or image_ref(), concept=concept, status=status, value=value,
        unit=unit, expert="cells@1", **fields,
    )  # fmt: skip


def case(findings=(), i=0, text=None, image=None):
    reference = Reference(findings=tuple(findings), text=text) if findings or text else None
    return Case(
        id=f"c{i}", images=(image or image_ref(i),), messages=(user("Describe the field.", images=1),),
        domain=LOGIC, group_id=f"g{i}", group_kind="slide", reference=reference,
    )  # fmt: skip


def candidate(*texts, i=0, n=0, **fields):
    turns = [assistant(texts[0])]
    for question, answer in zip(texts[1::2], texts[2::2], strict=True):
        turns += [user(question), assistant(answer)]
    return Candidate(
        id=f"c{i}/{n}", case_id=f"c{i}", messages=tuple(turns), policy="p@1", seed=0,
        sampling=Sampling(max_new_tokens=8), **fields,
    )  # fmt: skip


@pytest.fixture(scope="session")
def make():
    """Builders of records."""

    class Make:
        pass

    for function in (image_ref, finding, case, candidate):
        setattr(Make, function.__name__, staticmethod(function))
    return Make


@pytest.fixture(scope="session")
def reward_run(tmp_path_factory):
    """A folder as `train_reward` leaves it, with random weights."""
    vlm = build_tiny_llava(
        ["A leukocyte is present."], image_size=32, patch_size=16, hidden=32, layers=2, vision_hidden=32,
        vision_layers=2, heads=2, vocab_size=300,
    )  # fmt: skip
    run = tmp_path_factory.mktemp("reward")
    RewardModel(vlm).save(run / "model")
    return run


@pytest.fixture
def folders(tmp_path):
    """Folders of two cases and their candidates; the second case has none."""
    with DatasetBuild(tmp_path / "cases", "case", {}) as build:
        for i in range(2):
            image = build.add_image(Image.new("RGB", (32, 32), (200, 40 + i, 90)))
            build.commit(str(i), [case([finding("leukocyte", "present")], i, image=image)])
    with DatasetBuild(tmp_path / "candidates", "candidate", {}) as build:
        texts = ["A leukocyte is present.", "No leukocyte is seen.", "Lovely weather."]
        build.commit("0", [candidate(text, n=n) for n, text in enumerate(texts)])
    return tmp_path / "cases", tmp_path / "candidates"


@pytest.fixture
def pair_folder(tmp_path):
    """One pair about one picture."""
    with DatasetBuild(tmp_path / "pairs", "preference", {}) as build:
        image = build.add_image(Image.new("RGB", (32, 32), (200, 40, 90)))
        pair = Preference(
            id="p", case_id="c0", group_id="g0", split="test", images=(image,),
            prompt=(user("Describe the field.", images=1),), chosen=(assistant("A leukocyte is present."),),
            rejected=(assistant("No leukocyte is seen."),), source="expert",
        )  # fmt: skip
        build.commit("p", [pair])
    return tmp_path / "pairs"
