"""Losses of pairs that need no reference model: CPO, SimPO, ORPO."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from vlmalign.losses.dpo import PairLoss, dpo_loss
from vlmalign.losses.shapes import check_per_example, check_positive


def cpo_loss(chosen: Tensor, rejected: Tensor, *, beta: float) -> PairLoss:
    """The preference term of contrastive preference optimisation: DPO with a uniform reference.

    -log sigmoid(beta (log p_w - log p_l)) (Xu et al. 2024, arXiv:2401.08417). The paper adds the chosen answer's
    negative log-likelihood: the `sft_weight` of a stage.

    Args:
        chosen: log-probabilities of the chosen answers, summed over tokens, (B,).
        rejected: those of the rejected answers, (B,).
        beta: > 0.

    Raises:
        ValueError: a tensor with another shape than (B,), or a setting out of range.

    Example:
        >>> cpo_loss(torch.tensor([-3.0]), torch.tensor([-3.0]), beta=0.1).losses  # log 2
        tensor([0.6931])
    """
    return dpo_loss(chosen, rejected, beta=beta)


def simpo_loss(chosen: Tensor, rejected: Tensor, *, beta: float, gamma: float) -> PairLoss:
    """Simple preference optimisation: the reward is the mean log-probability of a token.

    -log sigmoid(beta (log p_w / |y_w| - log p_l / |y_l|) - gamma) (Meng et al. 2024, arXiv:2405.14734; beta 2 to
    2.5 and gamma 0.3 to 1.6 there).

    Args:
        chosen: log-probabilities of the chosen answers, averaged over tokens, (B,).
        rejected: those of the rejected answers, (B,).
        beta: > 0.
        gamma: margin that is asked for, >= 0.

    Raises:
        ValueError: as for `cpo_loss`.

    Example:
        >>> simpo_loss(torch.tensor([-0.5]), torch.tensor([-1.0]), beta=2.0, gamma=1.0).losses  # log 2
        tensor([0.6931])
    """
    check_per_example(chosen=chosen, rejected=rejected)
    check_positive(beta=beta)
    check_positive(or_zero=True, gamma=gamma)
    win, lose = beta * chosen, beta * rejected
    return PairLoss.of(-logsigmoid(win - lose - gamma), win, lose)


def orpo_loss(chosen: Tensor, rejected: Tensor, *, weight: float) -> PairLoss:
    """Odds-ratio preference optimisation: the token loss of the chosen answer, and the odds against the other.

    -log p_w - lambda log sigmoid(log odds_w - log odds_l), p the geometric mean of an answer's token
    probabilities and odds p / (1 - p) (Hong et al. 2024, arXiv:2403.07691; lambda 0.1 there). The loss holds
    its SFT term.

    Args:
        chosen: log p of the chosen answers, averaged over tokens, below 0, (B,).
        rejected: that of the rejected answers, (B,).
        weight: lambda, > 0.

    Raises:
        ValueError: as for `cpo_loss`.

    Example:
        >>> half = torch.tensor([0.5]).log()
        >>> orpo_loss(half, half, weight=1.0).losses  # log 2 + log 2
        tensor([1.3863])
    """
    check_per_example(chosen=chosen, rejected=rejected)
    check_positive(weight=weight)
    log_odds = _log_odds(chosen) - _log_odds(rejected)
    return PairLoss.of(
        -chosen - weight * logsigmoid(log_odds), weight * _log_odds(chosen), weight * _log_odds(rejected)
    )


def _log_odds(logp: Tensor) -> Tensor:
    """Logarithm of p / (1 - p); p that float rounds to 1 counts as the largest number below."""
    logp = logp.clamp(max=-torch.finfo(logp.dtype).eps)
    return logp - torch.log(-torch.expm1(logp))
