"""A critique model from pairs with critiques: it learns to write them, and to score after them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import set_seed

from vlmalign.data import Example, ExampleDataset, collate, pad_token
from vlmalign.data.critique import REQUEST_VERSION, encode_critiques
from vlmalign.losses import sft_loss
from vlmalign.models import VLM
from vlmalign.models.critique_model import CritiqueModel, is_critique_model
from vlmalign.models.loading import CRITIQUE, model_folder
from vlmalign.records import Preference
from vlmalign.training.budget import steps_of
from vlmalign.training.critique_config import CritiqueConfig
from vlmalign.training.examples import (
    check_supervision,
    evaluation_examples,
    training_examples,
)
from vlmalign.training.known_head import with_known_head
from vlmalign.training.order import EpochOrder
from vlmalign.training.policy import (
    feature_cache_of,
    load_policy,
    lora_settings,
    prepare,
    stage_device,
    weights_type,
)
from vlmalign.training.processes import is_sharded
from vlmalign.training.reward_loss import PairOutputs, losses_of_pairs
from vlmalign.training.runs import RunFolder
from vlmalign.training.trainer import Batch, BatchLoss, StageTrainer


def train_critique(config: CritiqueConfig, *, overwrite: bool = False) -> Path:
    """Train a critique model (MM-RLHF, arXiv:2502.10391, sec. 4).

    The loss of a step is the mean over its pairs of, each weighted,

        pair loss(r_w, r_l) + c (r_w + r_l)^2 + w_c (CE_w + CE_l)

    with CE the mean over a critique's tokens. A critique that the model wrote itself (`own_data`) has no CE; with
    `critiques: own` a given one has no pair loss. `mode: two_stage` takes the last term alone in the first share
    of the steps, and then the other two, whose gradient reaches the head alone: what the model writes stays as the
    first stage left it. Evaluation is after given critiques, so its accuracy is a bound from above: what the
    model's own are worth, `vlmalign evaluate critique-gate` tells.

    A complete run is left as it is; a stopped one continues.

    Args:
        config: settings; `model` is a vision-language model, or a critique model, which learns on.
        overwrite: replace an earlier run in the folder, once the new one's model and data have loaded.

    Returns:
        The run folder; `CritiqueReward` and `CritiqueModel.load` (its `model`) read it.

    Raises:
        DataError: a folder or record that cannot be trained on, e.g. one without critiques.
        FileExistsError: the folder holds another run and `overwrite` is not set.
        ValueError: a launch configuration that contradicts the settings, or a head unlike that of the starting
            model.
    """
    # 1. The run folder: a complete run is not repeated.
    config = with_known_head(config, CRITIQUE)
    run = RunFolder("critique", config, overwrite=overwrite)
    if run.finished:
        return run.path
    _check_processes(config)

    # 2. The starting model and the data.
    critic = starting_model(config)
    data = CritiqueData(config, critic.vlm)
    held_out = evaluation_examples(config, Preference, critic.vlm, encode_critiques)
    check_supervision(config, data.parts, held_out)
    order = EpochOrder(len(data), config.seed)
    collator = partial(collate_critiques, pad_token_id=pad_token(critic.processor))

    # 3. How long to train.
    def cost(batch: Batch) -> float:
        return critic.flops(batch["batch"], training=True)

    steps = steps_of(config, order, data, collator, cost)

    # 4. Train, save, close the run.
    run.begin()
    trainer = CritiqueTrainer(
        run,
        critic,
        steps=steps,
        dataset=data,
        order=order,
        collator=collator,
        cost=cost,
        eval_dataset=None if held_out is None else _Given(held_out),
        features=feature_cache_of(config, critic.model),
    )
    head = critic.head.settings.to_dict()
    return trainer.fit(critic.save, {"stage": "critique", "critique_steps": trainer.critique_steps, "head": head})


def starting_model(config: CritiqueConfig) -> CritiqueModel:
    """A new head on a vision-language model, or a critique model that was trained before.

    Raises:
        ValueError: the critique model answers another request.
    """
    folder = model_folder(config.model)
    if not is_critique_model(folder):
        return CritiqueModel(load_policy(config), config.head.settings(config.seed), request=REQUEST_VERSION)
    set_seed(config.seed)
    critic = CritiqueModel.load(
        folder, lora=lora_settings(config), dtype=weights_type(config), device=str(stage_device(config))
    )
    if critic.request != REQUEST_VERSION:
        raise ValueError(
            f"{folder} answers the request {critic.request!r}, and this version asks {REQUEST_VERSION!r}: train "
            "from a language model."
        )
    prepare(critic.model, config)
    return critic


class CritiqueData(Dataset[tuple[Example, bool]]):
    """Pairs with given critiques, then those with the model's own; each with whether its critiques are own.

    Args:
        config: names the folders.
        vlm: of the model.

    Raises:
        DataError: a folder or record that cannot be trained on.
    """

    def __init__(self, config: CritiqueConfig, vlm: VLM) -> None:
        self.parts = [
            training_examples(config, sources, Preference, vlm, encode_critiques)
            for sources in (config.data, config.own_data)
            if sources
        ]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int) -> tuple[Example, bool]:
        given = len(self.parts[0])
        return (self.parts[0][index], False) if index < given else (self.parts[1][index - given], True)


class _Given(Dataset[tuple[Example, bool]]):
    """Evaluation pairs, all with given critiques."""

    def __init__(self, examples: ExampleDataset[Preference]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[Example, bool]:
        return self.examples[index], False


def collate_critiques(items: Sequence[tuple[Example, bool]], pad_token_id: int) -> dict[str, Any]:
    """A batch of pairs as `collate` makes it, and `own` (B,): whether a pair's critiques are the model's own."""
    batch = collate([example for example, _ in items], pad_token_id)
    return {**batch, "own": torch.tensor([own for _, own in items])}


class CritiqueTrainer(StageTrainer):
    """Loss of pairs after their critiques, and of the critiques."""

    @property
    def critique_config(self) -> CritiqueConfig:
        """The stage's settings."""
        assert isinstance(self.run.config, CritiqueConfig)
        return self.run.config

    @property
    def critique_steps(self) -> int:
        """How many steps learn to write critiques and nothing else."""
        share = self.critique_config.share
        return min(max(round(share * self.args.max_steps), 1), self.args.max_steps) if share else 0

    @property
    def learns_critiques(self) -> bool:
        """Whether the present step learns to write critiques."""
        return self.critique_config.mode == "joint" or not self.learns_scores

    @property
    def learns_scores(self) -> bool:
        """Whether the present step learns to score."""
        return self.state.global_step >= self.critique_steps

    def count_items(self, batch: Batch) -> Tensor | int:
        """Pairs."""
        return len(batch["ids"])

    def floating_point_ops(self, inputs: Batch) -> float:  # type: ignore[override]
        """Of a step that trains the head alone, those of one forward."""
        if self.learns_critiques:
            return self.cost(inputs)
        return self.accelerator.unwrap_model(self.model).flops(inputs["batch"], training=False)

    def batch_loss(self, model: nn.Module, batch: Batch) -> BatchLoss:
        """Sum over pairs, weighted."""
        config, responses, own = self.critique_config, batch["batch"], batch["own"]
        output = model(responses, features=self.features, head_only=not self.learns_critiques)
        scored = torch.ones_like(own) if config.critiques != "own" else own | (not model.training)
        pairs = self._pairs(output.outputs, batch)
        pair_losses = losses_of_pairs(config.loss, pairs, centring=config.centring, tie_weight=config.tie_weight)
        token_losses = sft_loss(output.logps, responses.loss_mask).losses.view(-1, 2)
        losses = []
        if self.learns_scores:
            losses.append(pair_losses * scored)
        if self.learns_critiques:
            losses.append(config.critique_weight * token_losses.sum(1) * ~own)
        total = (torch.stack(losses).sum(0) * batch["weights"]).sum()
        margins, counted = pairs.differences().detach(), scored.sum()
        likely = output.logps.detach().exp() * responses.loss_mask
        signals = {
            "accuracy": (((margins > 0) & scored).sum(), counted),
            "ties": (((margins == 0) & scored).sum(), counted),
            "margin": ((margins * scored).sum(), counted),
            "pair_loss": ((pair_losses.detach() * scored).sum(), counted),
            "critique_loss": ((token_losses.detach().sum(1) * ~own).sum(), 2 * (~own).sum()),
            "critique_token_probability": (likely.sum(), responses.loss_mask.sum()),
            "own_critiques": (own.sum(), len(own)),
        }
        return BatchLoss(total, signals)

    def _pairs(self, outputs: Tensor, batch: Batch) -> PairOutputs:
        sides = outputs.squeeze(1).view(-1, 2, outputs.shape[-1])
        ratings = batch["ratings"].view(-1, 2)
        return PairOutputs(sides[:, 0], sides[:, 1], "score", batch["margins"], ratings)


def _check_processes(config: CritiqueConfig) -> None:
    """Each stage of two leaves some weights without gradient, which processes that work in step do not allow."""
    processes = PartialState().num_processes
    if config.mode == "two_stage" and (processes > 1 or is_sharded()):
        raise ValueError(
            f"mode is two_stage and {processes} processes train together: each stage trains a part of the weights "
            "only; use one process, or mode joint."
        )
