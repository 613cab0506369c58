"""Token-by-token decoding of many rows over one preallocated key-value cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from vlmalign.models.batch import PromptBatch
from vlmalign.models.family import PromptLayout, lay_out, model_type, placeholder_ids
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.models.forward import usable_modes
from vlmalign.models.images import images_per_prompt
from vlmalign.models.unlisted import known_modes


class PreallocatedLayer(DynamicLayer):
    """Keys and values of one layer in buffers that are filled in place.

    A growing cache copies itself whole at each token; a static one attends over its empty end.
    """

    def __init__(self, keys: Tensor, values: Tensor, rows: Tensor, capacity: int) -> None:
        super().__init__()
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self.filled = keys.shape[2]
        self._buffers = tuple(self._allocate(part, rows, capacity) for part in (keys, values))
        self._show()

    @staticmethod
    def _allocate(part: Tensor, rows: Tensor, capacity: int) -> Tensor:
        buffer = part.new_zeros(len(rows), part.shape[1], capacity, part.shape[3])
        buffer[:, :, : part.shape[2]] = part[rows]
        return buffer

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = (buffer[:, :, : self.filled] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values (rows, heads, T, H / heads), return all so far."""
        end = self.filled + key_states.shape[2]
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, self.filled : end] = new
        self.filled = end
        return self._show()

    def keep_rows(self, rows: Tensor) -> None:
        """Drop all rows but these (ascending)."""
        self._buffers = tuple(buffer[rows] for buffer in self._buffers)
        self._show()


class Decoder:
    """Rows being decoded: their cache, what they may look at, and the logits of their next token.

    Args:
        model: a Hugging Face image-text model.
        prompts: processor output for B prompts.
        index: which prompt each row starts from, (N,); a prompt is run once for all its rows.
        capacity: how many columns will be appended at most.
        features: where the features of images come from instead of the model's frozen vision tower.
    """

    def __init__(
        self,
        model: nn.Module,
        prompts: dict[str, Tensor],
        index: Tensor,
        capacity: int,
        *,
        features: FeatureCache | None = None,
    ) -> None:
        images_per_prompt(model, prompts)
        _check_cache(model, prompts)
        layout: PromptLayout = lay_out(model, prompts)
        inputs = layout.inputs if features is None else features.replace_images(layout.inputs)
        first = model(**inputs, position_ids=layout.positions, use_cache=True, logits_to_keep=1)
        self.model = model
        self.cache = _preallocate(first.cache, index, layout.width + capacity)
        self.logits: Tensor = first.logits[index, -1].float()  # (N, V)
        never = [token for token in placeholder_ids(model) if token < self.logits.shape[1]]
        self._never = torch.tensor(never, dtype=torch.long, device=index.device)
        self.next_position = layout.start[index]  # (N,)
        self._mrope = layout.positions.ndim == 3
        self._seen = torch.zeros(len(index), layout.width + capacity, dtype=torch.long, device=index.device)
        self._seen[:, : layout.width] = layout.inputs["attention_mask"][index]
        self._filled = layout.width

    def append(self, tokens: Tensor, real: Tensor | None = None) -> None:
        """Feed tokens; afterwards `logits` are those that follow each row's last real one.

        Args:
            tokens: (N, T).
            real: which are real, (N, T) bool, padded on the right; a row without any keeps its logits.
        """
        end = self._filled + tokens.shape[1]
        mask = torch.ones_like(tokens) if real is None else real.long()
        self._seen[:, self._filled : end] = mask
        count = mask.sum(1)
        positions = self.next_position[:, None] + torch.arange(tokens.shape[1], device=tokens.device)
        output = self.model(
            input_ids=tokens,
            attention_mask=self._seen[:, :end],
            position_ids=positions.expand(3, *positions.shape) if self._mrope else positions,
            cache=self.cache,
            use_cache=True,
            logits_to_keep=0 if tokens.shape[1] > 1 else 1,
        )
        row = torch.arange(len(tokens), device=tokens.device)
        new = output.logits[row, (count - 1).clamp(min=0)].float()
        self.logits = torch.where((count > 0)[:, None], new, self.logits)
        self.next_position = self.next_position + count
        self._filled = end

    def choices(self) -> Tensor:
        """Logits (N, V) to draw from: a placeholder of images is never said, for no image would follow."""
        return self.logits.index_fill(1, self._never, -torch.inf)

    def keep_rows(self, rows: Tensor) -> None:
        """Drop all rows but these (ascending)."""
        if isinstance(self.cache.layers[0], PreallocatedLayer):
            for layer in self.cache.layers:
                layer.keep_rows(rows)
        else:
            self.cache.batch_select_indices(rows)
        self.logits, self.next_position, self._seen = self.logits[rows], self.next_position[rows], self._seen[rows]


def _check_cache(model: nn.Module, prompts: dict[str, Tensor]) -> None:
    """Refuse a family that is not listed unless its cache gives the model's own numbers on these prompts."""
    if "cached" in known_modes(model):
        return
    last = prompts["attention_mask"].long().cumsum(1).argmax(1)  # of the real tokens, wherever the padding is
    ids = prompts["input_ids"].gather(1, last[:, None]).expand(-1, 3)  # any text shows it
    real = torch.ones_like(ids, dtype=torch.bool)
    batch = PromptBatch(prompts, ids, real, real, torch.arange(len(ids), device=ids.device))
    if "cached" not in usable_modes(model, batch):
        raise ValueError(
            f"family {model_type(model)!r} cannot answer from a key-value cache here (see the log): sample with "
            "another library, or use a listed family (`vlmalign models`)."
        )


def _preallocate(cache: Any, index: Tensor, capacity: int) -> Any:
    """The prompts' cache repeated for their rows, with room; other kinds of layer (sliding ...) stay growing."""
    if all(type(layer) is DynamicLayer for layer in cache.layers):
        return Cache(
            layers=[PreallocatedLayer(layer.keys, layer.values, index, capacity) for layer in cache.layers]
        )
    cache.batch_select_indices(index)
    return cache
