"""Launch configurations: what accelerate makes of them, and what stages refuse."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from accelerate import DistributedType, PartialState
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import (
    prepare_deepspeed_cmd_env,
    prepare_multi_gpu_env,
    prepare_simple_launcher_cmd_env,
)
from safetensors.torch import load_file

from vlmalign.recipes import launch_names, read_launch
from vlmalign.training import SftConfig, make_config
from vlmalign.training.processes import check_deepspeed, check_fsdp, start_processes


def read_by_accelerate(text, folder):
    """Arguments and environment that `accelerate launch` makes of a configuration; unknown keys fail.

    Accelerate itself refuses unknown keys at the top only, and passes over those of a section.
    """
    file = folder / "launch.yaml"
    file.write_text(text)
    parser = launch_command_parser()
    known = {action.dest for action in parser._actions}
    loaded = load_config_from_file(str(file))
    for section in ("fsdp_config", "deepspeed_config"):
        assert set(getattr(loaded, section)) <= known, f"unknown keys in {section}"
    command = ["--config_file", str(file), "-m", "vlmalign.cli.main", "dpo", "config.yaml"]
    arguments, _, _ = _validate_launch_command(parser.parse_args(command))
    if arguments.use_deepspeed:
        arguments.deepspeed_fields_from_accelerate_config = ",".join(loaded.deepspeed_config)
        return arguments, prepare_deepspeed_cmd_env(arguments)[1]
    if arguments.use_fsdp:
        return arguments, prepare_multi_gpu_env(arguments)
    return arguments, prepare_simple_launcher_cmd_env(arguments)[1]


@pytest.mark.parametrize(
    ("name", "processes", "machines"),
    [("1gpu", 1, 1), ("fsdp2-8gpu", 8, 1), ("fsdp2-2nodes", 16, 2), ("zero3-8gpu", 8, 1)],
)
def test_a_launch_configuration_asks_accelerate_for_what_its_name_says(
    name, processes, machines, tmp_path, monkeypatch
):
    arguments, environment = read_by_accelerate(read_launch(name), tmp_path)
    assert (arguments.num_processes, arguments.num_machines) == (processes, machines)
    assert environment["ACCELERATE_MIXED_PRECISION"] == "no"
    assert (environment.get("ACCELERATE_USE_FSDP") == "true") == ("fsdp2" in name)
    assert (environment.get("ACCELERATE_USE_DEEPSPEED") == "true") == ("zero3" in name)
    if "fsdp2" in name:
        for key in set(environment) - set(os.environ):
            monkeypatch.setenv(key, environment[key])
        plugin = FullyShardedDataParallelPlugin()
        assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
        assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
        assert not plugin.cpu_ram_efficient_loading and not plugin.activation_checkpointing
    if "zero3" in name:
        assert environment["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
        assert environment["ACCELERATE_DEEPSPEED_ZERO3_INIT"] == "false"
        assert environment["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"] == "auto"  # the stage's settings decide


def test_every_shipped_launch_configuration_is_tested():
    assert launch_names() == ["1gpu", "fsdp2-2nodes", "fsdp2-8gpu", "zero3-8gpu"]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("num_processes:", "number_of_processes:", ValueError),
        ("fsdp_reshard_after_forward:", "fsdp_reshard:", AssertionError),
        ("distributed_type: FSDP", "distributed_type: FSDP2", ValueError),
    ],
)
def test_the_check_of_launch_configurations_finds_a_wrong_key(old, new, error, tmp_path):
    text = read_launch("fsdp2-8gpu").replace(old, new)
    with pytest.raises(error):
        read_by_accelerate(text, tmp_path)


def test_launch_configurations_are_listed_and_copied(vlmalign, tmp_path):
    lines = vlmalign("recipes", "list").out.splitlines()
    assert [line.split()[0] for line in lines[-4:]] == launch_names()
    told = vlmalign("recipes", "copy", "zero3-8gpu", "mine.yaml").out
    assert "accelerate launch --config_file mine.yaml -m vlmalign.cli.main dpo CONFIG.yaml" in told
    assert (tmp_path / "mine.yaml").read_text() == read_launch("zero3-8gpu")


@pytest.mark.parametrize(
    ("environment", "settings", "message"),
    [
        ({"WORLD_SIZE": "2"}, {}, "2 processes were launched and accelerate joins 1"),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, {}, "mixed_precision: bf16 and dtype is 'float32'"),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, {"dtype": "mixed"}, "mixed_precision: fp16 and dtype is 'mixed'"),
        ({"ACCELERATE_USE_FSDP": "true"}, {}, "asks for FSDP on a CPU, where accelerate would not shard"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, {}, "asks for DeepSpeed on a CPU"),
    ],
)
def test_a_launch_that_accelerate_would_not_follow_is_refused_before_anything_is_loaded(
    environment, settings, message, monkeypatch
):
    PartialState(cpu=True)  # accelerate has started, alone
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = make_config(SftConfig, {"model": "m", "data": "d", "out": "o", "max_steps": 1, **settings})
    with pytest.raises(ValueError, match=message):
        start_processes(config)


@pytest.mark.parametrize(
    ("environment", "settings", "message"),
    [
        ({"FSDP_VERSION": "1"}, {}, "FSDP of version 1, expected 2"),
        ({"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, {}, "fsdp_cpu_ram_efficient_loading"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, {}, "gradient_checkpointing in the stage"),
        ({}, {"feature_cache": "c", "lora": {}}, "feature_cache is set and FSDP"),
        ({}, {"lora": {"quantize": "nf4"}}, "lora.quantize is set and FSDP"),
    ],
)
def test_settings_that_sharding_cannot_follow_are_refused(environment, settings, message, monkeypatch):
    for name, value in {"FSDP_VERSION": "2", **environment}.items():
        monkeypatch.setenv(name, value)
    config = make_config(SftConfig, {"model": "m", "data": "d", "out": "o", "max_steps": 1, **settings})
    with pytest.raises(ValueError, match=message):
        check_fsdp(config, DistributedType.FSDP)


def test_checkpoints_under_deepspeed_are_refused():
    config = make_config(SftConfig, {"model": "m", "data": "d", "out": "o", "max_steps": 1, "save_steps": 5})
    with pytest.raises(ValueError, match="save_steps is 5 and DeepSpeed's own checkpoints cannot be resumed"):
        check_deepspeed(config, DistributedType.DEEPSPEED)


def test_a_verb_under_torchrun_is_one_run_and_equals_one_process(vlmalign, recipe, tmp_path):
    steps = {"learning_rate": 1e-5, "max_grad_norm": 0}
    assert vlmalign("sft", recipe(name="one.yaml", batch_size=4, out=str(tmp_path / "one"), **steps)).code == 0
    file = recipe(name="two.yaml", out=str(tmp_path / "two"), **steps)
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         "-m", "vlmalign.cli.main", "sft", str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-4000:]
    assert process.stdout == f"wrote {tmp_path / 'two'}\n"  # one process speaks
    one, two = (sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("one", "two"))
    assert one == two == ["config.yaml", "metrics.jsonl", "model", "provenance.json", "summary.json"]
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert [line["step"] for line in lines[1]] == [1, 2]
    for first, second in zip(*lines, strict=True):
        assert first == pytest.approx(second, abs=1e-5, rel=1e-5)
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two")]
    assert weights[0].keys() == weights[1].keys()
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 5e-5
    assert yaml.safe_load((tmp_path / "two" / "config.yaml").read_text())["batch_size"] == 2
