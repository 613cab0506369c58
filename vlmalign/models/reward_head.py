"""What a reward model makes of an answer's hidden states: one number, several members' numbers, or a doubt too."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["linear", "mlp"]
Pooling = Literal["last", "mean"]
Outputs = Literal["score", "gaussian", "evidence"]
_WIDTH: dict[Outputs, int] = {"score": 1, "gaussian": 2, "evidence": 2}


@dataclass(frozen=True)
class HeadSettings:
    """How a reward is read.

    Attributes:
        kind: `linear`, or `mlp`: two layers with SiLU between, which beat the linear one in BaseReward (76.5
            against 71.2 on VL-RewardBench).
        pooling: `last`: the state at the answer's last real token, which has seen all before it; `mean`: the mean
            over the answer's tokens (IXC-2.5-Reward averages over all tokens; the prompt's are left out here).
        outputs: `score`; `gaussian`: mean and log-variance; `evidence`: evidence for and against (see
            `vlmalign.losses.uncertain_rewards`).
        members: K heads of their own initialisation, read from the same states.
        dropout: on what each layer of the head reads.
        seed: of the members' weights. Fixed by default, so that two runs differ by their data's order alone.

    Raises:
        ValueError: an unknown word, no member, or a dropout outside [0, 1).
    """

    kind: Kind = "linear"
    pooling: Pooling = "last"
    outputs: Outputs = "score"
    members: int = 1
    dropout: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("kind", ("linear", "mlp")), ("pooling", ("last", "mean")), ("outputs", _WIDTH)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, expected one of {sorted(known)}: correct it."
                )
        if self.members < 1:
            raise ValueError(f"members is {self.members}, expected 1 or more: a head has one member at least.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected [0, 1): with 1 nothing would be left.")

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


class RewardHead(nn.Module):
    """K heads on pooled states.

    Args:
        width: of a state, H.
        settings: how the reward is read.

    Example:
        >>> head = RewardHead(8, HeadSettings(kind="mlp", members=3, outputs="gaussian"))
        >>> head(torch.zeros(5, 8)).shape  # (N, K, O)
        torch.Size([5, 3, 2])
    """

    def __init__(self, width: int, settings: HeadSettings) -> None:
        super().__init__()
        self.width, self.settings = width, settings
        generator = torch.Generator().manual_seed(settings.seed)
        members, outputs = settings.members, _WIDTH[settings.outputs]

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) / (shape[-1] + 1) ** 0.5)

        if settings.kind == "mlp":
            self.inner = weights(members, width, width)
            self.inner_bias = nn.Parameter(torch.zeros(members, width))
        self.weight = weights(members, outputs, width)
        self.bias = nn.Parameter(torch.zeros(members, outputs))
        if settings.outputs == "gaussian":
            with torch.no_grad():
                self.bias[:, 1] = -2.0  # begins fairly sure: a variance of 0.14 beside the logistic's 3.3

    def features(self, states: Tensor, masks: DropoutMasks | None = None) -> Tensor:
        """What the last layer reads.

        Args:
            states: (N, H), shared by the members, or (K, N, H), one for each.
            masks: fixed dropout masks; None: dropout as in training, or none in evaluation.

        Returns:
            (K, N, H).
        """
        members = self.settings.members
        if states.ndim == 2:
            states = states.expand(members, *states.shape)
        states = self._drop(states.float(), masks.first if masks else None)
        if self.settings.kind == "linear":
            return states
        with single_precision(states):
            inner = torch.einsum("knh,kfh->knf", states, self.inner) + self.inner_bias[:, None]
        return self._drop(nn.functional.silu(inner), masks.second if masks else None)

    def read(self, features: Tensor) -> Tensor:
        """The last layer: features (K, N, H) -> (N, K, O)."""
        with single_precision(features):
            return torch.einsum("knf,kof->nko", features, self.weight) + self.bias

    def forward(self, states: Tensor, masks: DropoutMasks | None = None) -> Tensor:
        """Outputs of states (N, H) or (K, N, H): (N, K, O) float32."""
        return self.read(self.features(states, masks))

    def draw_masks(self, seed: int) -> DropoutMasks:
        """Dropout masks for one member-wide draw, the same for every answer.

        Raises:
            ValueError: the head was trained without dropout.
        """
        keep = 1 - self.settings.dropout
        if keep == 1:
            raise ValueError("the head has dropout 0, so every draw is the same: train one with head.dropout.")
        generator = torch.Generator().manual_seed(seed)

        def draw() -> Tensor:
            mask = torch.rand(self.settings.members, 1, self.width, generator=generator) < keep
            return (mask / keep).to(self.weight.device)

        return DropoutMasks(draw(), draw())

    def _drop(self, states: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            return states * mask
        return nn.functional.dropout(states, self.settings.dropout, self.training)


def single_precision(like: Tensor) -> torch.autocast:
    """No mixed precision on this tensor's device: bfloat16 keeps three digits, and two rewards may differ by less.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16), single_precision(torch.zeros(1)):
        ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
        torch.float32
    """
    return torch.autocast(like.device.type, enabled=False)


@dataclass(frozen=True)
class DropoutMasks:
    """Masks of both layers, (K, 1, H) each, scaled."""

    first: Tensor
    second: Tensor


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """States of the responses as one state each.

    Args:
        hidden: final hidden states (N, T, H).
        mask: which tokens are real, (N, T) bool, padded on the right.
        pooling: see `HeadSettings`.

    Example:
        >>> hidden = torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> mask = torch.tensor([[True, True, False]])
        >>> pool(hidden, mask, "last").item(), pool(hidden, mask, "mean").item()
        (3.0, 2.0)
    """
    if pooling == "last":
        last = mask.sum(1) - 1  # from the mask: column -1 is padding for all but the longest
        return hidden[torch.arange(len(hidden), device=last.device), last]
    real = mask[..., None]
    return (hidden.float() * real).sum(1) / real.sum(1)  # bfloat16 could not even count beyond 256 tokens
