"""Offline training: supervised fine-tuning, reward models, direct preference optimisation."""

from vlmalign.training.config import (
    DpoConfig,
    Lora,
    RewardConfig,
    SftConfig,
    StageConfig,
    make_config,
)
from vlmalign.training.dpo import train_dpo
from vlmalign.training.reward import train_reward
from vlmalign.training.runs import RunFolder
from vlmalign.training.sft import train_sft
from vlmalign.training.tower import TowerConfig, pretrain_tower

__all__ = [
    "DpoConfig",
    "Lora",
    "RewardConfig",
    "RunFolder",
    "SftConfig",
    "StageConfig",
    "TowerConfig",
    "make_config",
    "pretrain_tower",
    "train_dpo",
    "train_reward",
    "train_sft",
]
