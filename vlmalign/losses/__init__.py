"""Losses: pure functions of tensors that know no model, per-example values out."""

from vlmalign.losses.dpo import (
    PairLoss,
    dpo_loss,
    dpo_positive_loss,
    flex_dpo_loss,
    length_controlled_dpo_loss,
    log_ratios,
    reward_scaled_beta,
    robust_dpo_loss,
    vpo_loss,
)
from vlmalign.losses.kto import kto_loss
from vlmalign.losses.margin_losses import hinge_loss, ipo_loss
from vlmalign.losses.outcome import outcome_loss
from vlmalign.losses.ranking import plackett_luce_loss, ranked_pairs
from vlmalign.losses.reference_free import cpo_loss, orpo_loss, simpo_loss
from vlmalign.losses.reward import bradley_terry_loss
from vlmalign.losses.sft import sft_loss

__all__ = [
    "PairLoss",
    "bradley_terry_loss",
    "cpo_loss",
    "dpo_loss",
    "dpo_positive_loss",
    "flex_dpo_loss",
    "hinge_loss",
    "ipo_loss",
    "kto_loss",
    "length_controlled_dpo_loss",
    "log_ratios",
    "orpo_loss",
    "outcome_loss",
    "plackett_luce_loss",
    "ranked_pairs",
    "reward_scaled_beta",
    "robust_dpo_loss",
    "sft_loss",
    "simpo_loss",
    "vpo_loss",
]
