import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vlmalign.models import load_vlm
from vlmalign.records import DataError
from vlmalign.rewards import RewardOutput
from vlmalign.training import PpoConfig, make_config, ppo, train_ppo

SYMBOLIC = {"name": "symbolic", "settings": {"logic": "peripheral_smear", "concepts": ["leukocyte"]}}


@pytest.fixture(scope="module")
def cases(make_cases):
    return make_cases(8)


@pytest.fixture
def settings(talking_folder, cases, tmp_path):
    """Settings of an online run."""
    return {
        "model": talking_folder, "data": cases, "out": str(tmp_path / "run"), "max_steps": 3, "batch_size": 4,
        "samples": 4, "max_new_tokens": 24, "learning_rate": 1e-3, "device": "cpu", "warmup": 0.0,
        "lr_schedule": "constant", "reward": SYMBOLIC,
    }  # fmt: skip


def run_with(settings, **changes):
    return train_ppo(make_config(PpoConfig, {**settings, **changes}))


def summary_of(run):
    return json.loads((run / "summary.json").read_text())


def parameters(run):
    return load_file(Path(run) / "model" / "model.safetensors")


def assert_same_run(one, other):
    first, second = parameters(one), parameters(other)
    assert [name for name in first if not first[name].equal(second[name])] == []
    for name in ("metrics.jsonl", "answers.jsonl"):
        assert (Path(one) / name).read_bytes() == (Path(other) / name).read_bytes()
    assert summary_of(Path(one))["flops"] == summary_of(Path(other))["flops"]


# -- what is learned ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"advantage": "gae"},
        {"advantage": "group", "kl": {"place": "loss", "estimator": "k3", "coefficient": 0.02}},
        {"advantage": "leave_one_out"},
    ],
    ids=["ppo", "grpo", "rloo"],
)
def test_a_model_that_says_anything_learns_to_look(settings, changes, make_cases, metrics_of):
    """Half of the fields hold a leukocyte: whoever always says the same stays at 0."""
    fair = {"cut": -1.0, "unscored": -1.0}
    shared = {**settings, "data": make_cases(16), "max_steps": 32, "batch_size": 8, "samples": 8, "shaping": fair}
    run = run_with(shared, **{"learning_rate": 2e-3, **changes})
    rewards = [line["reward"] for line in metrics_of(run) if "reward" in line]
    assert abs(sum(rewards[:3]) / 3) < 0.3 and sum(rewards[-5:]) / 5 > 0.7


def test_the_health_of_a_run_is_logged_every_round(settings, metrics_of):
    run = run_with(settings, gold=SYMBOLIC, shaping={"confidence": {}})
    lines = metrics_of(run)
    assert [line["step"] for line in lines] == [1, 2, 3]
    answers = "reward reward_std gold gold_valid shaped_reward scored valid cut tokens padded entropy"
    groups = "cases_without_contrast confidence_stated kl kl_coefficient"
    updates = "learning_rate policy_loss value_loss clip_fraction explained_variance update_kl grad_norm flops"
    watched = set(f"{answers} {groups} {updates}".split())
    assert watched <= lines[-1].keys()
    assert lines[0]["kl"] == pytest.approx(0.0, abs=1e-4) and lines[0]["gold"] == lines[0]["reward"]
    summary = summary_of(run)
    assert summary["answers"] == 48 and summary["algorithm"] == "ppo" and summary["updates"] == 6
    assert summary["flops"]["total"] == sum(v for name, v in summary["flops"].items() if name != "total")
    shown = [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]
    assert len(shown) == 6 and {"step", "case", "text", "score", "invalid_reason", "counted_as"} == shown[0].keys()
    assert all((line["score"] is None) == (line["invalid_reason"] is not None) for line in shown)


class Always:
    """A reward of a number, or of none."""

    name, needs_images = "always@1", False

    def __init__(self, score=None):
        self.value = score

    def score(self, cases, candidates, images=None):
        n = len(candidates)
        return RewardOutput.of([self.value] * n, reasons=[None if self.value is not None else "no idea"] * n)


@pytest.mark.parametrize("advantage", ["gae", "group"])
def test_answers_without_a_score_move_nothing_and_are_counted(settings, advantage, monkeypatch, metrics_of):
    monkeypatch.setattr(ppo, "load_reward", lambda name, **rest: Always())
    run = run_with(settings, advantage=advantage)
    before, after = load_vlm(settings["model"]).model.state_dict(), load_vlm(run / "model").model.state_dict()
    assert all(before[name].equal(after[name]) for name in before)
    summary = summary_of(run)
    assert sum(summary["invalid"].values()) == 48 and summary["updates"] == 0
    assert metrics_of(run)[0]["valid"] == 0 and "reward" not in metrics_of(run)[0]


