"""Direct preference optimisation."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import logsigmoid

from vlmalign.losses.shapes import check_per_example


class DpoLoss(NamedTuple):
    """Per-example values of `dpo_loss`.

    Attributes:
        losses: (B,), with gradient.
        chosen_rewards: implicit rewards beta log(policy / reference) of the chosen answers, (B,), detached.
        rejected_rewards: those of the rejected answers, (B,), detached.
        margins: chosen minus rejected reward, (B,), detached.
    """

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor
    margins: Tensor


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> DpoLoss:
    """Sigmoid DPO loss of pairs.

    With h = beta ((policy - reference)(chosen) - (policy - reference)(rejected)), the loss is
    -log sigmoid(h) (Rafailov et al. 2023, equation 7). With label smoothing e, the probability that a pair is
    the wrong way round, it is -(1 - e) log sigmoid(h) - e log sigmoid(-h) (Mitchell 2023, conservative DPO).

    Args:
        policy_chosen: log-probability of each chosen answer under the policy, summed over tokens, (B,).
        policy_rejected: that of the rejected answers, (B,).
        reference_chosen: the same under the reference, (B,).
        reference_rejected: the same under the reference, (B,).
        beta: strength of the tie to the reference, > 0.
        label_smoothing: e, in [0, 0.5).

    Raises:
        ValueError: a tensor with another shape than (B,), or a setting out of range.

    Example:
        >>> import torch
        >>> same = torch.tensor([-5.0])
        >>> dpo_loss(same, same, same, same, beta=0.1).losses  # log 2
        tensor([0.6931])
    """
    check_per_example(
        policy_chosen=policy_chosen,
        policy_rejected=policy_rejected,
        reference_chosen=reference_chosen,
        reference_rejected=reference_rejected,
    )
    if not beta > 0:
        raise ValueError(f"beta is {beta}, expected more than 0: 0.1 is usual.")
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing is {label_smoothing}, expected [0, 0.5): 0.5 would learn nothing.")
    chosen = beta * (policy_chosen - reference_chosen)
    rejected = beta * (policy_rejected - reference_rejected)
    h = chosen - rejected
    losses = -(1 - label_smoothing) * logsigmoid(h) - label_smoothing * logsigmoid(-h)
    return DpoLoss(losses, chosen.detach(), rejected.detach(), h.detach())
