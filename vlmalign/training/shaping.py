"""From a reward's scores to what the policy is trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vlmalign.data.token_ends import token_ends
from vlmalign.losses.advantages import Moments, whiten
from vlmalign.losses.ppo import clipped_steps, confidence_adjusted, delta_steps
from vlmalign.records import Candidate, assistant
from vlmalign.rewards import Reward, RewardOutput, score_whole, stated_confidence
from vlmalign.training.ppo_config import Shaping
from vlmalign.training.rollouts import Rollout

Join = Callable[[Moments], Moments]


@dataclass(frozen=True)
class ShapedScores:
    """What N answers are worth; numbers are 0 where an answer is invalid.

    Attributes:
        scores: the reward's own, (N,).
        token_rewards: after shaping, at the tokens where they are due, (N, T).
        valid: whether an answer counts, (N,) bool.
        confidence: what answers state, NaN where none does, (N,).
        reasons: why an answer is invalid, None where it is not.
        flops: floating point operations of scoring.
    """

    scores: Tensor
    token_rewards: Tensor
    valid: Tensor
    confidence: Tensor
    reasons: tuple[str | None, ...]
    flops: float


@dataclass
class Shaper:
    """Scores rollouts, and keeps what shaping remembers from round to round.

    Attributes:
        baseline: running mean of valid scores, for stated confidence; None before the first round.
        seen: moments of all valid scores so far.
    """

    reward: Reward
    settings: Shaping
    tokenizer: Any
    baseline: float | None = None
    seen: Moments = field(default_factory=Moments)

    def shape(self, rollout: Rollout, join: Join) -> ShapedScores:
        """Score the answers of a round.

        Args:
            rollout: the answers.
            join: moments of this process -> of all processes.

        Raises:
            ValueError: pessimism and a reward without a standard deviation, or steps and one that scores none.
        """
        settings = self.settings
        stated = [stated_confidence(candidate.text) for candidate in rollout.candidates]
        shown = list(rollout.candidates)
        if settings.confidence:
            shown = [_with_text(c, s.text) for c, s in zip(shown, stated, strict=True)]
        output = score_whole(
            self.reward, rollout.cases, shown, rollout.images if self.reward.needs_images else None
        )
        valid = torch.tensor(output.valid)
        scores = torch.tensor(output.mean).nan_to_num(0.0)
        confidence = torch.tensor([float("nan") if s.confidence is None else s.confidence for s in stated])
        cut = torch.tensor([not candidate.finished for candidate in rollout.candidates])
        for which, score in ((cut, settings.cut), (~cut & ~valid, settings.unscored)):
            if score is not None:
                scores, valid = torch.where(which, score, scores), valid | which
        if settings.steps == "none":
            used = self._one_score(output, scores, valid, confidence, join)
            rewards = torch.zeros(rollout.shape)
            rewards[torch.arange(len(used)), rollout.lengths - 1] = torch.where(valid, used, 0.0)
        else:
            rewards = self._step_rewards(output, rollout, scores, valid)
            moments = self._moments(rewards.sum(1)[valid], join)
            rewards = rewards if moments is None else whiten(rewards, moments, shift=False)
        return ShapedScores(scores, rewards, valid, confidence, output.reasons, output.flops)

    def _one_score(
        self, output: RewardOutput, scores: Tensor, valid: Tensor, confidence: Tensor, join: Join
    ) -> Tensor:
        settings, used = self.settings, scores
        if settings.pessimism:
            std = torch.tensor(output.std)
            if std[torch.tensor(output.valid)].isnan().any():
                raise ValueError(
                    f"shaping.pessimism is {settings.pessimism} and reward {self.reward.name!r} gave no standard "
                    "deviation for some answers: use a reward that does, or set pessimism to 0"
                )
            used = used - settings.pessimism * std.nan_to_num(0.0)
        if settings.clip is not None:
            used = used.clamp(-settings.clip, settings.clip)
        if settings.confidence:
            round_mean = join(Moments.of(used[valid]))
            if round_mean.n:
                share = settings.confidence.momentum if self.baseline is not None else 1.0
                self.baseline = share * round_mean.mean + (1 - share) * (self.baseline or 0.0)
                used = confidence_adjusted(used, self.baseline, confidence, weight=settings.confidence.weight)
        moments = self._moments(used[valid], join)
        return used if moments is None else whiten(used, moments, shift=False)

    def _moments(self, values: Tensor, join: Join) -> Moments | None:
        """What to whiten by, if at all."""
        if self.settings.whiten == "none":
            return None
        now = join(Moments.of(values))
        self.seen = self.seen.join(now)
        return self.seen if self.settings.whiten == "running" else now

    def _step_rewards(self, output: RewardOutput, rollout: Rollout, scores: Tensor, valid: Tensor) -> Tensor:
        """Of each token; an answer valid without steps has the score that the settings give it, at its end."""
        if output.steps is None and any(output.valid):
            raise ValueError(
                f"shaping.steps is {self.settings.steps!r} and reward {self.reward.name!r} scores no steps: use "
                "another reward, or steps: none"
            )
        rewards = torch.zeros(rollout.shape)
        for row, steps in enumerate(output.steps or [None] * len(scores)):
            if steps is None:
                rewards[row, rollout.lengths[row] - 1] = torch.where(valid[row], scores[row], 0.0)
                continue
            places = token_ends(self.tokenizer, rollout.token_ids[row], [end for end, _ in steps])
            rewards[row].index_add_(0, torch.tensor(places), self._shaped_steps([score for _, score in steps]))
        return rewards

    def _shaped_steps(self, scores: Sequence[float]) -> Tensor:
        settings, shaped = self.settings, torch.tensor(scores)
        if settings.clip is not None:
            shaped = shaped.clamp(-settings.clip, settings.clip)
        if settings.steps == "clip":
            return clipped_steps(shaped, settings.step_threshold)
        return delta_steps(shaped) if settings.steps == "delta" else shaped


def _with_text(candidate: Candidate, text: str) -> Candidate:
    """The candidate saying something else in its last turn."""
    return candidate.model_copy(update={"messages": (*candidate.messages[:-1], assistant(text))})
