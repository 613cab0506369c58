"""Two processes take the same steps as one."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vlmalign.models import load_vlm, save_vlm
from vlmalign.records import DataError, DatasetBuild, Demonstration, assistant, user
from vlmalign.training import SftConfig, train_sft
from vlmalign.training.examples import check_alike, training_examples

HERE = Path(__file__).parent
recorded = runpy.run_path(str(HERE / "recorded_runs.py"))


def launch(*command, **environment):
    """Run a script in two processes on this machine."""
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
            *map(str, command),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr.split("torch/distributed/elastic")[0][-4000:]
    return process


@pytest.fixture
def settings(settings, tmp_path):
    """No dropout, as masks depend on the place in the batch; the last vision layer is not used, as in LLaVA."""
    vlm = load_vlm(settings["model"])
    vlm.model.config.text_config.attention_dropout = 0.0
    vlm.model.config.vision_feature_layer = -2
    save_vlm(vlm, tmp_path / "start")
    return {
        **settings, "model": str(tmp_path / "start"), "max_steps": None, "epochs": 2, "learning_rate": 1e-5,
        "max_grad_norm": 0.5, "save_steps": 2,
    }  # fmt: skip


def assert_same(one, two, tolerance=1e-5):
    """Loss, signals and gradients of every step, and the evaluation."""
    lines = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    assert len(lines[0]) == len(lines[1])
    for a, b in zip(*lines, strict=True):
        unknown = [name for name in a if a[name] is None and b[name] is None]
        for name in (*unknown, "padded", "flops"):  # padding depends on what else is in the batch
            a.pop(name, None), b.pop(name, None)
        assert a == pytest.approx(b, abs=tolerance, rel=tolerance)
    steps = sorted(path.name for path in one.glob("*.grads"))
    assert steps == sorted(path.name for path in two.glob("*.grads")) and steps
    for step in steps:
        first, second = load_file(one / step), load_file(two / step)
        # A parameter that no process uses has no gradient in one process, and a zero one under DDP.
        assert first.keys() <= second.keys()
        assert not any(second[name].any() for name in second.keys() - first.keys())
        largest = max(float(g.abs().max()) for g in first.values())
        for name, gradient in first.items():
            assert float((gradient - second[name]).abs().max()) < tolerance * largest, (step, name)


def test_two_processes_under_ddp_take_the_steps_of_one(
    settings, make_demos, make_pairs, make_ranked, make_cases, talking_folder, tmp_path
):
    held_out = make_demos(n=3, first=50, split="test")
    text = str(tmp_path / "text")
    with DatasetBuild(text, "demonstration", {}, data_use="open") as build:
        record = Demonstration(
            id="t", case_id="t", group_id="t", split="train", images=(), prompt=(user("Why?"),),
            response=(assistant("No leukocyte is seen."),), source="labels",
        )  # fmt: skip
        build.commit(record.id, [record])
    runs = {
        # 5 examples, 2 at a time in 2 processes: at the end of an epoch the second process has a filler only
        "sft": ("sft", {"data": make_demos(n=5), "eval_data": [held_out], "eval_steps": 2}),
        # one at a time, so that one process runs its vision tower where the other has text
        "text": ("sft", {"data": [make_demos(n=1), text], "batch_size": 1}),
        "dpo": (
            "dpo",
            {
                "data": make_ranked(5),
                "group_pairs": True,
                "lora": {},
                "anchor_data": make_demos(n=3),
                "anchor_weight": 0.5,
                "eval_data": [make_pairs(n=1, first=60, split="test")],
            },
        ),  # fmt: skip
        "reward": (
            "reward",
            {"data": make_pairs(n=7), "gradient_accumulation": 2, "gradient_checkpointing": True},
        ),
    }
    for name, (stage, own) in runs.items():
        size = 2 * own.get("batch_size", 2)
        recorded["record"](stage, {**settings, **own, "batch_size": size, "out": str(tmp_path / "one" / name)})
    online = {
        "model": talking_folder, "data": make_cases(5), "eval_data": [make_cases(5, first=50, split="test")],
        "samples": 3, "max_new_tokens": 24, "shaping": {"whiten": "running"}, "kl": {"target": 1.0, "horizon": 20},
        "reward": {"name": "symbolic", "settings": {"logic": "peripheral_smear", "concepts": ["leukocyte"]}},
    }  # fmt: skip
    online = {**settings, **online}
    recorded["record_online"]({**online, "batch_size": 4, "out": str(tmp_path / "one" / "ppo")})
    jobs = [
        (stage, {**settings, "batch_size": 2, **own, "out": str(tmp_path / "two" / name)}, None)
        for name, (stage, own) in runs.items()
    ]
    jobs.append(("ppo", {**online, "batch_size": 2, "out": str(tmp_path / "two" / "ppo")}, None))
    jobs += killed_and_not("sft", {**settings, "data": make_demos(n=7), "lora": {"dropout": 0.1}}, tmp_path)
    launch(HERE / "recorded_runs.py", json.dumps(jobs), tmp_path / "fillers.json")
    for name in (*runs, "ppo"):
        assert_same(tmp_path / "one" / name, tmp_path / "two" / name)
    fillers = json.loads((tmp_path / "fillers.json").read_text())
    assert [fillers[1][name] for name in runs] == [2, 0, 2, 0] and not any(fillers[0].values())
    assert_same_bits(tmp_path)


def killed_and_not(stage, settings, folder):
    """A run that is killed after its third step and started again, and one that is not."""
    own = {**settings, "batch_size": 2, "learning_rate": 1e-2}
    return [
        (stage, {**own, "out": str(folder / name)}, killed_at)
        for name, killed_at in (("straight", None), ("killed", 3))
    ]


def assert_same_bits(folder):
    straight, killed = folder / "straight", folder / "killed"
    assert json.loads((killed / "summary.json").read_text())["resumed_from_step"] == 2
    assert_same(straight, killed, tolerance=1e-12)
    for file in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
        one, two = load_file(straight / file), load_file(killed / file)
        assert one.keys() == two.keys() and all(one[key].equal(two[key]) for key in one)


def test_text_beside_images_is_refused_where_processes_gather_the_vision_tower_together(
    settings, demos, tiny, monkeypatch
):
    config = SftConfig(**{**settings, "data": demos})
    data = training_examples(config, config.data, Demonstration, tiny)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    check_alike(data)
    data.records[3] = data.records[3].model_copy(update={"images": ()})
    with pytest.raises(DataError, match="d3.*has no image and others have"):
        check_alike(data)
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    check_alike(data)


def test_sharded_processes_take_the_steps_of_one_and_continue_after_a_kill_with_the_same_bits(
    settings, make_demos, make_ranked, make_pairs, metrics_of, tmp_path
):
    runs = {
        "sft": ("sft", {"data": make_demos(n=7), "eval_data": [make_demos(n=3, first=50, split="test")]}),
        "reward": ("reward", {"data": make_pairs(n=5), "lora": {"rank": 2}, "gradient_checkpointing": True}),
        "mixed": ("dpo", {"data": make_ranked(4), "group_pairs": True, "dtype": "mixed"}),
        "bfloat16": ("dpo", {"data": make_ranked(4), "group_pairs": True, "dtype": "bfloat16", "lora": {}}),
    }
    for name, (stage, own) in runs.items():
        recorded["record"](stage, {**settings, **own, "batch_size": 4, "out": str(tmp_path / "one" / name)})
    jobs = [
        (stage, {**settings, **own, "batch_size": 2, "out": str(tmp_path / "two" / name)}, None)
        for name, (stage, own) in runs.items()
    ]
    dpo = {**settings, "data": make_ranked(7), "group_pairs": True, "lora": {"dropout": 0.1}}
    jobs += killed_and_not("dpo", dpo, tmp_path)
    given = {"model": settings["model"], "pairs": make_ranked(4), "jobs": jobs}
    launch(HERE / "sharded_runs.py", json.dumps(given))
    for name, (_, own) in runs.items():
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        if "dtype" in own:
            losses = [[line["loss"] for line in metrics_of(run)] for run in (one, two)]
            assert losses[0] == pytest.approx(losses[1], rel=0.01)  # bfloat16 rounds at 0.4 %
        else:
            assert_same(one, two)
        weights = load_file(one / "model" / "model.safetensors"), load_file(two / "model" / "model.safetensors")
        assert weights[0].keys() == weights[1].keys()
        for key, value in weights[0].items():
            torch.testing.assert_close(value, weights[1][key], atol=1e-4, rtol=0)  # four steps of at most 1e-5
        assert (one / "model" / "config.json").read_text() == (two / "model" / "config.json").read_text()
    assert_same_bits(tmp_path)


def test_a_run_is_continued_with_as_many_processes_as_began_it(settings, demos, monkeypatch):
    config = SftConfig(**{**settings, "data": demos, "max_steps": 1, "epochs": None})
    with monkeypatch.context() as patch:
        patch.setattr("vlmalign.training.sft.save_vlm", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_sft(config)
    provenance = Path(config.out) / "provenance.json"
    began = json.loads(provenance.read_text())
    provenance.write_text(json.dumps({**began, "processes": 2}))
    with pytest.raises(FileExistsError, match="processes: 2 there, 1 here"):
        train_sft(config)
    provenance.write_text(json.dumps(began))
    train_sft(config)
    provenance.write_text(json.dumps({**began, "processes": 2}))
    assert train_sft(config) == Path(config.out)  # complete: nothing is left to do, whoever asks
