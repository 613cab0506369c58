"""A run that is killed and started again ends with the same bits as one that was not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from vlmalign.training import (
    DpoConfig,
    RewardConfig,
    SftConfig,
    make_config,
    train_dpo,
    train_reward,
    train_sft,
)

KILLED = """
import json, os, sys
import torch
torch.set_num_threads(1)
from vlmalign.training import SftConfig, trainer, train_sft
original = trainer.StageTrainer.training_step
def step(self, *args, **kwargs):
    if self.state.global_step == 5:
        os._exit(9)  # as kill -9: no clean-up of any kind
    return original(self, *args, **kwargs)
trainer.StageTrainer.training_step = step
train_sft(SftConfig(**json.loads(sys.argv[1])))
"""


KILLED_SAVING = """
import importlib, json, os, sys
import torch
torch.set_num_threads(1)
import vlmalign.training as training
stage, place, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
module, name = place.rsplit(".", 1)
owner = importlib.import_module(module)
original, calls = getattr(owner, name), []
def saving(*args, **rest):
    calls.append(1)
    if len(calls) == 2:
        os._exit(9)
    return original(*args, **rest)
setattr(owner, name, saving)
config = {"sft": training.SftConfig, "reward": training.RewardConfig, "dpo": training.DpoConfig}[stage]
getattr(training, f"train_{stage}")(training.make_config(config, settings))
"""


def parameters(run):
    return load_file(Path(run) / "model" / "model.safetensors")


def assert_same_run(straight, resumed):
    first, second = parameters(straight), parameters(resumed)
    assert first.keys() == second.keys()
    assert [name for name in first if not first[name].equal(second[name])] == []
    lines = [(Path(run) / "metrics.jsonl").read_text().splitlines() for run in (straight, resumed)]
    assert [json.loads(line)["step"] for line in lines[0]] == [json.loads(line)["step"] for line in lines[1]]
    flops = [json.loads((Path(run) / "summary.json").read_text())["flops"] for run in (straight, resumed)]
    assert flops[0] == flops[1]


def stop_at(monkeypatch, step):
    """Break off inside the training step after so many optimiser steps."""
    from vlmalign.training import trainer

    original = trainer.StageTrainer.training_step

    def broken(self, *args, **kwargs):
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(trainer.StageTrainer, "training_step", broken)


def test_an_sft_run_killed_by_the_system_ends_with_the_same_bits(settings, demos, tmp_path):
    shared = {**settings, "data": demos, "max_steps": 8, "save_steps": 3, "batch_size": 3, "seed": 4}
    straight = train_sft(SftConfig(**{**shared, "out": str(tmp_path / "straight")}))
    again = {**shared, "out": str(tmp_path / "killed")}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run([sys.executable, "-c", KILLED, json.dumps(again)], env=environment, check=False)
    assert process.returncode == 9
    assert (tmp_path / "killed" / "checkpoints" / "checkpoint-3").is_dir()
    resumed = train_sft(SftConfig(**again))
    assert json.loads((resumed / "summary.json").read_text())["resumed_from_step"] == 3
    assert_same_run(straight, resumed)


@pytest.mark.parametrize(
    ("stage", "place"),
    [
        ("sft", "torch.save"),
        ("reward", "vlmalign.training.checkpoints.save_file"),
        ("dpo", "vlmalign.training.checkpoints.place_checkpoint"),
    ],
)
def test_a_run_killed_inside_the_saving_of_a_checkpoint_ends_with_the_same_bits(
    settings, demos, pairs, tmp_path, stage, place
):
    """In the optimiser's file, in the weights', and when all is written but not in its place."""
    shared = {**settings, "data": demos if stage == "sft" else pairs, "max_steps": 6, "save_steps": 2, "seed": 4}
    train = {"sft": (SftConfig, train_sft), "reward": (RewardConfig, train_reward), "dpo": (DpoConfig, train_dpo)}
    config, run = train[stage]
    straight = run(make_config(config, {**shared, "out": str(tmp_path / "straight")}))
    again = {**shared, "out": str(tmp_path / "killed")}
    process = subprocess.run(
        [sys.executable, "-c", KILLED_SAVING, stage, place, json.dumps(again)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert process.returncode == 9
    resumed = run(make_config(config, again))
    assert json.loads((resumed / "summary.json").read_text())["resumed_from_step"] in (0, 2)
    assert_same_run(straight, resumed)


def test_a_dpo_run_with_anchors_resumes_to_the_same_bits_wherever_it_stops(
    settings, pairs, demos, tmp_path, monkeypatch
):
    shared = {
        **settings, "data": pairs, "anchor_data": demos, "anchor_weight": 0.3, "sft_weight": 0.1, "max_steps": 6,
        "save_steps": 2, "batch_size": 2, "gradient_accumulation": 2, "lr_schedule": "cosine", "warmup": 0.2,
    }  # fmt: skip
    straight = train_dpo(make_config(DpoConfig, {**shared, "out": str(tmp_path / "straight")}))
    config = make_config(DpoConfig, {**shared, "out": str(tmp_path / "stopped")})
    for step in (1, 3, 4):  # before the first checkpoint, inside an epoch, at the end of one
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(KeyboardInterrupt):
                train_dpo(config)
    assert_same_run(straight, train_dpo(config))


@pytest.mark.parametrize("loss", [{"loss": "kto"}, {"loss": "plackett_luce", "group_pairs": True}])
def test_a_run_with_mismatched_or_ranked_answers_resumes_to_the_same_bits_without_the_shared_reference(
    settings, make_ranked, tmp_path, monkeypatch, loss
):
    cache = tmp_path / "references"
    shared = {**settings, **loss, "data": make_ranked(cases=4), "save_steps": 2, "sft_weight": 0.1}
    shared |= {"reference_cache": cache}
    straight = train_dpo(make_config(DpoConfig, {**shared, "out": str(tmp_path / "straight")}))
    shutil.rmtree(cache)
    config = make_config(DpoConfig, {**shared, "out": str(tmp_path / "stopped")})
    for step in (1, 3):
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(KeyboardInterrupt):
                train_dpo(config)
        shutil.rmtree(cache, ignore_errors=True)
    assert_same_run(straight, train_dpo(config))
    assert not cache.exists()


def test_a_run_killed_after_its_last_step_saves_the_model_without_another_step(
    settings, demos, make_demos, tmp_path, monkeypatch
):
    from vlmalign.training import runs

    held_out = make_demos(n=3, first=50, split="test")
    shared = {**settings, "data": demos, "max_steps": 3, "save_steps": 3, "batch_size": 3, "eval_data": held_out}
    straight = train_sft(SftConfig(**{**shared, "out": str(tmp_path / "straight")}))
    config = SftConfig(**{**shared, "out": str(tmp_path / "stopped")})
    with monkeypatch.context() as patch:
        patch.setattr(runs.RunFolder, "finish", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_sft(config)
    resumed = train_sft(config)
    assert_same_run(straight, resumed)
    assert (straight / "metrics.jsonl").read_bytes() == (resumed / "metrics.jsonl").read_bytes()


def test_a_run_without_settings_for_checkpoints_continues_with_the_same_bits_and_the_same_metrics(
    settings, demos, tmp_path, monkeypatch
):
    shared = {**settings, "data": demos, "max_steps": 58, "logging_steps": 25}
    straight = train_sft(SftConfig(**{**shared, "out": str(tmp_path / "straight")}))
    config = SftConfig(**{**shared, "out": str(tmp_path / "stopped")})
    with monkeypatch.context() as patch:
        stop_at(patch, 55)
        with pytest.raises(KeyboardInterrupt):
            train_sft(config)
    resumed = train_sft(config)
    assert json.loads((resumed / "summary.json").read_text())["resumed_from_step"] == 50
    assert_same_run(straight, resumed)
    assert (straight / "metrics.jsonl").read_bytes() == (resumed / "metrics.jsonl").read_bytes()


def test_a_full_disk_while_the_model_is_saved_costs_no_training_step(settings, demos, tmp_path, monkeypatch):
    from vlmalign.training import sft, trainer

    shared = {**settings, "data": demos, "max_steps": 3}
    straight = train_sft(SftConfig(**{**shared, "out": str(tmp_path / "straight")}))
    config = SftConfig(**{**shared, "out": str(tmp_path / "stopped")})

    def fail(*args, **rest):
        raise OSError("no space, or a step that need not be taken")

    with monkeypatch.context() as patch:
        patch.setattr(sft, "save_vlm", fail)
        with pytest.raises(OSError, match="no space"):
            train_sft(config)
    monkeypatch.setattr(trainer.StageTrainer, "training_step", fail)
    assert_same_run(straight, train_sft(config))


def test_zero_steps_between_checkpoints_means_none(settings, demos, tmp_path, monkeypatch):
    config = SftConfig(**{**settings, "data": demos, "save_steps": 0})
    monkeypatch.setattr("vlmalign.training.checkpoints.place_checkpoint", None)
    assert (train_sft(config) / "summary.json").exists()


def test_a_checkpoint_holds_no_pickled_settings_and_only_tensors(settings, demos, tmp_path, monkeypatch):
    config = SftConfig(**{**settings, "data": demos, "save_steps": 2})
    stop_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        train_sft(config)
    names = {p.name for p in (Path(config.out) / "checkpoints" / "checkpoint-2").iterdir()}
    assert names == {"trained.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}
