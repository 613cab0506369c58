"""A policy with a critic on the same backbone."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vlmalign.models.batch import PromptBatch
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.models.forward import forward_responses
from vlmalign.models.loading import unwrap
from vlmalign.models.reward_head import single_precision


class ActorCriticOutput(NamedTuple):
    """What a forward gives for each response token.

    Attributes:
        logps: log-probability of the token, (N, T) float32; 0 where not real.
        values: the critic's value of the state that the token was chosen in, (N, T) float32; 0 where not real;
            None without a critic.
    """

    logps: Tensor
    values: Tensor | None


class ActorCritic(nn.Module):
    """A vision-language model, and a linear critic that reads its final hidden states.

    The value of a state is read where its next token is predicted, so it does not know that token. The critic
    begins at 0 everywhere.

    Args:
        policy: a Hugging Face image-text model, possibly with adapters; used as it is, not copied.
        critic: whether there is one.
        detach: keep the critic's gradient out of the backbone.

    Example:
        >>> from vlmalign.models.tiny import build_tiny_llava
        >>> vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16,
        ...                        vision_layers=1, heads=2)
        >>> prompts = {"input_ids": torch.tensor([[1, 3, 3, 3, 3, 6]]), "attention_mask": torch.ones(1, 6).long(),
        ...            "pixel_values": torch.zeros(1, 3, 24, 24)}
        >>> ids = torch.tensor([[40, 41], [42, 2]])
        >>> batch = PromptBatch(prompts, ids, ids > 0, ids > 0, torch.tensor([0, 0]))
        >>> ActorCritic(vlm.model)(batch).values.tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self, policy: nn.Module, *, critic: bool = True, detach: bool = False) -> None:
        super().__init__()
        self.policy: Any = policy
        self.detach = detach
        self.critic: nn.Linear | None = None
        if critic:
            self.critic = nn.Linear(unwrap(policy).config.get_text_config().hidden_size, 1)
            nn.init.zeros_(self.critic.weight)
            nn.init.zeros_(self.critic.bias)
            self.critic.to(next(policy.parameters()).device)

    def forward(
        self,
        batch: PromptBatch,
        *,
        features: FeatureCache | None = None,
        temperature: float = 1.0,
        without_adapters: bool = False,
    ) -> ActorCriticOutput:
        """Log-probabilities and values of the responses.

        Args:
            batch: B prompts with N responses.
            features: see `forward_responses`.
            temperature: see `forward_responses`.
            without_adapters: switch LoRA off: the policy that fresh adapters began as; no values then.
        """
        wants_values = self.critic is not None and not without_adapters
        with self.policy.disable_adapter() if without_adapters else nullcontext():
            output = forward_responses(
                self.policy, batch, hidden=wants_values, features=features, temperature=temperature
            )
        assert output.logps is not None
        if not wants_values:
            return ActorCriticOutput(output.logps, None)
        assert output.before is not None and self.critic is not None
        states = output.before.detach() if self.detach else output.before
        with single_precision(states):
            values = self.critic(states.float())[..., 0]
        return ActorCriticOutput(output.logps, torch.where(batch.response_mask, values, 0.0))
