"""K members' low-rank adapters on one backbone: a batch holds each row once for every member."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vlmalign.models.batch import PromptBatch
from vlmalign.models.images import select_prompts
from vlmalign.models.loading import language_model_of

_BASE = ".base_layer."


@dataclass(frozen=True)
class MemberLora:
    """Adapters of the members.

    Attributes:
        members: K.
        rank: inner width.
        alpha: the update is alpha / rank B_k A_k.
        targets: last parts of names of linear layers of the language model; None: all.
        seed: of the members' initial A_k; B_k begin at 0.
    """

    members: int
    rank: int = 8
    alpha: int = 16
    targets: tuple[str, ...] | None = None
    seed: int = 0


class MemberLinear(nn.Module):
    """A frozen linear layer with one low-rank update for each member.

    The first dimension of the input is K groups of rows, one for each member, in the order of the members.

    Example:
        >>> layer = MemberLinear(nn.Linear(4, 3), MemberLora(members=2, rank=1), torch.Generator())
        >>> layer(torch.zeros(6, 5, 4)).shape  # two members, three rows each
        torch.Size([6, 5, 3])
    """

    def __init__(self, base: nn.Linear, settings: MemberLora, generator: torch.Generator) -> None:
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        self.scale = settings.alpha / settings.rank
        shape = (settings.members, settings.rank, base.in_features)
        start = torch.randn(shape, generator=generator) / base.in_features**0.5
        self.member_a = nn.Parameter(start.to(base.weight.device))
        self.member_b = nn.Parameter(
            torch.zeros(settings.members, base.out_features, settings.rank, device=base.weight.device)
        )

    @property
    def weight(self) -> Tensor:
        """The shared weight; libraries ask for its type."""
        return self.base_layer.weight

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (K * R, ..., in) -> (K * R, ..., out)."""
        members = self.member_a.shape[0]
        if rows.shape[0] % members:
            raise ValueError(
                f"{rows.shape[0]} rows for {members} members, expected a multiple: repeat the batch by "
                "`for_members`."
            )
        grouped = rows.reshape(members, -1, rows.shape[-1]).to(self.member_a.dtype)
        update = grouped @ self.member_a.transpose(1, 2) @ self.member_b.transpose(1, 2)
        return self.base_layer(rows) + (self.scale * update).reshape(*rows.shape[:-1], -1).to(rows.dtype)


def add_member_lora(model: nn.Module, settings: MemberLora) -> None:
    """Adapt the linear layers of a language model for K members, in place; all else is frozen.

    Raises:
        ValueError: no linear layer has such a name.
    """
    model.requires_grad_(False)
    inside = language_model_of(model)
    generator = torch.Generator().manual_seed(settings.seed)
    names = [
        name
        for name, module in inside.named_modules()
        if isinstance(module, nn.Linear)
        and (settings.targets is None or name.rsplit(".", 1)[-1] in settings.targets)
        and not name.endswith("lm_head")
    ]
    if not names:
        raise ValueError(f"targets are {settings.targets}: no linear layer of the language model has such a name.")
    for name in names:
        parent_name, _, last = name.rpartition(".")
        parent = inside.get_submodule(parent_name)
        layer = getattr(parent, last)
        setattr(parent, last, MemberLinear(layer, settings, generator))


def for_members(model: nn.Module, batch: PromptBatch, members: int) -> PromptBatch:
    """The batch with every row once for each member, member by member.

    Images are repeated too; a feature cache computes each of them once.
    """
    index = torch.arange(batch.n_prompts, device=batch.prompt_index.device).repeat(members)
    offsets = torch.arange(members, device=batch.prompt_index.device).repeat_interleave(batch.n_responses)
    return replace(
        batch,
        prompts=select_prompts(model, batch.prompts, index),
        response_ids=batch.response_ids.repeat(members, 1),
        response_mask=batch.response_mask.repeat(members, 1),
        loss_mask=batch.loss_mask.repeat(members, 1),
        prompt_index=batch.prompt_index.repeat(members) + offsets * batch.n_prompts,
    )


def split_members(state: Iterator[tuple[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The backbone's own weights under the names they have without adapters, and the members' updates."""
    base: dict[str, Tensor] = {}
    members: dict[str, Tensor] = {}
    for name, value in state:
        if name.endswith((".member_a", ".member_b")):
            members[name] = value
        else:
            base[name.replace(_BASE, ".")] = value
    return base, members
