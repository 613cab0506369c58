"""Losses: pure functions of tensors that know no model, per-example values out."""

from vlmalign.losses.dpo import DpoLoss, dpo_loss
from vlmalign.losses.reward import RewardLoss, bradley_terry_loss
from vlmalign.losses.sft import SftLoss, sft_loss

__all__ = ["DpoLoss", "RewardLoss", "SftLoss", "bradley_terry_loss", "dpo_loss", "sft_loss"]
