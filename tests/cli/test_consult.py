"""A model with an expert at hand: the loop, the verb over folders, and the chat."""

import json

import numpy as np
import pytest
from PIL import Image

from experts import Examination, ExpertCard, Measured
from vlmalign.cli.consulting import Asked, Consultant
from vlmalign.models.sampling import Sample
from vlmalign.records import Candidate, RecordFolder, read_manifest

CARD = ExpertCard(
    name="cells", version="1", architecture="segmentation", modality="light microscopy", domain="peripheral_smear",
    structures=("platelet",), concepts=("platelet_count",),
)  # fmt: skip


class Brightness:
    """An expert that finds as many platelets as its image is bright."""

    card = CARD

    def examine(self, images):
        found = []
        for image in images:
            value = float(np.asarray(image).mean())
            labels = np.ones(image.size[::-1], dtype=np.uint8)
            found.append(Examination({"platelet_count": Measured(value, 0.0, 1.0)}, labels, {"platelet_count": 1}))
        return found


class Scripted(Consultant):
    """A consultant whose model calls when it is asked of platelets, and then repeats what it was told."""

    def __init__(self, *experts):
        super().__init__(None, *experts or [Brightness()])
        self.seen = []

    def _sample(self, prompts, images, seeds):
        self.seen += [(prompt, len(shown)) for prompt, shown in zip(prompts, images, strict=True)]
        texts = []
        for prompt in prompts:
            last = prompt[-1].text
            called = last.startswith("Findings")
            texts.append(last.split(".")[0] if called else "<CELLS(platelet)>" if "platelets" in last else "Yes.")
        return [Sample((1,), text, -1.0, True) for text in texts]


def grey(level):
    return Image.new("RGB", (8, 8), (level,) * 3)


def test_only_those_who_call_are_asked_again_and_get_their_own_findings():
    model = Scripted()
    asked = [
        Asked("How many platelets?", grey(7), grey(7)),
        Asked("In focus?", grey(8), grey(8)),
        Asked("Any platelets?", grey(9), grey(9)),
    ]
    first, second, third = model.answer(asked, [1, 2, 3])
    assert first.final.text == "Findings of cells@1: platelet count 7, present (probability 1" and first.overlay
    assert third.final.text.startswith("Findings of cells@1: platelet count 9")
    assert second.call.state == "none" and second.final.text == "Yes." and second.overlay is None
    assert [shown for _, shown in model.seen] == [1, 1, 1, 2, 2]
    opening = model.seen[0][0][0]
    assert "<CELLS(argument)>: segmentation" in opening.text and opening.text.endswith("How many platelets?")
    assert model.seen[3][0][-1].text.endswith("How many platelets?")  # the question again, after the findings


def test_the_control_shows_the_expert_another_picture_and_the_model_its_own():
    answered = Scripted().answer([Asked("platelets?", grey(7), grey(9))], [1])[0]
    assert "platelet count 9" in answered.feedback and answered.images[0] == grey(7)


def test_without_an_expert_nothing_is_told_of_experts_and_a_call_calls_nobody():
    model = Scripted(None)
    answered = model.answer([Asked("How many platelets?", grey(7), grey(7))], [1])[0]
    assert answered.call.state == "none" and answered.final.text == "<CELLS(platelet)>"
    assert model.seen[0][0][0].text == "How many platelets?"


def test_a_later_question_follows_all_that_was_said_and_shown():
    model = Scripted()
    one = model.answer([Asked("How many platelets?", grey(7), grey(7))], [1])[0]
    model.answer([Asked("Really?", grey(7), grey(7), one.turns, one.images)], [2])
    prompt, shown = model.seen[-1]
    assert [turn.role for turn in prompt] == ["user", "assistant", "user", "assistant", "user"]
    assert shown == 2 == sum(turn.n_images for turn in prompt)


@pytest.fixture(scope="session")
def expert(workshop):
    from data_builders.sources import build_smear
    from experts import ExpertConfig, NetworkSettings, train_expert

    out, cases = workshop / "expert", build_smear(workshop / "expert_cases", n_groups=10, size=32)
    train_expert(
        cases,
        out,
        config=ExpertConfig(epochs=1, size=32, network=NetworkSettings(channels=(4, 8)), held_out_share=0.3),
    )
    return out


