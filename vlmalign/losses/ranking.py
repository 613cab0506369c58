"""Losses of K ranked answers to one prompt: all pairs of different rank, or the whole ranking at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vlmalign.losses.shapes import check_per_example, check_positive


class RankedPairs(NamedTuple):
    """Pairs of answers of the same prompt and different rank.

    Attributes:
        chosen: index of the better answer, (P,).
        rejected: index of the worse one, (P,).
    """

    chosen: Tensor
    rejected: Tensor


def ranked_pairs(ranks: Tensor, prompts: Tensor) -> RankedPairs:
    """Every pair of answers to the same prompt of which one ranks higher; ties give none.

    K answers of K ranks give K (K - 1) / 2 pairs (all are taken in MM-RLHF, Zhang et al. 2025,
    arXiv:2502.10391).

    Args:
        ranks: of each answer, 1 is best, (N,).
        prompts: which prompt each answers, (N,).

    Raises:
        ValueError: tensors of another shape.

    Example:
        >>> ranked_pairs(torch.tensor([2, 1, 2]), torch.tensor([0, 0, 0]))
        RankedPairs(chosen=tensor([1, 1]), rejected=tensor([0, 2]))
    """
    check_per_example(ranks=ranks, prompts=prompts)
    better = (ranks[:, None] < ranks[None, :]) & (prompts[:, None] == prompts[None, :])
    chosen, rejected = better.nonzero().unbind(1)
    return RankedPairs(chosen, rejected)


class RankingLoss(NamedTuple):
    """Per-prompt values of `plackett_luce_loss`.

    Attributes:
        losses: (B,), with gradient.
        rewards: beta h of each answer, (B, K), detached; 0 where there is none.
    """

    losses: Tensor
    rewards: Tensor


def plackett_luce_loss(ratios: Tensor, ranks: Tensor, present: Tensor, *, beta: float) -> RankingLoss:
    """Listwise DPO: the negative log-probability of the whole ranking under the Plackett-Luce model.

    -sum_k log(exp(beta h_(k)) / sum_{j ranked as k or worse} exp(beta h_j)) (Rafailov et al. 2023, appendix A.3).
    Of tied answers each stands in the denominators of the others and of itself (Breslow's form); a group of
    ties at the bottom adds nothing, as nothing in it is preferred. With two answers it is the DPO loss.

    Args:
        ratios: log-ratios h, (B, K).
        ranks: 1 is best, (B, K).
        present: which answers exist, (B, K) bool.
        beta: > 0.

    Raises:
        ValueError: tensors of another shape, or beta not above 0.

    Example:
        >>> ratios, ranks = torch.zeros(1, 3), torch.tensor([[1, 2, 3]])
        >>> plackett_luce_loss(ratios, ranks, ranks > 0, beta=0.1).losses  # log 3 + log 2
        tensor([1.7918])
    """
    for name, tensor in {"ratios": ratios, "ranks": ranks, "present": present}.items():
        if tensor.ndim != 2 or tensor.shape != ratios.shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected (B, K) like ratios.")
    check_positive(beta=beta)
    rewards = (beta * ratios).masked_fill(~present, 0.0)
    pair = present[:, :, None] & present[:, None, :]
    not_better = pair & (ranks[:, :, None] <= ranks[:, None, :])  # [b, k, j]: j ranks as k or worse
    rivals = rewards[:, None, :].masked_fill(~not_better, float("-inf")).masked_fill(~present[:, :, None], 0.0)
    beats_some = (pair & (ranks[:, :, None] < ranks[:, None, :])).any(2)
    terms = torch.where(beats_some, rivals.logsumexp(2) - rewards, 0.0)
    return RankingLoss(terms.sum(1), rewards.detach())
