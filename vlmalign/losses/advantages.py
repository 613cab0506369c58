"""Advantages of sampled answers: by a critic (GAE), or against the other answers to the same prompt."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vlmalign.losses.shapes import check_per_example, check_tokens


class Advantages(NamedTuple):
    """Values of `gae`.

    Attributes:
        advantages: (N, T), 0 outside the mask.
        returns: what the critic should have said, (N, T), 0 outside the mask.
    """

    advantages: Tensor
    returns: Tensor


def gae(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float) -> Advantages:
    """Generalised advantage estimation over the tokens of each answer.

    delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma lam A_{t+1}, return_t = A_t + V_t, where the token
    after the last one has value 0 (Schulman et al. 2016, arXiv:1506.02438). Masked tokens in between (user turns)
    are passed over: the next real token follows.

    Args:
        rewards: of each token, (N, T).
        values: of the state that each token was chosen in, (N, T).
        mask: tokens of the policy, (N, T) bool.
        gamma: discount, in [0, 1].
        lam: in [0, 1]; 1 is the return less the value, 0 one step's surprise.

    Raises:
        ValueError: tensors of different shape, or a setting outside [0, 1].

    Example:
        >>> rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.25]])
        >>> gae(rewards, values, rewards >= 0, gamma=1.0, lam=1.0).advantages
        tensor([[0.5000, 0.7500]])
    """
    check_tokens(rewards=rewards, values=values, mask=mask)
    for name, setting in {"gamma": gamma, "lam": lam}.items():
        if not 0 <= setting <= 1:
            raise ValueError(f"{name} is {setting}, expected a number in [0, 1]: correct it.")
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    columns = []
    for t in reversed(range(values.shape[1])):
        real = mask[:, t]
        advantage = rewards[:, t] + gamma * next_value - values[:, t] + gamma * lam * next_advantage
        next_value = torch.where(real, values[:, t], next_value)
        next_advantage = torch.where(real, advantage, next_advantage)
        columns.append(torch.where(real, advantage, 0.0))
    advantages = torch.stack(columns[::-1], 1)
    return Advantages(advantages, torch.where(mask, advantages + values, 0.0))


def group_advantages(scores: Tensor, prompts: Tensor, valid: Tensor, *, scale: bool) -> Tensor:
    """Scores of answers against the mean of the valid answers to the same prompt.

    A = (r - mean) / (std + 1e-4) (GRPO, Shao et al. 2024, arXiv:2402.03300, section 4.1.2; std with K - 1), or
    without the division (Dr. GRPO, Liu et al. 2025, arXiv:2503.20783, which shows that it favours prompts
    that are nearly solved or hopeless). An answer that has no valid sibling gets 0: nothing is known of it.

    Args:
        scores: (N,); what stands at an invalid place is not read.
        prompts: which prompt each answers, (N,).
        valid: whether it was scored, (N,) bool.
        scale: divide by the standard deviation.

    Returns:
        (N,), 0 where invalid.

    Raises:
        ValueError: tensors of another shape.

    Example:
        >>> scores, prompts = torch.tensor([1.0, 3.0, float("nan"), 5.0]), torch.tensor([0, 0, 0, 1])
        >>> group_advantages(scores, prompts, ~scores.isnan(), scale=False)
        tensor([-1.,  1.,  0.,  0.])
    """
    counts, totals = _by_prompt(scores, prompts, valid)
    deviation = torch.where(valid, scores - totals / counts.clamp(min=1), 0.0)
    if scale:
        squares = torch.zeros_like(totals).scatter_add(0, _dense(prompts), deviation**2)[_dense(prompts)]
        deviation = deviation / ((squares / (counts - 1).clamp(min=1)).sqrt() + 1e-4)
    return torch.where(counts > 1, deviation, 0.0)


def leave_one_out_advantages(scores: Tensor, prompts: Tensor, valid: Tensor) -> Tensor:
    """Each score less the mean of the other valid answers to the same prompt (RLOO).

    A_i = r_i - sum_{j != i} r_j / (K - 1) (Ahmadian et al. 2024, arXiv:2402.14740, equation 8), an unbiased
    baseline. An answer that has no valid sibling gets 0.

    Args:
        scores: (N,); what stands at an invalid place is not read.
        prompts: which prompt each answers, (N,).
        valid: whether it was scored, (N,) bool.

    Returns:
        (N,), 0 where invalid.

    Raises:
        ValueError: tensors of another shape.

    Example:
        >>> leave_one_out_advantages(torch.tensor([1.0, 3.0, 8.0]), torch.zeros(3).long(), torch.ones(3).bool())
        tensor([-4.5000, -1.5000,  6.0000])
    """
    counts, totals = _by_prompt(scores, prompts, valid)
    others = (totals - scores) / (counts - 1).clamp(min=1)
    return torch.where(valid & (counts > 1), scores - others, 0.0)


def _dense(prompts: Tensor) -> Tensor:
    return prompts.unique(return_inverse=True)[1]


def _by_prompt(scores: Tensor, prompts: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Of each answer's prompt: how many valid answers, and the sum of their scores; (N,) each."""
    check_per_example(scores=scores, prompts=prompts, valid=valid)
    place = _dense(prompts)
    zeros = scores.new_zeros(len(scores))
    counts = zeros.scatter_add(0, place, valid.to(scores.dtype))[place]
    totals = zeros.scatter_add(0, place, torch.where(valid, scores, 0.0))[place]
    return counts, totals


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations of numbers seen so far.

    Example:
        >>> seen = Moments.of(torch.tensor([1.0, 3.0])).join(Moments.of(torch.tensor([5.0])))
        >>> seen.n, seen.mean, seen.std
        (3.0, 3.0, 2.0)
    """

    n: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Tensor) -> Moments:
        """Of the numbers of a tensor."""
        if values.numel() == 0:
            return cls()
        numbers = values.double()
        return cls(float(numbers.numel()), float(numbers.mean()), float((numbers - numbers.mean()).square().sum()))

    def join(self, other: Moments) -> Moments:
        """Of both sets of numbers together (Chan et al. 1979)."""
        n = self.n + other.n
        if n == 0:
            return self
        gap = other.mean - self.mean
        return Moments(
            n,
            self.mean + gap * other.n / n,
            self.squares + other.squares + gap**2 * self.n * other.n / n,
        )

    @property
    def std(self) -> float:
        """With n - 1; 0 below two numbers."""
        return (self.squares / (self.n - 1)) ** 0.5 if self.n > 1 else 0.0


def whiten(values: Tensor, moments: Moments, *, shift: bool) -> Tensor:
    """Divide by a standard deviation, after taking off the mean if `shift`.

    Rewards are whitened without a shift (Dr-LLaVA and LLaVA-RLHF do the same): a shift would reward or punish
    every answer alike, and with a KL penalty in the reward it would hide that too. The moments are those of valid
    numbers only, over all processes. Where they all are equal there is nothing to divide by, and values are
    left as they are but for the shift.

    Args:
        values: any shape.
        moments: of the numbers to go by.
        shift: take off the mean.

    Example:
        >>> whiten(torch.tensor([2.0, 6.0]), Moments.of(torch.tensor([2.0, 6.0])), shift=True)
        tensor([-0.7071,  0.7071])
    """
    shifted = values - moments.mean if shift else values
    return shifted / moments.std if moments.std > 1e-8 else shifted
