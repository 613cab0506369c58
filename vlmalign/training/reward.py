"""A reward model from pairs and ratings: the better answer gets the higher number."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import set_seed

from vlmalign.data import collate, pad_token
from vlmalign.data.nuisance import perturb_pixels
from vlmalign.losses.reward import disagreement_weighted, verdict_disagreement
from vlmalign.models import VLM, RewardModel
from vlmalign.models.loading import SCALAR, model_folder
from vlmalign.models.member_lora import MemberLora
from vlmalign.models.reward_model import is_reward_model
from vlmalign.records import Preference
from vlmalign.records.hashing import derive_seed
from vlmalign.training.budget import steps_of
from vlmalign.training.examples import (
    check_supervision,
    evaluation_examples,
    training_examples,
)
from vlmalign.training.known_head import with_known_head
from vlmalign.training.laplace import fit_laplace
from vlmalign.training.order import EpochOrder
from vlmalign.training.policy import (
    feature_cache_of,
    load_policy,
    lora_settings,
    prepare,
    stage_device,
    weights_type,
)
from vlmalign.training.resampling import GroupResampling
from vlmalign.training.reward_config import Nuisance, RewardConfig
from vlmalign.training.reward_loss import PairOutputs, losses_of_pairs
from vlmalign.training.runs import RunFolder
from vlmalign.training.trainer import Batch, BatchLoss, StageTrainer


def train_reward(config: RewardConfig, *, overwrite: bool = False) -> Path:
    """Train a reward model.

    The loss of a step is the mean over its pairs, each weighted, and over members. A complete run is left as it
    is; a stopped one continues.

    Args:
        config: settings; `model` is a vision-language model, whose output layer is replaced, or a reward model,
            which learns on (`head` is then its own).
        overwrite: replace an earlier run in the folder, once the new one's model and data have loaded.

    Returns:
        The run folder; `ScalarReward` and `RewardModel.load` (its `model`) read it.

    Raises:
        DataError: a folder or record that cannot be trained on, e.g. one without a margin if margins are used.
        FileExistsError: the folder holds another run and `overwrite` is not set.
        ValueError: a launch configuration that contradicts the settings, or a head unlike that of the starting
            model.
    """
    # 1. The run folder: a complete run is not repeated.
    config = with_known_head(config, SCALAR)
    run = RunFolder("reward", config, overwrite=overwrite)
    if run.finished:
        return run.path

    # 2. The starting model and the data.
    reward = starting_model(config)
    vlm = VLM(reward.backbone, reward.processor)
    data = training_examples(config, config.data, Preference, vlm)
    held_out = evaluation_examples(config, Preference, vlm)
    check_supervision(config, [data], held_out)
    order = EpochOrder(len(data), config.seed)
    collator = partial(collate, pad_token_id=pad_token(reward.processor))

    # 3. How long to train.
    def cost(batch: Batch) -> float:
        return (1 if config.nuisance is None else 2) * reward.flops(batch["batch"], training=True)

    steps = steps_of(config, order, data, collator, cost)

    # 4. Train, fit what the last layer leaves open, save, close the run.
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

    def save(folder: Path) -> None:
        if config.laplace:
            reward.laplace = fit_laplace(reward, data, collator, config.batch_size, features=trainer.features)
        reward.save(folder)

    return trainer.fit(save, {"stage": "reward", "head": reward.head.settings.to_dict()})


def starting_model(config: RewardConfig) -> RewardModel:
    """A new head on a vision-language model, or a reward model that was trained before.

    Raises:
        ValueError: adapters of members are asked for on such a one.
    """
    folder = model_folder(config.model)
    if not is_reward_model(folder):
        head, adapters = config.head.settings(config.seed), None
        if config.member_lora is not None:
            settings = config.member_lora.model_dump()
            adapters = MemberLora(members=head.members, **settings, seed=config.seed)
        return RewardModel(load_policy(config), head, member_lora=adapters)
    if config.member_lora is not None:
        raise ValueError(
            f"member_lora is set and {folder} is a reward model already: start from a language model."
        )
    set_seed(config.seed)
    reward = RewardModel.load(
        folder, lora=lora_settings(config), dtype=weights_type(config), device=str(stage_device(config))
    )
    prepare(reward.backbone, config)
    return reward


class RewardTrainer(StageTrainer):
    """Loss of pairs, by what the head says of their answers."""

    _groups: GroupResampling | None = None

    @property
    def reward_config(self) -> RewardConfig:
        """The stage's settings."""
        assert isinstance(self.run.config, RewardConfig)
        return self.run.config

    def count_items(self, batch: Batch) -> Tensor | int:
        """Pairs."""
        return len(batch["ids"])

    def batch_loss(self, model: nn.Module, batch: Batch) -> BatchLoss:
        """Sum over pairs, weighted; of several members, their mean."""
        config = self.reward_config
        outputs = model(batch["batch"], features=self.features)
        members = outputs.shape[1]
        pairs = self._pairs(outputs, batch)
        losses, differences = self._losses(pairs), pairs.differences()
        n = len(batch["ids"])
        signals = {}
        if config.nuisance is not None:
            disagreement = self._disagreement(model, batch, differences, config.nuisance)
            losses = disagreement_weighted(losses, config.nuisance.weight * disagreement)
            signals["disagreement"] = (disagreement.detach().sum() / members, n)
        losses = losses.view(-1, members)
        if config.resamples and model.training:
            losses = losses * self._resampling(members).counts(batch["groups"]).to(losses)
        margins = differences.detach().view(-1, members).mean(1)
        signals |= {
            "accuracy": ((margins > 0).sum(), n),
            "ties": ((margins == 0).sum(), n),
            "margin": (margins.sum(), n),
            "reward": (sum(each.mean.detach().sum() for each in pairs.moments()) / members, 2 * n),
        }
        return BatchLoss((losses.mean(1) * batch["weights"]).sum(), signals)

    def _resampling(self, members: int) -> GroupResampling:
        if self._groups is None:
            self._groups = GroupResampling(members, self.reward_config.seed)
        return self._groups

    def _pairs(self, outputs: Tensor, batch: Batch) -> PairOutputs:
        """Each pair once for each of K members, (B K,)."""
        members = outputs.shape[1]
        sides = outputs.view(-1, 2, *outputs.shape[1:])  # (B, 2, K, O)
        return PairOutputs(
            chosen=sides[:, 0].flatten(0, 1),
            rejected=sides[:, 1].flatten(0, 1),
            kind=self.reward_config.head.outputs,
            margins=batch["margins"].repeat_interleave(members),
            ratings=batch["ratings"].view(-1, 2).repeat_interleave(members, 0),
        )

    def _losses(self, pairs: PairOutputs) -> Tensor:
        config = self.reward_config
        return losses_of_pairs(config.loss, pairs, centring=config.centring, tie_weight=config.tie_weight)

    def _disagreement(self, model: nn.Module, batch: Batch, differences: Tensor, nuisance: Nuisance) -> Tensor:
        """How far the verdicts change with the pictures, (B K,)."""
        seed = derive_seed(self.reward_config.seed, "nuisance", self.state.global_step, *batch["ids"])
        generator = torch.Generator().manual_seed(seed)
        prompts = perturb_pixels(batch["batch"].prompts, generator, noise=nuisance.noise, crop=nuisance.crop)
        changed = self._pairs(model(replace(batch["batch"], prompts=prompts)), batch)
        return verdict_disagreement(differences, changed.differences())