def test_consult_writes_candidates_that_evaluate_reads_and_pairs(vlmalign, tiny, cases, expert, tmp_path):
    options = [
        "--max-new-tokens",
        4,
        "--logic",
        "peripheral_smear",
        "--concept",
        "platelets",
        "--concept",
        "stain",
    ]
    assert vlmalign("consult", tiny, cases, "with", "--expert", expert, *options).code == 0
    assert vlmalign("consult", tiny, cases, "without", *options).code == 0
    records = list(RecordFolder(tmp_path / "with", Candidate))
    assert len(records) == 12 and records[0].extra["concepts"] == ["platelets"]
    counts = read_manifest(tmp_path / "with").counts
    assert sum(n for name, n in counts.items() if name.startswith("call_")) == 12
    result = vlmalign("evaluate", "answers", "with", "--cases", cases, "--against", "without", "--json", "x.json")
    assert result.code == 0, result.err
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["answers"]["with"]["question_accuracy"]["n"] == 12
    assert found["minus without"]["with"]["question_accuracy"]["n"] == 12


def test_swapped_feedback_needs_an_expert_and_two_groups(refused, tiny, cases, expert):
    refused("consult", tiny, cases, "out", "--swap-feedback", says="give --expert, or drop it")
    refused("consult", tiny, cases, "out", "--expert", expert, "--swap-feedback", "--limit", 1, says="two groups")
    refused("consult", tiny, cases, "out", "--concept", "stain", says="no logic")


def test_chat_answers_and_keeps_a_transcript_and_refuses_to_write_into_another(
    vlmalign, refused, tiny, cases, expert, tmp_path
):
    image = next((cases / "images").rglob("*.png"))
    options = ["--ask", "How many platelets are seen?", "--max-new-tokens", 4, "--save", "talk"]
    result = vlmalign("chat", tiny, image, "--expert", expert, *options)
    assert result.code == 0 and "model:" in result.out
    line = json.loads((tmp_path / "talk" / "chat.jsonl").read_text())
    assert line["question"] == "How many platelets are seen?" and line["call"] == "none"
    refused("chat", tiny, image, *options, says="is there already")


@pytest.fixture
def loads_nothing(monkeypatch):
    def load(*_, **__):
        raise AssertionError("a model was loaded")

    for name in ("vlmalign.models.load_vlm", "experts.registry.load_expert", "experts.measuring.load_expert"):
        monkeypatch.setattr(name, load)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["no.png"], "no.png"),
        (["IMAGE", "--temperature", -1], "temperature is -1.0"),
        (["IMAGE", "--max-new-tokens", 0], "max_new_tokens is 0"),
        (["IMAGE", "--expert", "nobody"], "expert.json is missing"),
    ],
)
def test_chat_loads_no_model_before_all_its_options_are_found_good(
    refused, loads_nothing, tiny, cases, expert, options, says
):
    image = next((cases / "images").rglob("*.png"))
    given = [image if option == "IMAGE" else option for option in options]
    refused("chat", tiny, *given, *([] if "--expert" in given else ["--expert", expert]), says=says)


def test_chat_loads_no_expert_for_a_model_that_is_not_there(refused, loads_nothing, cases, expert):
    image = next((cases / "images").rglob("*.png"))
    refused("chat", "runs/none", image, "--expert", expert, says="runs/none")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--choose", "best"], "expected youden, f1 or sensitivity>=X"),
        (["--choice-share", 0.3], "choice_share is 0.3 and choose is not given"),
        (["--choose", "f1", "--choice-share", 1], "choice_share is 1.0"),
        (["--choose", "f1"], "thresholds are for presences"),
    ],
)
def test_measuring_loads_no_expert_before_its_options_are_found_good(
    refused, loads_nothing, cases, expert, options, says
):
    refused("experts", "measure", expert, cases, "out", *options, says=says)


def test_chat_survives_a_wrong_path_and_unknown_commands(vlmalign, tiny, cases):
    image = next((cases / "images").rglob("*.png"))
    said = ["/image no.png", "/frobnicate", "/again", "/quit", "never asked"]
    result = vlmalign("chat", tiny, image, *[part for text in said for part in ("--ask", text)])
    assert result.code == 0 and "no.png" in result.err and "/frobnicate is no command" in result.err
    assert "model:" not in result.out
