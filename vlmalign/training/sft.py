"""Supervised fine-tuning: minus the log-probability of each token the assistant says."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, nn

from vlmalign.data import ExampleDataset, collate, pad_token
from vlmalign.losses import sft_loss
from vlmalign.models import batch_flops, forward_responses, save_vlm
from vlmalign.records import Demonstration
from vlmalign.training.budget import steps_of
from vlmalign.training.config import SftConfig
from vlmalign.training.examples import evaluation_examples, training_examples
from vlmalign.training.order import EpochOrder, PartOrder
from vlmalign.training.policy import feature_cache_of, load_policy
from vlmalign.training.runs import RunFolder
from vlmalign.training.trainer import Batch, BatchLoss, StageTrainer


def train_sft(config: SftConfig, *, overwrite: bool = False) -> Path:
    """Teach a model the responses of demonstrations.

    The loss is the mean over all tokens that the assistants of a step's demonstrations say, each token
    weighted like its demonstration. A complete run is left as it is; a stopped one continues.

    Args:
        config: settings.
        overwrite: replace an earlier run in the folder, once the new one's model and data have loaded.

    Returns:
        The run folder; its `model` is what `from_pretrained` loads.

    Raises:
        DataError: a folder or record that cannot be trained on.
        FileExistsError: the folder holds another run and `overwrite` is not set.
        ValueError: a launch configuration that contradicts the settings.
    """
    # 1. The run folder: a complete run is not repeated.
    run = RunFolder("sft", config, overwrite=overwrite)
    if run.finished:
        return run.path

    # 2. The starting model and the data.
    vlm = load_policy(config)
    data = training_examples(config, config.data, Demonstration, vlm)
    held_out = evaluation_examples(config, Demonstration, vlm)
    order = order_of(config, data)
    collator = partial(collate, pad_token_id=pad_token(vlm.processor))

    # 3. How long to train.
    def cost(batch: Batch) -> float:
        return batch_flops(vlm.model, batch["batch"], training=True)

    steps = sum(config.part_steps) if config.part_steps else steps_of(config, order, data, collator, cost)

    # 4. Train, save, close the run.
    run.begin()
    trainer = SftTrainer(
        run,
        vlm.model,
        steps=steps,
        dataset=data,
        order=order,
        collator=collator,
        cost=cost,
        eval_dataset=held_out,
        features=feature_cache_of(config, vlm.model),
    )
    summary: dict[str, Any] = {"stage": "sft"}
    if config.part_steps:
        summary["parts"] = [
            {"data": source.path, "steps": n} for source, n in zip(config.data, config.part_steps, strict=True)
        ]
    return trainer.fit(lambda folder: save_vlm(vlm, folder), summary)


def order_of(config: SftConfig, data: ExampleDataset[Demonstration]) -> EpochOrder | PartOrder:
    """The order of the examples: epochs of all of them, or with `part_steps` folder after folder.

    A step takes batch_size x gradient_accumulation examples on each process.
    """
    if config.part_steps is None:
        return EpochOrder(len(data), config.seed)
    per_step = config.batch_size * config.gradient_accumulation * PartialState().num_processes
    parts: list[list[int]] = [[] for _ in config.data]
    for place, record in enumerate(data.order):
        parts[data.folder_number(record)].append(place)
    return PartOrder(parts, [steps * per_step for steps in config.part_steps], config.seed)


class SftTrainer(StageTrainer):
    """Mean negative log-probability of the assistant's tokens."""

    def count_items(self, batch: Batch) -> Tensor | int:
        """Tokens in the loss."""
        return batch["batch"].loss_mask.sum()

    def batch_loss(self, model: nn.Module, batch: Batch) -> BatchLoss:
        """Sum over tokens, weighted by demonstration."""
        responses = batch["batch"]
        logps = forward_responses(model, responses, features=self.features).logps
        assert logps is not None
        loss = sft_loss(logps, responses.loss_mask)
        total = (loss.losses * loss.tokens * batch["weights"]).sum()
        with torch.no_grad():
            tokens = loss.tokens.sum()
            likely = logps.exp()[responses.loss_mask]
            signals = {
                "token_probability": (likely.sum(), tokens),
                "sure_tokens": ((likely > 0.5).sum(), tokens),  # these the model would say when greedy
                "response_tokens": (tokens, len(loss.tokens)),
            }
        return BatchLoss(total, signals)