def test_answers_that_the_settings_give_a_score_are_counted_as_without_one_still(
    settings, monkeypatch, metrics_of
):
    monkeypatch.setattr(ppo, "load_reward", lambda name, **rest: Always())
    run = run_with(settings, shaping={"cut": -1.0, "unscored": -1.0}, max_steps=1)
    line = metrics_of(run)[0]
    assert (line["scored"], line["valid"], line["reward"]) == (0.0, 1.0, -1.0)
    assert sum(summary_of(run)["invalid"].values()) == 16
    shown = json.loads((run / "answers.jsonl").read_text().splitlines()[0])
    assert shown["score"] is None and shown["counted_as"] == -1.0 and shown["invalid_reason"]


class Bright:
    """A reward of the picture alone, whatever is said."""

    name, needs_images = "bright@1", True

    def score(self, cases, candidates, images=None):
        scores = [1.0 if pictures[0].getpixel((0, 0))[0] > 128 else -1.0 for pictures in images]
        return RewardOutput.of(scores, reasons=[None] * len(scores))


def test_the_critic_learns_what_the_picture_foretells(settings, monkeypatch, metrics_of):
    monkeypatch.setattr(ppo, "load_reward", lambda name, **rest: Bright())
    shared = {**settings, "max_steps": 25, "batch_size": 8, "samples": 2, "learning_rate": 3e-3}
    lines = metrics_of(run_with(shared, shaping={"cut": 0.0}, kl={"coefficient": 0}))
    assert lines[0]["explained_variance"] == pytest.approx(0.0, abs=1e-3)
    assert lines[-1]["explained_variance"] > 0.5


def test_equal_scores_teach_a_group_nothing(settings, monkeypatch, metrics_of):
    monkeypatch.setattr(ppo, "load_reward", lambda name, **rest: Always(0.7))
    run = run_with(settings, advantage="group", kl={"coefficient": 0})
    before, after = load_vlm(settings["model"]).model.state_dict(), load_vlm(run / "model").model.state_dict()
    assert all(before[name].equal(after[name]) for name in before)
    assert metrics_of(run)[0]["cases_without_contrast"] == 1.0


@pytest.mark.parametrize("advantage", ["gae", "group"])
def test_accumulated_passes_are_one_large_pass(settings, advantage):
    shared = {**settings, "advantage": advantage, "average": "answer", "max_steps": 2}
    whole = parameters(run_with(shared, out=settings["out"] + "-whole"))
    parts = parameters(run_with(shared, gradient_accumulation=4))
    start = load_file(Path(settings["model"]) / "model.safetensors")
    moved = [(parts[name] - whole[name]).abs().max() for name in whole]
    assert max(moved) < 2e-3 and any((whole[name] - start[name]).abs().max() > 1e-3 for name in whole)


def test_one_update_per_round_needs_no_second_look_at_the_policy_that_sampled(settings):
    kl = {"coefficient": 0}
    once = summary_of(run_with(settings, advantage="group", passes=1, kl=kl))
    assert once["flops"]["scoring"] == 0.0 and once["updates"] == 3


# -- staying near the reference -----------------------------------------------------------------------


def test_the_coefficient_grows_while_the_kl_is_above_its_target(settings, metrics_of):
    kl = {"coefficient": 0.1, "target": 0.001, "horizon": 160}
    lines = metrics_of(run_with(settings, max_steps=6, learning_rate=3e-3, kl=kl))
    assert lines[-1]["kl"] > 0.001 and lines[-1]["kl_coefficient"] > lines[2]["kl_coefficient"]


def test_a_run_that_goes_too_far_stops_and_says_so(settings):
    summary = summary_of(run_with(settings, max_steps=50, learning_rate=1e-2, kl={"coefficient": 0, "stop": 2.0}))
    assert summary["steps"] < 50 and summary["stopped"].startswith("kl: ")


def test_a_rounds_updates_end_early_once_they_went_too_far(settings, metrics_of):
    shared = {**settings, "passes": 8, "learning_rate": 3e-3, "max_steps": 1}
    full = summary_of(run_with(shared, out=settings["out"] + "-full"))["updates"]
    short = run_with(shared, kl={"update": 0.01})
    assert full == 8 and summary_of(short)["updates"] < 8 and metrics_of(short)[0]["updates_cut_short"] == 1


# -- held-out cases -----------------------------------------------------------------------------------


def test_the_best_checkpoint_within_the_budget_is_kept(settings, make_cases, metrics_of):
    held_out = {"eval_data": make_cases(8, first=100, split="test"), "eval_steps": 2, "max_steps": 12}
    shared = {**settings, "batch_size": 8, **held_out}
    run = run_with(shared, gold=SYMBOLIC, kl={"coefficient": 0, "budget": 3.0})
    seen = {line["step"]: line for line in metrics_of(run) if "eval_reward" in line}
    assert list(seen) == [0, 2, 4, 6, 8, 10, 12] and seen[0]["eval_kl"] == pytest.approx(0.0, abs=1e-4)
    enough = 0.9 * seen[0]["eval_reward_valid"]
    allowed = {
        step: line["eval_reward"]
        for step, line in seen.items()
        if line["eval_kl"] <= 3.0 and line["eval_reward_valid"] >= enough
    }
    kept = summary_of(run)["kept_round"]
    assert allowed[kept] == max(allowed.values()) and seen[2]["eval_gold"] == seen[2]["eval_reward"]
    # what was saved is what was evaluated
    again = run_with(shared, model=str(run), out=settings["out"] + "-again", max_steps=1)
    assert metrics_of(again)[0]["eval_reward"] == pytest.approx(seen[kept]["eval_reward"])


