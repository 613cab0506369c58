"""The loss that makes log-ratios a reward of the outcome, and so of every step on the way to it."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from vlmalign.losses.dpo import PairLoss
from vlmalign.losses.shapes import check_per_example, check_positive


def outcome_loss(chosen: Tensor, rejected: Tensor, *, beta: float) -> PairLoss:
    """Binary cross-entropy of outcomes: the chosen answer is right, the rejected one wrong.

    -log sigmoid(beta h_w) - log sigmoid(-beta h_l) (Yuan et al. 2024, Free process rewards without process labels,
    arXiv:2412.01981, in its cross-entropy form). A policy so trained is an implicit process reward model: beta
    times the log-ratio of a step's tokens is what the step adds to the outcome (`ImplicitReward`). Unlike DPO it
    asks each answer about itself, so that rewards of answers to different prompts can be compared, with 0 the
    border between right and wrong. It needs answers that are right or wrong, not just one better than the other.

    Args:
        chosen: log-ratios h_w of the right answers, (B,).
        rejected: log-ratios h_l of the wrong answers, (B,).
        beta: scale of the reward, > 0.

    Raises:
        ValueError: a tensor with another shape than (B,), or beta not above 0.

    Example:
        >>> import torch
        >>> outcome_loss(torch.tensor([0.0]), torch.tensor([0.0]), beta=0.05).losses  # 2 log 2
        tensor([1.3863])
    """
    check_per_example(chosen=chosen, rejected=rejected)
    check_positive(beta=beta)
    win, lose = beta * chosen, beta * rejected
    return PairLoss.of(-logsigmoid(win) - logsigmoid(-lose), win, lose)
