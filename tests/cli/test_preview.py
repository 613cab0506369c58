"""`vlmalign preview`: tokens with their loss mask, the picture as the model sees it, memory."""

import re

import numpy as np
from PIL import Image

from vlmalign.records import Case, DatasetBuild, Preference, RecordFolder, assistant


def test_preview_marks_the_learnt_tokens_and_begins_no_run(vlmalign, recipe, tmp_path):
    result = vlmalign("preview", recipe())
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == "12 examples; batches of 2 prompts; learnt tokens are «marked»"
    assert lines[2] == "prompt   <s><user>[4 image tokens]Describe this blood smear field.<assistant>"
    report, counts = re.fullmatch(r"answer 0 «(.*)</s>»  \((\d+ of \d+) tokens learnt\)", lines[3]).groups()
    assert report.count(".") == 7  # six concepts and the impression
    learnt, real = counts.split(" of ")
    assert learnt == real
    assert not (tmp_path / "run").exists()


def test_in_a_conversation_only_the_assistants_turns_are_learnt(vlmalign, recipe):
    lines = vlmalign("preview", recipe()).out.splitlines()
    (conversation,) = [line for line in lines if line.startswith("answer") and "<user>" in line]
    learnt = re.findall("«(.*?)»", conversation)
    assert len(learnt) == 7
    assert all(turn.endswith("</s>") and "<user>" not in turn and "?" not in turn for turn in learnt)


def test_the_written_picture_is_the_resized_image(vlmalign, recipe, cases, tmp_path):
    result = vlmalign("preview", recipe(), "--out", "seen", "--examples", 1)
    assert "wrote seen/image-0.png" in result.out
    with Image.open(tmp_path / "seen" / "image-0.png") as image:
        seen = np.asarray(image).astype(int)
    folder = RecordFolder(cases, Case)
    original = np.asarray(folder.image(next(iter(folder)).images[0])).astype(int)
    assert np.abs(seen - original).max() <= 1  # 32 pixels in, 32 pixels seen: only rounding is left


def megabytes(text, name):
    return float(re.search(rf"{name} ([\d.]+) MB", text).group(1))


def test_the_memory_estimate_follows_what_is_trained_and_the_batch(vlmalign, recipe, tiny):
    def estimate(**changes):
        return vlmalign("preview", recipe(**changes)).out.splitlines()[-1]

    whole, lora, large = estimate(), estimate(lora={"rank": 1}), estimate(batch_size=20)
    weights = (tiny / "model.safetensors").stat().st_size / 1e6
    assert abs(megabytes(whole, "weights") - weights) < 0.1
    assert megabytes(whole, "gradients") == megabytes(whole, "weights")
    assert megabytes(lora, "gradients") < megabytes(whole, "gradients")
    ratio = megabytes(large, "activations") / megabytes(whole, "activations")
    assert 9 < ratio < 11  # twenty prompts instead of two


def test_both_sides_of_a_pair_are_shown_for_dpo_and_reward(vlmalign, recipe, cases, tmp_path):
    folder = RecordFolder(cases, Case)
    with DatasetBuild(tmp_path / "pairs", "preference", {}) as build:
        for case in folder:
            pair = Preference(
                id=case.id, case_id=case.id, group_id=case.group_id, split="train",
                images=(build.adopt(case.images[0], folder.path),),
                prompt=case.messages, chosen=(assistant("Größe: gut."),), rejected=(assistant("No cell."),),
                margin=1.0, source="expert",
            )  # fmt: skip
            build.commit(pair.id, [pair])
    for stage in ("dpo", "reward"):
        result = vlmalign("preview", recipe(stage, data=[str(tmp_path / "pairs")]), "--examples", 1)
        assert result.code == 0, result.err
        shown = ["«Größe: gut.</s>»", "«No cell.</s>»"]  # a letter of two tokens stays whole
        if stage == "reward":
            shown = ["Größe: gut.«</s>»  (one score, read at token", "No cell.«</s>»  (one score, read at token"]
            assert "the last token, whose score is learnt, is «marked»" in result.out
            assert "tokens learnt" not in result.out
        assert all(f"answer {number} {answer}" in result.out for number, answer in enumerate(shown))
        assert "memory estimate" in result.out


def test_a_stage_that_does_not_train_has_no_preview(refused):
    refused(
        "preview",
        "smear-split",
        says="stage 'split' has no preview: give a recipe of stage sft, reward, dpo or ppo",
    )


def test_at_least_one_example_is_shown(refused, recipe):
    refused("preview", recipe(), "--examples", 0, says="--examples is 0")


def test_an_online_stage_shows_sampled_answers_with_their_reward_or_why_they_have_none(vlmalign, recipe, cases):
    online = recipe(
        stage="ppo", data=[str(cases)], samples=2, max_new_tokens=8, batch_size=2,
        reward={"name": "symbolic", "settings": {"logic": "peripheral_smear"}},
    )  # fmt: skip
    result = vlmalign("preview", online, "--examples", 1)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("6 cases; rounds of 2 with 2 answers each; reward symbolic@")
    answers = [line for line in lines if line.startswith("answer ")]
    assert len(answers) == 2 and all("(no score: unfinished" in line for line in answers)
    assert "weights and reference" in lines[-1] and "for 2 prompts" in lines[-1]
