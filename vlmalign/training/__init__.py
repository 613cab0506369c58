"""Training: supervised fine-tuning, reward models, preference optimisation offline and online."""

from vlmalign.training.config import (
    DpoConfig,
    Lora,
    SftConfig,
    StageConfig,
    make_config,
)
from vlmalign.training.critique import train_critique
from vlmalign.training.critique_config import CritiqueConfig
from vlmalign.training.dpo import train_dpo
from vlmalign.training.mixture import train_mixture
from vlmalign.training.mixture_config import MixtureConfig
from vlmalign.training.ppo import train_ppo
from vlmalign.training.ppo_config import PpoConfig
from vlmalign.training.reward import train_reward
from vlmalign.training.reward_config import RewardConfig
from vlmalign.training.runs import RunFolder
from vlmalign.training.sft import train_sft
from vlmalign.training.tower import TowerConfig, pretrain_tower

__all__ = [
    "CritiqueConfig",
    "DpoConfig",
    "Lora",
    "MixtureConfig",
    "PpoConfig",
    "RewardConfig",
    "RunFolder",
    "SftConfig",
    "StageConfig",
    "TowerConfig",
    "make_config",
    "pretrain_tower",
    "train_critique",
    "train_dpo",
    "train_mixture",
    "train_ppo",
    "train_reward",
    "train_sft",
]
