"""What a user adds: sources, experts and rewards by entry point, a logic by its file, logging by report_to."""

import json
from importlib import resources

import pytest

from data_builders.sources.registry import BUILT_IN
from vlmalign.records import (
    Candidate,
    Case,
    DatasetBuild,
    Demonstration,
    Finding,
    Judgement,
    Sampling,
    assistant,
    read_records,
)

CODE = '''
from experts.protocol import Examination, ExpertCard, Measured
from experts.registry import read_card
from vlmalign.records import Case, DatasetBuild, user
from vlmalign.rewards import RewardOutput
from PIL import Image


def build_squares(*, out, overwrite=False, shade: int = 128):
    """Grey squares, for a test."""
    with DatasetBuild(out, "case", {"shade": shade}, overwrite=overwrite) as build:
        if not build.has("one"):
            ref = build.add_image(Image.new("L", (32, 32), shade))
            build.commit("one", [Case(id="one", images=(ref,), messages=(user("What?", images=1),),
                                      domain="squares", group_id="g", group_kind="square")])
    return out


def build_nothing(*, out, overwrite=False, how: str = "ZeroDivisionError"):
    """Fails [always], in many ways."""
    if how == "exit":
        raise SystemExit(3)
    if how == "disk":
        raise OSError(28, "No space left on device", "pictures/a.png")
    raise {"ZeroDivisionError": ZeroDivisionError, "ValueError": ValueError}[how]("first line\\nsecond line")


class Brightness:
    def __init__(self, card):
        self.card = card

    def examine(self, images):
        return [Examination({"brightness": Measured(sum(i.convert("L").resize((1, 1)).getpixel((0, 0))
                                                        for _ in "x") / 255, 0.0)}) for i in images]


def load_brightness(folder):
    return Brightness(read_card(folder))


class Length:
    name = "length@1"
    needs_images = False

    def __init__(self, per_word: float = 1.0):
        self.per_word = per_word

    def score(self, cases, candidates, images=None):
        scores = [self.per_word * len(c.messages[0].text.split()) for c in candidates]
        return RewardOutput.of(scores, reasons=[None] * len(scores))
'''

ENTRY_POINTS = """
[vlmalign.sources]
squares = users_package:build_squares
failing = users_package:build_nothing
gone = users_package_that_is_gone:build

[vlmalign.experts]
brightness = users_package:load_brightness
lost = users_package_that_is_gone:load

[vlmalign.rewards]
length = users_package:Length
broken = users_package_that_is_gone:Length
"""


@pytest.fixture(autouse=True)
def installed(tmp_path_factory, monkeypatch):
    """A user's package, installed the way pip does it."""
    site = tmp_path_factory.mktemp("site")
    (site / "users_package.py").write_text(CODE)
    info = site / "users_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: users-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(__import__("sys").modules, "users_package", raising=False)


def test_a_users_source_is_listed_built_and_its_options_checked(vlmalign, refused, tmp_path):
    assert "squares      Grey squares, for a test." in vlmalign("source", "list").out
    refused(
        "source", "build", "squares", "--out", "o", "--set", "shde=3", says="source 'squares': unknown setting"
    )
    refused("source", "build", "squares", "--out", "o", "--set", "shade=dark", says="'shade' is 'dark'")
    assert vlmalign("source", "build", "squares", "--out", "squares", "--set", "shade=7").code == 0
    assert read_records(tmp_path / "squares", Case)[0].domain == "squares"


def test_one_broken_source_does_not_hide_the_others(vlmalign, refused):
    result = vlmalign("source", "list")
    assert (result.code, result.err) == (0, "")
    lines = {line.split()[0]: line for line in result.out.splitlines()}
    assert set(lines) == {*BUILT_IN, "failing", "gone", "squares"}
    assert lines["gone"].startswith("gone         broken: source 'gone' cannot be loaded from users_package_that")
    assert lines["failing"] == "failing      Fails [always], in many ways."
    refused("source", "build", "gone", "--out", "o", says="users_package_that_is_gone")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("ZeroDivisionError", "ZeroDivisionError: first line second line. VLMALIGN_TRACEBACK=1 shows where"),
        ("ValueError", "first line second line"),
        ("exit", "SystemExit: 3"),
        ("disk", "pictures/a.png: no space left on device. Free some space"),
    ],
)
def test_a_users_source_that_fails_is_named_in_one_line(refused, how, says):
    command = ("source", "build", "failing", "--out", "o", "--set", f"how={how}")
    refused(*command, says=f"error: source 'failing' (users_package:build_nothing) failed: {says}")


