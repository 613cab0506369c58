"""A scalar reward model from pairs: the chosen answer gets the higher number."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from vlmalign.data import collate, pad_token
from vlmalign.losses import bradley_terry_loss
from vlmalign.models import RewardModel, batch_flops
from vlmalign.records import Preference
from vlmalign.training.budget import steps_of
from vlmalign.training.config import RewardConfig
from vlmalign.training.examples import check_margins, evaluation_examples, training_examples
from vlmalign.training.order import EpochOrder
from vlmalign.training.policy import feature_cache_of, load_policy
from vlmalign.training.runs import RunFolder
from vlmalign.training.trainer import Batch, BatchLoss, StageTrainer


def train_reward(config: RewardConfig, *, overwrite: bool = False) -> Path:
    """Train a scalar reward model by Bradley-Terry.

    The loss of a step is the mean over its pairs, each weighted. A complete run is left as it is; a stopped
    one continues.

    Args:
        config: settings; `model` is a vision-language model, whose output layer is replaced.
        overwrite: replace an earlier run in the folder, once the new one's model and data have loaded.

    Returns:
        The run folder; `ScalarReward` and `RewardModel.load` (its `model`) read it.

    Raises:
        DataError: a folder or record that cannot be trained on, e.g. one without a margin if margins are used.
        FileExistsError: the folder holds another run and `overwrite` is not set.
        ValueError: a launch configuration that contradicts the settings.
    """
    # 1. The run folder: a complete run is not repeated.
    run = RunFolder("reward", config, overwrite=overwrite)
    if run.finished:
        return run.path

    # 2. The starting model and the data.
    vlm = load_policy(config)
    data = training_examples(config, config.data, Preference, vlm)
    held_out = evaluation_examples(config, Preference, vlm)
    if config.use_margin:
        check_margins("use_margin", data, held_out)
    reward = RewardModel(vlm)
    order = EpochOrder(len(data), config.seed)
    collator = partial(collate, pad_token_id=pad_token(vlm.processor))

    # 3. How long to train.
    def cost(batch: Batch) -> float:
        return batch_flops(reward.backbone, batch["batch"], training=True)

    steps = steps_of(config, order, data, collator, cost)

    # 4. Train, save, close the run.
    run.begin()
    trainer = RewardTrainer(
        run,
        reward,
        steps=steps,
        dataset=data,
        order=order,
        collator=collator,
        cost=cost,
        eval_dataset=held_out,
        features=feature_cache_of(config, reward.backbone),
    )
    return trainer.fit(reward.save, {"stage": "reward"})


class RewardTrainer(StageTrainer):
    """Bradley-Terry loss of pairs."""

    def count_items(self, batch: Batch) -> Tensor | int:
        """Pairs."""
        return len(batch["ids"])

    def batch_loss(self, model: nn.Module, batch: Batch) -> BatchLoss:
        """Sum over pairs, weighted."""
        config = self.run.config
        assert isinstance(config, RewardConfig)
        rewards = model(batch["batch"], features=self.features)
        chosen, rejected = rewards.view(-1, 2).unbind(1)
        margins = batch["margins"] if config.use_margin else None
        loss = bradley_terry_loss(chosen, rejected, margins, centring=config.centring)
        with torch.no_grad():
            n = len(loss.margins)
            signals = {
                "accuracy": ((loss.margins > 0).sum(), n),
                "ties": ((loss.margins == 0).sum(), n),
                "margin": (loss.margins.sum(), n),
                "reward": (rewards.sum(), 2 * n),
            }
        return BatchLoss((loss.losses * batch["weights"]).sum(), signals)
