"""A batch of prompts, each with one or more responses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class PromptBatch:
    """B prompts (images included) and N responses, each response belonging to one prompt.

    Attributes:
        prompts: the processor's output for the B prompts: `input_ids` (B, P), `attention_mask` (B, P),
            padded on either side, and whatever else the model takes (`pixel_values` ...).
        response_ids: tokens of the responses, padded on the right, (N, T) integer.
        response_mask: which of them are real, (N, T) bool.
        loss_mask: which of the real ones the assistant said, (N, T) bool; user turns inside a
            conversation are real and not in the loss.
        prompt_index: which prompt a response belongs to, (N,) integer, ascending; each prompt has a response.

    Raises:
        ValueError: a shape, an order or a mask breaks the above.

    Example:
        >>> prompts = {"input_ids": torch.tensor([[5, 6], [0, 7]]),
        ...            "attention_mask": torch.tensor([[1, 1], [0, 1]])}
        >>> ids = torch.tensor([[8, 9], [8, 0], [4, 2]])
        >>> batch = PromptBatch(prompts, ids, ids > 0, ids > 0, torch.tensor([0, 0, 1]))
        >>> batch.n_prompts, batch.n_responses, batch.slots.tolist()
        (2, 3, [0, 1, 0])
    """

    prompts: dict[str, Tensor]
    response_ids: Tensor
    response_mask: Tensor
    loss_mask: Tensor
    prompt_index: Tensor

    def __post_init__(self) -> None:
        _check_prompts(self.prompts)
        _check_responses(self.response_ids, self.response_mask, self.loss_mask)
        _check_index(self.prompt_index, self.n_prompts, self.n_responses)

    @property
    def n_prompts(self) -> int:
        """B."""
        return self.prompts["input_ids"].shape[0]

    @property
    def n_responses(self) -> int:
        """N."""
        return self.response_ids.shape[0]

    @property
    def slots(self) -> Tensor:
        """Rank of each response among those of its prompt, (N,)."""
        counts = torch.bincount(self.prompt_index, minlength=self.n_prompts)
        first = counts.cumsum(0) - counts
        return torch.arange(self.n_responses, device=self.prompt_index.device) - first[self.prompt_index]

    def to(self, device: str | torch.device) -> PromptBatch:
        """The same batch on another device."""
        return replace(
            self,
            prompts={name: _to(value, device) for name, value in self.prompts.items()},
            **{name: _to(getattr(self, name), device) for name in _RESPONSE_FIELDS},
        )


_RESPONSE_FIELDS = ("response_ids", "response_mask", "loss_mask", "prompt_index")


def _to(value: Any, device: str | torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _check_prompts(prompts: dict[str, Tensor]) -> None:
    for name in ("input_ids", "attention_mask"):
        if name not in prompts:
            raise ValueError(f"prompts has no {name!r}, only {sorted(prompts)}: pass the whole output.")
    ids, mask = prompts["input_ids"], prompts["attention_mask"]
    if ids.ndim != 2 or mask.shape != ids.shape:
        raise ValueError(
            f"prompt input_ids has shape {tuple(ids.shape)} and attention_mask {tuple(mask.shape)}, expected the "
            "same (B, P) for both: call the processor with padding=True and return_tensors='pt'."
        )
    real = mask.bool()
    empty = (~real.any(1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"prompt rows {empty} have no real token, expected one at least: drop those rows.")
    holes = ((real[:, 1:] != real[:, :-1]).sum(1) + real[:, 0] + real[:, -1] > 2).nonzero().flatten().tolist()
    if holes:
        raise ValueError(
            f"prompt rows {holes} have padding between real tokens, expected it on one side: pad left or right."
        )


def _check_responses(ids: Tensor, real: Tensor, loss: Tensor) -> None:
    if ids.ndim != 2:
        raise ValueError(f"response_ids has shape {tuple(ids.shape)}, expected (N, T): pad and stack them.")
    for name, mask in (("response_mask", real), ("loss_mask", loss)):
        if mask.shape != ids.shape or mask.dtype != torch.bool:
            raise ValueError(
                f"{name} has shape {tuple(mask.shape)} and type {mask.dtype}, expected {tuple(ids.shape)} and "
                "torch.bool: build it from the same tokens."
            )
    if ids.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"response_ids has type {ids.dtype}, expected integers: convert with .long().")
    bad = (loss & ~real).any(1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"loss_mask marks padding in response rows {bad}, expected real tokens only: `&` both.")
    bad = (real[:, 1:] & ~real[:, :-1]).any(1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"response rows {bad} are not padded on the right: move their tokens to the left.")
    bad = (~real.any(1)).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"response rows {bad} have no real token, expected at least one: drop those rows.")


def _check_index(index: Tensor, n_prompts: int, n_responses: int) -> None:
    if index.shape != (n_responses,):
        raise ValueError(
            f"prompt_index has shape {tuple(index.shape)}, expected ({n_responses},): one entry per response."
        )
    if n_responses == 0 or index.min() < 0 or index.max() >= n_prompts:
        raise ValueError(
            f"prompt_index is {index.tolist()}, expected values in 0..{n_prompts - 1}, each once or more."
        )
    if (index[1:] < index[:-1]).any():
        raise ValueError(f"prompt_index is {index.tolist()}, expected ascending order: sort responses by prompt.")
    missing = sorted(set(range(n_prompts)) - set(index.tolist()))
    if missing:
        raise ValueError(f"prompts {missing} have no response: drop them, or they are encoded for nothing.")


def align_left(prompts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Move right padding to the left, so that every prompt ends in the last column.

    Images stay as they are: their order follows the rows, which do not move.

    Args:
        prompts: processor output; entries shaped like `input_ids` (B, P) are moved with it.

    Example:
        >>> p = {"input_ids": torch.tensor([[5, 0, 0]]), "attention_mask": torch.tensor([[1, 0, 0]])}
        >>> align_left(p)["input_ids"].tolist()
        [[0, 0, 5]]
    """
    mask = prompts["attention_mask"].bool()
    if bool(mask[:, -1].all()):
        return dict(prompts)
    width = mask.shape[1]
    trailing = width - (mask * torch.arange(1, width + 1, device=mask.device)).amax(1)
    source = torch.arange(width, device=mask.device) - trailing[:, None]
    source = source % width  # the padding that leaves on the right enters on the left
    return {
        name: value.gather(1, source) if value.shape == mask.shape else value for name, value in prompts.items()
    }
