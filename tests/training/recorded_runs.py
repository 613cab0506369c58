"""Stages run with their gradients and wrappers recorded: by the tests here, and by torchrun as a script."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from transformers import TrainerCallback

from vlmalign.models.sharding import is_main_process, whole_tensors
from vlmalign.training import (
    DpoConfig,
    PpoConfig,
    RewardConfig,
    SftConfig,
    make_config,
    train_dpo,
    train_ppo,
    train_reward,
    train_sft,
)
from vlmalign.training.ppo_update import Updater
from vlmalign.training.trainer import StageTrainer

STAGES = {"sft": (SftConfig, train_sft), "dpo": (DpoConfig, train_dpo), "reward": (RewardConfig, train_reward)}

torch.set_num_threads(1)


class Recorder(TrainerCallback):
    """Writes the gradients of every step, as one process would have them."""

    def __init__(self, run, step_killed=None):
        self.run, self.step_killed = run, step_killed

    def on_pre_optimizer_step(self, args, state, control, model=None, **rest):
        gradients = whole_tensors((n, p.grad) for n, p in model.named_parameters() if p.grad is not None)
        if is_main_process():
            save_file(
                {name: g.contiguous() for name, g in gradients.items()}, self.run / f"{state.global_step}.grads"
            )

    def on_step_begin(self, args, state, control, **rest):
        if state.global_step == self.step_killed:
            raise KeyboardInterrupt


def record(stage, settings, *, wrapper=None, step_killed=None):
    """Run a stage; returns the trainer's wrapped model's type and how many fillers this process was given."""
    seen = {"fillers": 0}
    kind, train = STAGES[stage]
    original = StageTrainer.__init__, StageTrainer.training_step

    def init(self, run, *args, **rest):
        original[0](self, run, *args, **rest)
        self.add_callback(Recorder(run.path, step_killed))

    def step(self, model, inputs, *args, **rest):
        if wrapper is not None:
            assert isinstance(model, wrapper), type(model)
            assert dist.get_world_size() == 2
        seen["fillers"] += inputs["filler"]
        return original[1](self, model, inputs, *args, **rest)

    StageTrainer.__init__, StageTrainer.training_step = init, step
    try:
        train(make_config(kind, settings))
    finally:
        StageTrainer.__init__, StageTrainer.training_step = original
    return seen["fillers"]


def record_online(settings, *, wrapper=None):
    """Run the online stage with the gradients of every update recorded."""
    original, count = Updater._step, [0]
    folder = Path(settings["out"])

    def step(self):
        if wrapper is not None:
            assert isinstance(self.model, wrapper), type(self.model)
            assert dist.get_world_size() == 2
            assert not self.model.will_sync_module_buffers()  # processes may differ in held-out batches
        gradients = {
            name.removeprefix("module."): p.grad for name, p in self.model.named_parameters() if p.grad is not None
        }
        if is_main_process():
            save_file({name: g.contiguous() for name, g in gradients.items()}, folder / f"{count[0]}.grads")
        count[0] += 1
        return original(self)

    Updater._step = step
    try:
        train_ppo(make_config(PpoConfig, settings))
    finally:
        Updater._step = original


def record_all(jobs, wrapper):
    """Run stages one after another, those with a step to be killed at twice; returns their fillers."""
    fillers = {}
    for stage, settings, killed_at in jobs:
        if stage == "ppo":
            record_online(settings, wrapper=wrapper)
            continue
        if killed_at is not None:
            try:
                record(stage, settings, wrapper=wrapper, step_killed=killed_at)
            except KeyboardInterrupt:
                dist.barrier()
        fillers[Path(settings["out"]).name] = record(stage, settings, wrapper=wrapper)
    return fillers


if __name__ == "__main__":
    found = record_all(json.loads(sys.argv[1]), torch.nn.parallel.DistributedDataParallel)
    gathered = [None, None]
    dist.all_gather_object(gathered, found)
    if dist.get_rank() == 0:
        Path(sys.argv[2]).write_text(json.dumps(gathered))
    dist.destroy_process_group()
