"""What two processes do with sharded weights (FSDP2 on a CPU); torchrun runs this as a script."""

import json
import os
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import DistributedType, PartialState
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from vlmalign.data import CasePairs, DataSource, ExampleDataset, collate_pairs, pad_token
from vlmalign.models import LoraSettings, forward_responses, load_vlm, sequence_logps
from vlmalign.models.loading import backbone_of
from vlmalign.models.sharding import whole
from vlmalign.records import Preference

recorded = runpy.run_path(str(Path(__file__).parent / "recorded_runs.py"))


def share_of(batch, rank):
    """The prompts and responses of one process of two."""
    half = batch.n_prompts // 2
    rows = slice(rank * half, (rank + 1) * half)
    mine = (batch.prompt_index >= rows.start) & (batch.prompt_index < rows.stop)
    return replace(
        batch, prompts={name: value[rows] for name, value in batch.prompts.items()},
        response_ids=batch.response_ids[mine], response_mask=batch.response_mask[mine],
        loss_mask=batch.loss_mask[mine], prompt_index=batch.prompt_index[mine] - rows.start,
    )  # fmt: skip


def loss_and_gradients(model, batch, processes):
    logps = sequence_logps(forward_responses(model, batch), batch)
    loss = -logps.sum() * processes  # FSDP averages over processes
    model.zero_grad()
    loss.backward()
    gradients = {name: whole(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    total = loss.detach() / processes
    if processes > 1:
        dist.all_reduce(total)
    return float(total), gradients


def check_forward(model_folder, pairs):
    """The wrapped module's own forward gives one process's loss and gradients."""
    for lora in (None, LoraSettings(r=2)):
        for checkpointing in (False, True):
            torch.manual_seed(0)
            vlm = load_vlm(model_folder, lora=lora)
            data = CasePairs(ExampleDataset([DataSource(path=pairs)], Preference, vlm.processor), grouped=True)
            batch = collate_pairs([data[i] for i in range(4)], pad_token(vlm.processor))["batch"]
            model = vlm.model.train()
            if checkpointing:
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            expected = loss_and_gradients(model, batch, 1)
            mesh = init_device_mesh("cpu", (2,))
            backbone = backbone_of(model)
            for layer in (*backbone.language_model.layers, *backbone.vision_tower.encoder.layers):
                fully_shard(layer, mesh=mesh)
            fully_shard(model, mesh=mesh)
            assert isinstance(model, FSDPModule) and mesh.size() == dist.get_world_size() == 2
            found = loss_and_gradients(model, share_of(batch, dist.get_rank()), 2)
            assert abs(found[0] - expected[0]) < 1e-5 * abs(expected[0]), (found[0], expected[0])
            assert expected[1].keys() <= found[1].keys() and expected[1]
            largest = max(float(g.abs().max()) for g in expected[1].values())
            for name, gradient in expected[1].items():
                assert float((found[1][name] - gradient).abs().max()) < 1e-5 * largest, name


def train(jobs):
    """Stages under accelerate's FSDP2. It refuses to shard on a CPU, so it is told that this is none."""
    os.environ |= {
        "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
    }  # fmt: skip
    original = PartialState.__init__

    def init(self, *args, **rest):
        original(self, *args, **rest)
        if self.distributed_type is DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = init
    recorded["record_all"](jobs, FSDPModule)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    PartialState(cpu=True)
    check_forward(given["model"], given["pairs"])
    train(given["jobs"])
    dist.destroy_process_group()
