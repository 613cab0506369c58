"""Losses of pairs that stop pulling once the margin is wide enough: IPO and hinge."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import relu

from vlmalign.losses.dpo import PairLoss
from vlmalign.losses.shapes import check_per_example, check_positive


def ipo_loss(chosen: Tensor, rejected: Tensor, *, beta: float) -> PairLoss:
    """Identity preference optimisation: the margin is to be 1 / (2 beta), neither less nor more.

    (h_w - h_l - 1 / (2 beta))^2 (Azar et al. 2023, arXiv:2310.12036, equation 17). The paper sums h over tokens;
    CheXalign and other code average it, so that one beta fits answers of all lengths: pass averages for that.

    Args:
        chosen: log-ratios of the chosen answers, summed or averaged over tokens, (B,).
        rejected: those of the rejected answers, alike, (B,).
        beta: > 0.

    Raises:
        ValueError: a tensor with another shape than (B,), or beta not above 0.

    Example:
        >>> import torch
        >>> zero = torch.tensor([0.0])
        >>> ipo_loss(zero, zero, beta=0.1).losses  # (0 - 5)^2
        tensor([25.])
    """
    check_per_example(chosen=chosen, rejected=rejected)
    check_positive(beta=beta)
    losses = (chosen - rejected - 1 / (2 * beta)) ** 2
    return PairLoss.of(losses, beta * chosen, beta * rejected)


def hinge_loss(chosen: Tensor, rejected: Tensor, *, beta: float) -> PairLoss:
    """Hinge loss on the DPO margin: zero from 1 on.

    max(0, 1 - beta (h_w - h_l)) (SLiC of Zhao et al. 2023, arXiv:2305.10425, normalised by the reference as in Liu
    et al. 2023, RSO, arXiv:2309.06657).

    Args:
        chosen: h_w, (B,).
        rejected: h_l, (B,).
        beta: > 0.

    Raises:
        ValueError: as for `ipo_loss`.

    Example:
        >>> import torch
        >>> hinge_loss(torch.tensor([5.0, 0.0]), torch.tensor([-6.0, 4.0]), beta=0.1).losses
        tensor([0.0000, 1.4000])
    """
    check_per_example(chosen=chosen, rejected=rejected)
    check_positive(beta=beta)
    win, lose = beta * chosen, beta * rejected
    return PairLoss.of(relu(1 - (win - lose)), win, lose)
