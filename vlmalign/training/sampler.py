"""Which sampler a run uses."""

from __future__ import annotations

import torch

from vlmalign.models import VLM, FeatureCache
from vlmalign.training.ppo_config import PpoConfig
from vlmalign.training.rollouts import LocalSampler, Sampler
from vlmalign.training.vllm_rollouts import VllmSampler, check_vllm


def check_rollouts(config: PpoConfig) -> None:
    """Refuse a sampler that cannot run here, before anything is loaded; see `check_vllm`."""
    if config.rollouts == "vllm":
        check_vllm()


def policy_sampler(
    config: PpoConfig, vlm: VLM, device: torch.device, features: FeatureCache | None = None
) -> Sampler:
    """The sampler that `rollouts` names.

    Args:
        config: settings.
        vlm: the policy.
        device: of the model.
        features: see `sample_responses`.
    """
    return VllmSampler(config, vlm) if config.rollouts == "vllm" else LocalSampler(vlm, device, features)
