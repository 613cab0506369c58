"""One update of the policy from a minibatch of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from vlmalign.losses.kl import kl_estimate
from vlmalign.losses.ppo import policy_loss, value_loss
from vlmalign.models import FeatureCache, PromptBatch, batch_flops
from vlmalign.models.actor_critic import ActorCriticOutput
from vlmalign.training.experience import Experience, chunks
from vlmalign.training.ppo_config import Gae, PpoConfig
from vlmalign.training.signals import Signals


class UpdateResult(NamedTuple):
    """What became of an update.

    Attributes:
        stepped: whether the policy moved; without any valid answer, in any process, it does not.
        kl: mean estimate per token of the KL between the policy that sampled and the one before the step.
        grad_norm: before it was clipped.
        flops: floating point operations of this process.
    """

    stepped: bool
    kl: float
    grad_norm: float
    flops: float


class Updater:
    """Takes optimiser steps.

    Args:
        config: settings.
        accelerator: prepared the two below.
        model: the policy with its critic, as the accelerator wraps it.
        policy: the policy itself.
        optimizer: of what is trained.
        features: see `forward_responses`.
    """

    def __init__(
        self,
        config: PpoConfig,
        accelerator: Accelerator,
        model: nn.Module,
        policy: nn.Module,
        optimizer: Any,
        features: FeatureCache | None,
    ) -> None:
        self.config = config
        self.accelerator = accelerator
        self.model = model
        self.policy = policy
        self.optimizer = optimizer
        self.features = features
        self.signals = Signals()

    def update(self, experience: Experience, cases: Sequence[int], kl_coefficient: float) -> UpdateResult:
        """Take one step on some cases of a round, all their answers.

        Raises:
            FloatingPointError: a loss or gradient that is not finite.
        """
        config = self.config
        passes = chunks(cases, len(cases) // config.gradient_accumulation)
        mask = experience.mask[torch.isin(experience.rollout.prompt_of, torch.tensor(list(cases)))]
        counts = torch.tensor([float(mask.sum()), float(mask.any(1).sum())], device=self.accelerator.device)
        tokens, answers = self.accelerator.reduce(counts).tolist()
        if not tokens:
            return UpdateResult(False, 0.0, 0.0, 0.0)
        away, flops = torch.zeros((), device=self.accelerator.device), 0.0
        for number, part in enumerate(passes):
            last = number == len(passes) - 1
            with torch.enable_grad() if last else self.accelerator.no_sync(self.model):
                batch, rows = experience.rollout.batch(part)
                total, kl = self._loss(experience, batch, rows, tokens, answers, kl_coefficient)
                if not torch.isfinite(total):
                    names = [experience.rollout.items[b].case.id for b in part][:8]
                    raise FloatingPointError(
                        f"the loss is {total.item()} on answers to the cases {names}: lower learning_rate, or "
                        "look at them"
                    )
                self.accelerator.backward(total * self.accelerator.num_processes)
            away += kl
            flops += batch_flops(self.policy, batch, training=True)
        norm = self._step()
        kl_mean = float(self.accelerator.reduce(away)) / tokens
        self.signals.add({"grad_norm": (norm, 1)})
        return UpdateResult(True, kl_mean, norm, flops)

    def _step(self) -> float:
        trained = [p for p in self.model.parameters() if p.requires_grad]
        limit = self.config.max_grad_norm or float("inf")
        norm = float(self.accelerator.clip_grad_norm_(trained, limit))
        if norm != norm or norm == float("inf"):
            raise FloatingPointError(f"the gradient's norm is {norm}: lower learning_rate, or use dtype float32")
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def _loss(
        self,
        experience: Experience,
        batch: PromptBatch,
        rows: Tensor,
        tokens: float,
        answers: float,
        kl_coefficient: float,
    ) -> tuple[Tensor, Tensor]:
        """This part's share of the update's loss, and the sum over tokens of the KL to the policy that sampled."""
        config, device = self.config, self.accelerator.device
        output: ActorCriticOutput = self.model(
            batch.to(device), features=self.features, temperature=config.temperature
        )
        width = output.logps.shape[1]

        def of(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[rows, :width].to(device)

        mask, advantages, old = of(experience.mask), of(experience.advantages), of(experience.old_logps)
        assert mask is not None and advantages is not None
        old = output.logps.detach() if old is None else old
        policy = policy_loss(
            output.logps, old, advantages, mask, clip_low=config.clip_low, clip_high=config.clip_high
        )
        losses = policy.losses
        signals: dict[str, tuple[Any, Any]] = {
            "policy_loss": (policy.losses.detach().sum(), mask.sum()),
            "clip_fraction": (policy.clipped.sum(), mask.sum()),
        }
        reference = of(experience.reference)
        if config.kl.place == "loss" and kl_coefficient:
            assert reference is not None
            pull = torch.where(mask, kl_estimate(output.logps, reference, config.kl.estimator), 0.0)
            losses = losses + kl_coefficient * pull
        if isinstance(config.advantage, Gae):
            values, returns, old_values = output.values, of(experience.returns), of(experience.old_values)
            assert values is not None and returns is not None and old_values is not None
            errors = value_loss(values, old_values, returns, mask, clip=config.advantage.value_clip)
            signals["value_loss"] = (errors.detach().sum(), mask.sum())
            losses = losses + config.advantage.value_weight * errors
        self.signals.add(signals)
        away = torch.where(mask, kl_estimate(old, output.logps.detach(), "k3"), 0.0).sum()
        if config.average == "answer":
            per_answer = losses.sum(1) / mask.sum(1).clamp(min=1)
            return per_answer.sum() / answers, away
        return losses.sum() / tokens, away
