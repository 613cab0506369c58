"""`vlmalign evaluate shortcuts`: a scalar reward model on tiny pairs."""

import json

import pytest

from vlmalign.models import RewardModel, build_tiny_llava


@pytest.fixture
def reward_run(tmp_path):
    vlm = build_tiny_llava(
        ["A leukocyte is present.", "No leukocyte is seen."], image_size=32, patch_size=16, hidden=32, layers=1,
        vision_hidden=32, vision_layers=1, heads=2, vocab_size=300,
    )  # fmt: skip
    RewardModel(vlm).save(tmp_path / "reward" / "model")
    return tmp_path / "reward"


def test_a_scalar_reward_is_audited_and_the_same_command_does_nothing_new(
    vlmalign, refused, pair_folders, reward_run, tmp_path
):
    pairs = pair_folders.pairs("pairs", {f"p{i}": {} for i in range(4)})
    command = ("evaluate", "shortcuts", "scalar", "--set", f"run={reward_run}", "--set", "device=cpu")
    command = (*command, "--pairs", pairs, "--out", "audit", "--json", "audit.json")
    result = vlmalign(*command)
    assert result.code == 0, result.err
    figures = json.loads((tmp_path / "audit.json").read_text())
    assert set(figures["variants"]) == {"seen", "blanked", "swapped", "answer_only", "concise", "markdown"}
    assert figures["variants"]["blanked"]["changed"]["n"] == 4
    for words in ("verdicts", "seen minus this", "length in words", "chosen concise, rejected markdown"):
        assert words in result.out
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "audit").rglob("records.jsonl")}
    assert len(written) == 6
    assert vlmalign(*command).code == 0
    assert written == {path: path.stat().st_mtime_ns for path in written}
    refused(*command, "--seed", "1", says=["seed: 0 there, 1 here", "--overwrite"])


def test_pairs_of_one_group_cannot_be_swapped(refused, pair_folders, reward_run):
    pairs = pair_folders.pairs("pairs", {f"p{i}": {"group_id": "g"} for i in range(2)})
    command = ("evaluate", "shortcuts", "scalar", "--set", f"run={reward_run}", "--pairs", pairs, "--out", "audit")
    refused(*command, says=["no other group has other pictures", "leave the variant 'swapped' out"])
