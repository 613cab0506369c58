"""Packing a prompt and all its responses into one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlmalign.models.batch import PromptBatch
from vlmalign.models.family import PromptLayout, token_type_of_responses
from vlmalign.models.images import PER_TOKEN


@dataclass(frozen=True)
class PackedRows:
    """B rows of L columns: the prompt (P columns), then one slot of columns per response.

    Attributes:
        inputs: what the model is called with.
        keep: columns whose logits are needed, the same in all rows, (Q,).
        columns: where each response token stands, (N, T); 0 where it is padding.
        predicted_at: index into `keep` of the column that predicts it, (N, T); 0 where it is padding.
    """

    inputs: dict[str, Any]
    keep: Tensor
    columns: Tensor
    predicted_at: Tensor


def packed_width(batch: PromptBatch) -> int:
    """Columns of a packed row: those of the prompts, and for each rank the longest response of that rank."""
    return batch.prompts["input_ids"].shape[1] + int(_slot_widths(batch).sum())


def _slot_widths(batch: PromptBatch) -> Tensor:
    widths = torch.zeros(int(batch.slots.max()) + 1, dtype=torch.long, device=batch.response_ids.device)
    return widths.scatter_reduce(0, batch.slots, batch.response_mask.sum(1), "amax")


def pack_rows(model: nn.Module, layout: PromptLayout, batch: PromptBatch) -> PackedRows:
    """Lay out each prompt with its responses, and the mask that keeps the responses apart.

    Responses see the prompt and themselves, never each other; each response's positions continue the
    prompt's. Slot s is as wide as the longest response of rank s, so all rows share their columns.

    Args:
        model: decides the mask's form and type.
        layout: the prompts.
        batch: their responses.
    """
    ids, real, index, slots = batch.response_ids, batch.response_mask, batch.prompt_index, batch.slots
    device, rows = ids.device, batch.n_prompts
    widths = _slot_widths(batch)
    starts = layout.width + widths.cumsum(0) - widths
    total = layout.width + int(widths.sum())
    token = torch.arange(ids.shape[1], device=device)
    columns = torch.where(real, starts[slots][:, None] + token, 0)

    row = index[:, None].expand_as(ids)[real]
    column = columns[real]
    tokens = _widen(layout.inputs["input_ids"], total, 0)
    tokens[row, column] = ids[real].to(tokens.dtype)
    seen = _widen(layout.inputs["attention_mask"].bool(), total, False)
    seen[row, column] = True

    slot_of = torch.repeat_interleave(torch.arange(len(widths), device=device), widths)
    offset = torch.arange(layout.width, total, device=device) - starts[slot_of]
    positions = torch.cat([layout.positions, layout.response_positions(offset.expand(rows, -1))], -1)

    types = {
        name: _widen(value, total, token_type_of_responses(model, name))
        for name, value in layout.inputs.items()
        if name in PER_TOKEN[2:]
    }
    block = torch.cat([torch.zeros(layout.width, dtype=torch.long, device=device), slot_of + 1])
    place = torch.cat([torch.arange(layout.width, device=device), layout.width + offset])
    mask = _mask(model, layout, block, seen, place)
    images = {name: value for name, value in layout.inputs.items() if name not in PER_TOKEN}
    inputs = {"input_ids": tokens, "attention_mask": mask, "position_ids": positions, **types, **images}

    # The prompt's last column predicts every response's first token; a token's own column the next one.
    keep = torch.arange(layout.width - 1, total, device=device)
    predicted_at = torch.where(real & (token > 0), columns - layout.width, 0)
    return PackedRows(inputs, keep, columns, predicted_at)


def _widen(value: Tensor, total: int, fill: int | bool) -> Tensor:
    return torch.nn.functional.pad(value, (0, total - value.shape[1]), value=fill)


def _mask(model: nn.Module, layout: PromptLayout, block: Tensor, seen: Tensor, place: Tensor) -> Any:
    """Additive mask (B, 1, L, L): 0 where column q may look at column k, the lowest number elsewhere.

    `place` is the column that a token would have in a row of its response alone, (L,): windows count these, and
    not positions, of which an image has fewer under M-RoPE.
    """
    total, width = block.shape[0], layout.width
    causal = torch.ones(total, total, dtype=torch.bool, device=block.device).tril()
    same = (block[None, :] == 0) | (block[:, None] == block[None, :])
    ok = (causal & same)[None] & seen[:, None, :]
    if layout.both_ways is not None:
        ok[:, :width, :width] |= layout.both_ways & seen[:, None, :width]
    itself = torch.eye(total, dtype=torch.bool, device=block.device)  # padding must look at something
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    mask = _additive(ok | itself, dtype)
    if layout.window is None:
        return mask
    near = (place[:, None] - place[None, :] < layout.window).expand_as(ok).clone()
    if layout.both_ways is not None:
        near[:, :width, :width] |= layout.both_ways
    windowed = _additive(ok & near | itself, dtype)
    return windowed if layout.window_everywhere else {"full_attention": mask, "sliding_attention": windowed}


def _additive(ok: Tensor, dtype: torch.dtype) -> Tensor:
    mask = torch.zeros(ok.shape, dtype=dtype, device=ok.device)
    return mask.masked_fill_(~ok, torch.finfo(dtype).min)[:, None]
