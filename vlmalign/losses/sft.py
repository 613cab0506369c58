"""Supervised fine-tuning: the negative log-likelihood of the answer."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class SftLoss(NamedTuple):
    """Per-example values of `sft_loss`.

    Attributes:
        losses: mean negative log-likelihood per token, (B,).
        tokens: tokens in the loss, (B,).
    """

    losses: Tensor
    tokens: Tensor


def sft_loss(logps: Tensor, loss_mask: Tensor) -> SftLoss:
    """Mean negative log-likelihood over the tokens of each example.

    Args:
        logps: log-probability of each token, (B, T).
        loss_mask: which tokens count, (B, T) bool.

    Raises:
        ValueError: shapes that differ, or an example without any token in the loss.

    Example:
        >>> import torch
        >>> sft_loss(torch.tensor([[-1.0, -3.0, -9.0]]), torch.tensor([[True, True, False]])).losses
        tensor([2.])
    """
    if logps.ndim != 2 or loss_mask.shape != logps.shape:
        raise ValueError(
            f"logps has shape {tuple(logps.shape)} and loss_mask {tuple(loss_mask.shape)}, expected (B, T) "
            "for both: pass per-token values."
        )
    tokens = loss_mask.sum(1)
    if (tokens == 0).any():
        empty = (tokens == 0).nonzero().flatten().tolist()
        raise ValueError(f"examples {empty} have no token in the loss, expected one at least: drop them.")
    total = logps.masked_fill(~loss_mask.bool(), 0.0).sum(1)
    return SftLoss(losses=-total / tokens, tokens=tokens)