def test_a_users_expert_is_listed_and_run(vlmalign, cases, tmp_path):
    (tmp_path / "expert").mkdir()
    card = {"name": "bright", "version": "1", "architecture": "brightness", "modality": "light_microscopy",
            "domain": "peripheral_smear", "structures": [], "concepts": ["brightness"]}  # fmt: skip
    (tmp_path / "expert" / "expert.json").write_text(json.dumps({"card": card}))
    listed = vlmalign("experts", "list", tmp_path).out
    assert "entry point of users-package" in listed and "assesses brightness" in listed
    assert "cannot be used: architecture 'lost' cannot be loaded" in " ".join(listed.split())
    assert listed.count("cannot be used") == 1
    result = vlmalign("experts", "run", "expert", cases, "findings")
    assert (result.code, result.out) == (0, "wrote findings\n6 records: images 6, status_present 6\n"), result.err
    found = read_records(tmp_path / "findings", Finding)
    assert len(found) == 6 and all(0 < f.value < 1 for f in found)


def test_a_users_reward_scores_and_its_settings_are_checked(vlmalign, refused, cases, tmp_path):
    with DatasetBuild(tmp_path / "answers", "candidate", {}) as build:
        for case in read_records(cases, Case):
            answer = Candidate(
                id=f"{case.id}/0", case_id=case.id, messages=(assistant("two words"),), policy="p@1", seed=0,
                sampling=Sampling(max_new_tokens=3),
            )  # fmt: skip
            build.commit(case.id, [answer])
    command = ("score", "length", "--cases", cases, "--candidates", "answers", "--out")
    refused(*command, "o", "--set", "per_wrd=2", says="reward 'length'")
    assert vlmalign(*command, "judged", "--set", "per_word=2").code == 0
    assert {j.score for j in read_records(tmp_path / "judged", Judgement)} == {4.0}


def test_an_entry_point_that_cannot_be_loaded_is_named(refused, cases):
    says = ["reward 'broken'", "users_package_that_is_gone", "uninstall"]
    refused("score", "broken", "--cases", cases, "--candidates", cases, "--out", "o", says=says)


def test_a_logic_of_ones_own_is_a_file(vlmalign, refused, cases, tmp_path):
    text = (resources.files("vlmalign.clinical") / "logic" / "peripheral_smear.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)
    command = ("build", "demonstrations", "--cases", cases, "--from-reference", "--out")
    assert vlmalign(*command, "mine", "--logic", "mine.yaml").code == 0
    assert vlmalign(*command, "ours", "--logic", "peripheral_smear").code == 0
    mine, ours = (read_records(tmp_path / name, Demonstration) for name in ("mine", "ours"))
    assert mine == ours
    (tmp_path / "bad.yaml").write_text(text + "colour: red\n")
    refused(*command, "bad", "--logic", "bad.yaml", says=["bad.yaml:", "unknown key"])
    assert not (tmp_path / "bad").exists()


def test_report_to_writes_event_files_beside_the_metrics(vlmalign, recipe, tmp_path):
    pytest.importorskip("tensorboard")
    assert vlmalign("sft", recipe(report_to=["tensorboard"], max_steps=1)).code == 0
    (events,) = (tmp_path / "run" / "runs").rglob("events.out.tfevents.*")
    assert events.stat().st_size > 0
    assert b"train/loss" in events.read_bytes()


def test_report_to_something_unknown_is_refused(refused, recipe):
    refused("sft", recipe(report_to=["mlflow"]), says=["report_to", "'tensorboard' or 'wandb'"])
