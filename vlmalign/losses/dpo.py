"""The DPO family: losses of pairs in the log-ratios h = log policy - log reference of whole answers.

All have -log sigmoid of a margin at their centre. `chosen` and `rejected` are the log-ratios of the two answers
of each pair, summed over tokens, (B,); `log_ratios` makes them. Losses without sigmoid or without a reference
are in `margin_losses` and `reference_free`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from vlmalign.losses.shapes import check_per_example, check_positive, check_share


class PairLoss(NamedTuple):
    """Per-pair values of a preference loss.

    Attributes:
        losses: (B,), with gradient.
        chosen_rewards: implicit reward of the chosen answers, for DPO beta h, (B,), detached.
        rejected_rewards: those of the rejected answers, (B,), detached.
        margins: chosen minus rejected reward, (B,), detached.
    """

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor
    margins: Tensor

    @classmethod
    def of(cls, losses: Tensor, chosen: Tensor, rejected: Tensor) -> PairLoss:
        """From losses and both implicit rewards."""
        chosen, rejected = chosen.detach(), rejected.detach()
        return cls(losses, chosen, rejected, chosen - rejected)


def log_ratios(policy: Tensor, reference: Tensor) -> Tensor:
    """The log-ratios h = log policy - log reference, (B,), of answers with summed token log-probabilities.

    Raises:
        ValueError: a tensor with another shape than (B,).

    Example:
        >>> log_ratios(torch.tensor([-10.0]), torch.tensor([-11.5]))
        tensor([1.5000])
    """
    check_per_example(policy=policy, reference=reference)
    return policy - reference


def dpo_loss(chosen: Tensor, rejected: Tensor, *, beta: float | Tensor, label_smoothing: float = 0.0) -> PairLoss:
    """Sigmoid DPO loss.

    -log sigmoid(beta (h_w - h_l)) (Rafailov et al. 2023, equation 7). With label smoothing e, the
    probability that a pair is the wrong way round, it is -(1 - e) log sigmoid(m) - e log sigmoid(-m)
    with m the margin (Mitchell 2023, conservative DPO).

    Args:
        chosen: log-ratios h_w of the chosen answers, (B,).
        rejected: log-ratios h_l of the rejected answers, (B,).
        beta: strength of the tie to the reference, > 0; one for all, or one for each pair, (B,), as
            `reward_scaled_beta` makes them.
        label_smoothing: e, in [0, 0.5).

    Raises:
        ValueError: a tensor with another shape than (B,), or a setting out of range.

    Example:
        >>> dpo_loss(torch.tensor([0.0]), torch.tensor([0.0]), beta=0.1).losses  # log 2
        tensor([0.6931])
    """
    check_per_example(chosen=chosen, rejected=rejected, **({"beta": beta} if isinstance(beta, Tensor) else {}))
    if not isinstance(beta, Tensor):
        check_positive(beta=beta)
    check_share(0.5, label_smoothing=label_smoothing)
    win, lose = beta * chosen, beta * rejected
    margin = win - lose
    losses = -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)
    return PairLoss.of(losses, win, lose)


def robust_dpo_loss(chosen: Tensor, rejected: Tensor, *, beta: float, flip_rate: float) -> PairLoss:
    """DPO whose expectation under flipped labels is the DPO loss of the true ones.

    (-(1 - e) log sigmoid(m) + e log sigmoid(-m)) / (1 - 2 e), m = beta (h_w - h_l) (Chowdhury et al. 2024,
    arXiv:2403.00409). Unlike label smoothing it is unbiased; it is not bounded below.

    Args:
        chosen: h_w, (B,).
        rejected: h_l, (B,).
        beta: as in `dpo_loss`.
        flip_rate: e, the share of pairs that are the wrong way round, in [0, 0.5).

    Raises:
        ValueError: as for `dpo_loss`.

    Example:
        >>> robust_dpo_loss(torch.tensor([0.0]), torch.tensor([0.0]), beta=0.1, flip_rate=0.2).losses  # log 2
        tensor([0.6931])
    """
    check_share(0.5, flip_rate=flip_rate)
    plain = dpo_loss(chosen, rejected, beta=beta)
    flipped = dpo_loss(rejected, chosen, beta=beta)
    losses = ((1 - flip_rate) * plain.losses - flip_rate * flipped.losses) / (1 - 2 * flip_rate)
    return plain._replace(losses=losses)


def dpo_positive_loss(chosen: Tensor, rejected: Tensor, *, beta: float, penalty: float) -> PairLoss:
    """DPO that punishes a chosen answer that becomes less likely than under the reference.

    -log sigmoid(beta (h_w - h_l - lambda max(0, -h_w))) (DPOP, Pal et al. 2024, arXiv:2402.13228). Plain DPO may
    lower both answers as long as the rejected one falls faster.

    Args:
        chosen: h_w, (B,).
        rejected: h_l, (B,).
        beta: as in `dpo_loss`.
        penalty: lambda, >= 0; the paper has 5 to 500.

    Raises:
        ValueError: as for `dpo_loss`.

    Example:
        >>> fallen = torch.tensor([-1.0])
        >>> dpo_positive_loss(fallen, fallen, beta=1.0, penalty=2.0).losses  # -log sigmoid(-2)
        tensor([2.1269])
    """
    check_positive(or_zero=True, penalty=penalty)
    plain = dpo_loss(chosen, rejected, beta=beta)
    return plain._replace(losses=-logsigmoid(beta * (chosen - rejected - penalty * relu(-chosen))))


def length_controlled_dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float,
    alpha: float,
) -> PairLoss:
    """DPO for a reward from which alpha per token is taken off.

    -log sigmoid(beta (h_w - h_l) + alpha (|y_w| - |y_l|)) (Park et al. 2024, arXiv:2403.19159; the LC-DPO of
    CheXalign, Hein et al. 2024, arXiv:2410.07025, with alpha 0.05). The part of a preference that length
    explains is not learned: a longer chosen answer has its margin already.

    Args:
        chosen: h_w, (B,).
        rejected: h_l, (B,).
        chosen_lengths: |y_w|, tokens of the chosen answers, (B,).
        rejected_lengths: |y_l|, (B,).
        beta: as in `dpo_loss`.
        alpha: >= 0.

    Raises:
        ValueError: as for `dpo_loss`.

    Example:
        >>> zero, long, short = torch.tensor([0.0]), torch.tensor([60]), torch.tensor([40])
        >>> length_controlled_dpo_loss(zero, zero, long, short, beta=0.1, alpha=0.05).losses  # -log sigmoid(1)
        tensor([0.3133])
    """
    check_per_example(
        chosen=chosen, rejected=rejected, chosen_lengths=chosen_lengths, rejected_lengths=rejected_lengths
    )
    check_positive(or_zero=True, alpha=alpha)
    plain = dpo_loss(chosen, rejected, beta=beta)
    return plain._replace(
        losses=-logsigmoid(beta * (chosen - rejected) + alpha * (chosen_lengths - rejected_lengths))
    )


def flex_dpo_loss(chosen: Tensor, rejected: Tensor, *, beta_chosen: float, beta_rejected: float) -> PairLoss:
    """DPO that pushes the rejected answer down more gently than it pulls the chosen one up.

    -log sigmoid(beta+ h_w - beta- h_l), beta- < beta+ (Flex-DPO; Yan et al. 2024, 3D-properties,
    arXiv:2406.07327). The gradient on the rejected answer's probability grows as that falls, which drags unseen
    answers with it; a smaller beta- slows that. Add the chosen answer's token loss for the paper's second remedy.

    Args:
        chosen: h_w, (B,).
        rejected: h_l, (B,).
        beta_chosen: beta+, > 0.
        beta_rejected: beta-, > 0; equal to beta+ it is DPO.

    Raises:
        ValueError: as for `dpo_loss`, or beta- above beta+.

    Example:
        >>> h = torch.tensor([1.0])
        >>> flex_dpo_loss(h, -h, beta_chosen=0.2, beta_rejected=0.1).margins
        tensor([0.3000])
    """
    check_per_example(chosen=chosen, rejected=rejected)
    check_positive(beta_chosen=beta_chosen, beta_rejected=beta_rejected)
    if beta_rejected > beta_chosen:
        raise ValueError(
            f"beta_rejected is {beta_rejected}, expected at most beta_chosen, {beta_chosen}: the rejected "
            "answer is to be pushed more gently."
        )
    win, lose = beta_chosen * chosen, beta_rejected * rejected
    return PairLoss.of(-logsigmoid(win - lose), win, lose)


def vpo_loss(
    chosen: Tensor, rejected: Tensor, calibration: Tensor, *, beta: float, alpha: float, online: bool = False
) -> PairLoss:
    """Value-incentivised preference optimisation: DPO with optimism online and pessimism offline.

    -log sigmoid(beta (h_w - h_l)) + s alpha beta h(y), y from a calibration policy, s = +1 online and -1
    offline (Cen et al. 2024, arXiv:2405.19320). Offline the term raises what the calibration policy says, like
    SFT.

    Args:
        chosen: h_w, (B,).
        rejected: h_l, (B,).
        calibration: h of one answer of the calibration policy per pair, (B,); the paper takes the chosen
            answers offline.
        beta: as in `dpo_loss`.
        alpha: weight of the term, >= 0.
        online: whether the pairs were sampled from the policy as it is.

    Raises:
        ValueError: as for `dpo_loss`.

    Example:
        >>> h = torch.tensor([2.0])
        >>> vpo_loss(h, h, h, beta=0.1, alpha=1.0).losses  # log 2 - 0.2
        tensor([0.4931])
    """
    check_per_example(chosen=chosen, rejected=rejected, calibration=calibration)
    check_positive(or_zero=True, alpha=alpha)
    plain = dpo_loss(chosen, rejected, beta=beta)
    sign = 1 if online else -1
    return plain._replace(losses=plain.losses + sign * alpha * beta * calibration)


def reward_scaled_beta(margins: Tensor, *, beta: float, weight: float = 0.5, rate: float = 0.5) -> Tensor:
    """MM-DPO's dynamic reward scaling: a beta for each pair that grows with the judge's margin, (B,).

    beta (1 + w (1 - exp(-k d))), d the margin, not below 0, so in [beta, (1 + w) beta] (MM-RLHF, Zhang
    et al. 2025, arXiv:2502.10391; w = k = 0.5). A pair that the judge is surer of is learned harder.

    Args:
        margins: d, difference of the judge's rewards, (B,).
        beta: of a pair without margin, > 0.
        weight: w, >= 0.
        rate: k, > 0.

    Raises:
        ValueError: another shape, a setting out of range, or a margin that is no number: MM-DPO is not
            defined for pairs without margin.

    Example:
        >>> reward_scaled_beta(torch.tensor([0.0, 2.0]), beta=0.1)
        tensor([0.1000, 0.1316])
    """
    check_per_example(margins=margins)
    check_positive(beta=beta, rate=rate)
    check_positive(or_zero=True, weight=weight)
    missing = (~torch.isfinite(margins)).nonzero().flatten().tolist()
    if missing:
        raise ValueError(f"margins {missing} are not finite: reward scaling needs the margin of every pair.")
    return beta * (1 + weight * (1 - torch.exp(-rate * margins.clamp(min=0))))