def test_cases_of_the_test_split_are_not_trained_on(settings, make_cases):
    with pytest.raises(DataError, match="record is of split 'test'"):
        run_with(settings, data=make_cases(4, first=50, split="test"))


# -- stopping and going on ----------------------------------------------------------------------------

KILLED = """
import json, os, sys
import torch
torch.set_num_threads(1)
from vlmalign.training import PpoConfig, make_config, ppo_update, train_ppo
original, calls = ppo_update.Updater.update, []
def update(self, *args):
    calls.append(1)
    if len(calls) == 9:
        os._exit(9)  # as kill -9: no clean-up of any kind
    return original(self, *args)
ppo_update.Updater.update = update
train_ppo(make_config(PpoConfig, json.loads(sys.argv[1])))
"""


@pytest.mark.parametrize("lora", [None, {"rank": 4}])
def test_a_run_killed_inside_a_round_ends_with_the_same_bits(settings, make_cases, lora):
    shared = {
        **settings, "lora": lora, "batch_size": 3, "samples": 2, "max_steps": 6, "save_steps": 2, "eval_steps": 1,
        "eval_data": make_cases(4, first=100, split="test"), "lr_schedule": "cosine", "warmup": 0.3,
        "shaping": {"whiten": "running"}, "kl": {"coefficient": 0.1, "target": 0.5, "horizon": 50},
    }  # fmt: skip
    straight = run_with(shared, out=settings["out"] + "-straight")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run([sys.executable, "-c", KILLED, json.dumps(shared)], env=environment, check=False)
    assert process.returncode == 9
    resumed = run_with(shared)
    assert summary_of(resumed)["resumed_from_step"] == 4
    assert_same_run(straight, resumed)


@pytest.mark.parametrize("inside", ["save_best", "torch.save", "place_checkpoint", "save_vlm"])
def test_a_kill_inside_a_saving_costs_nothing_but_time(settings, make_cases, inside, monkeypatch):
    from vlmalign.training import online_state

    shared = {
        **settings, "max_steps": 3, "save_steps": 1, "eval_steps": 1, "learning_rate": 3e-3,
        "eval_data": make_cases(4, first=100, split="test"),
    }  # fmt: skip
    straight = run_with(shared, out=settings["out"] + "-straight")
    places = {
        "save_best": (ppo, "save_best"), "torch.save": (torch, "save"), "save_vlm": (ppo, "save_vlm"),
        "place_checkpoint": (online_state.checkpoints, "place_checkpoint"),
    }  # fmt: skip
    owner, name = places[inside]
    original, calls = getattr(owner, name), []

    def interrupted(*args, **rest):
        calls.append(1)
        if len(calls) == (1 if inside in ("save_vlm", "save_best") else 2):
            raise KeyboardInterrupt
        return original(*args, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_with(shared)
    assert_same_run(straight, run_with(shared))


def test_a_complete_run_is_left_alone_and_another_reward_is_another_run(settings):
    run = run_with(settings)
    before = (run / "summary.json").stat().st_mtime_ns
    assert run_with(settings) == run and (run / "summary.json").stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="reward"):
        run_with(settings, reward={"name": "symbolic", "settings": {"logic": "peripheral_smear"}})


def test_a_budget_of_operations_decides_the_rounds(settings):
    cost = summary_of(run_with(settings, out=settings["out"] + "-three"))["flops"]["total"]
    found = summary_of(run_with(settings, max_steps=None, max_flops=2.5 * cost))
    assert 2 <= found["steps"] <= 9 and found["flops"]["total"] <= 2.6 * cost


def test_a_trained_reward_model_that_looks_at_the_images_plugs_in(settings, make_pairs, metrics_of):
    from vlmalign.training import RewardConfig, train_reward

    shared = {"model": settings["model"], "device": "cpu", "max_steps": 4, "batch_size": 4, "learning_rate": 1e-3}
    trained = train_reward(RewardConfig(**shared, data=make_pairs(8), out=settings["out"] + "-reward"))
    reward = {"name": "scalar", "settings": {"run": str(trained)}}
    run = run_with(settings, reward=reward, gold=SYMBOLIC, max_steps=1)
    line, summary = metrics_of(run)[0], summary_of(run)
    assert summary["reward"].startswith("scalar@") and summary["flops"]["reward"] > 0
    assert line["reward_std"] > 0 and line["valid"] > 0
