"""What a round of answers teaches: log-probabilities, values and advantages of their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlmalign.losses.advantages import Moments, gae, group_advantages, leave_one_out_advantages, whiten
from vlmalign.losses.kl import kl_estimate
from vlmalign.models import batch_flops
from vlmalign.models.actor_critic import ActorCriticOutput
from vlmalign.training.naming import naming_records
from vlmalign.training.ppo_config import Gae, Group, PpoConfig
from vlmalign.training.rollouts import Rollout
from vlmalign.training.shaping import Join, ShapedScores

Forward = Callable[..., ActorCriticOutput]


class TokenScores(NamedTuple):
    """Of a round's tokens: log-probabilities, and values where there is a critic; (N, T), 0 where not real.

    `flops` are the floating point operations that they took.
    """

    logps: Tensor
    values: Tensor | None
    flops: float


@dataclass(frozen=True)
class Experience:
    """A round's answers, ready for updates; tensors are (N, T).

    Attributes:
        rollout: the answers.
        mask: tokens that count: real ones of valid answers.
        old_logps: under the policy that sampled; None where only one update follows, whose policy that is.
        reference: log-probabilities under the reference, None where they are not used.
        advantages: of each token.
        old_values: the critic's, before the updates; None without one.
        returns: what the critic is to learn; None without one.
    """

    rollout: Rollout
    mask: Tensor
    old_logps: Tensor | None
    reference: Tensor | None
    advantages: Tensor
    old_values: Tensor | None
    returns: Tensor | None


@torch.no_grad()
def token_scores(
    rollout: Rollout, model: nn.Module, forward: Forward, parts: Sequence[Sequence[int]], device: torch.device
) -> TokenScores:
    """Score a round's tokens, some cases at a time.

    Args:
        rollout: the answers.
        model: the policy, for what a pass costs.
        forward: batch -> log-probabilities and values.
        parts: which cases are run together.
        device: of the model.
    """
    logps = torch.zeros(rollout.shape)
    values: Tensor | None = None
    flops = 0.0
    for cases in parts:
        batch, rows = rollout.batch(cases)
        flops += batch_flops(model, batch, training=False)
        with naming_records([rollout.items[b].case.id for b in cases]):
            output = forward(batch.to(device))
        width = output.logps.shape[1]
        logps[rows, :width] = output.logps.float().cpu()
        if output.values is not None:
            values = torch.zeros(rollout.shape) if values is None else values
            values[rows, :width] = output.values.float().cpu()
    return TokenScores(logps, values, flops)


def chunks(cases: Sequence[int], size: int) -> list[Sequence[int]]:
    """Consecutive runs of `size` cases, the last one maybe shorter."""
    return [cases[start : start + size] for start in range(0, len(cases), size)]


def make_experience(
    config: PpoConfig,
    rollout: Rollout,
    shaped: ShapedScores,
    old: TokenScores | None,
    reference: Tensor | None,
    kl_coefficient: float,
    join: Join,
) -> Experience:
    """Advantages of a round's tokens.

    Args:
        config: settings.
        rollout: the answers.
        shaped: their scores.
        old: of the policy that sampled; needed for a critic and for a KL in the reward.
        reference: log-probabilities under the reference, (N, T).
        kl_coefficient: beta.
        join: moments of this process -> of all processes.
    """
    mask = rollout.mask & shaped.valid[:, None]
    rewards = shaped.token_rewards
    if config.kl.place == "reward" and kl_coefficient:
        assert old is not None and reference is not None
        away = kl_estimate(old.logps, reference, config.kl.estimator)
        rewards = rewards - kl_coefficient * torch.where(mask, away, 0.0)
    how, values, returns = config.advantage, None, None
    if isinstance(how, Gae):
        assert old is not None and old.values is not None
        values = old.values
        advantages, returns = gae(rewards, values, mask, gamma=how.gamma, lam=how.lam)
        if how.whiten:
            moments = join(Moments.of(advantages[mask]))
            advantages = torch.where(mask, whiten(advantages, moments, shift=True), 0.0)
    else:
        totals = torch.where(mask, rewards, 0.0).sum(1)
        if isinstance(how, Group):
            of_answer = group_advantages(totals, rollout.prompt_of, shaped.valid, scale=how.scale)
        else:
            of_answer = leave_one_out_advantages(totals, rollout.prompt_of, shaped.valid)
        advantages = of_answer[:, None] * mask
    return Experience(rollout, mask, old.logps if old else None, reference, advantages, values, returns)
