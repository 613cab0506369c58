"""Arithmetic of a forward, of a training step and of sampling, from shapes alone.

A multiplication and an addition count 2. A linear layer with W weights costs `2 W` per token; attention
costs `4 D` per pair of query and key (scores and weighted sum; D = heads x head width), whole rows, because a
kernel with a block mask computes masked pairs too. Backward, a layer costs as much again for the gradient of its
input, where anything below it is trained, and as much again for that of its weights, where those are; attention
costs twice its forward. Norms, activations, embeddings' look-ups and the optimiser are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vlmalign.models.batch import PromptBatch
from vlmalign.models.family import image_token_id, model_type
from vlmalign.models.forward import Mode
from vlmalign.models.loading import backbone_of, language_model_of, unwrap
from vlmalign.models.sharding import size_of


@dataclass(frozen=True)
class _Part:
    """Weights that every token of a part meets, how many of them are trained, and its attention."""

    weights: int
    trained: int
    any_trained: bool
    attention: int  # D summed over layers

    def forward(self, tokens: float, pairs: float) -> float:
        return 2 * self.weights * tokens + 4 * self.attention * pairs

    def backward(self, tokens: float, pairs: float, *, below: bool) -> float:
        """`below`: whether something that feeds this part is trained."""
        if not (below or self.any_trained):
            return 0.0
        return 2 * (self.weights + self.trained) * tokens + 8 * self.attention * pairs


def batch_flops(model: nn.Module, batch: PromptBatch, *, training: bool, mode: Mode = "packed") -> float:
    """Floating-point operations of one `forward_responses` (and its backward pass).

    Args:
        model: decides widths, depths and what is trained.
        batch: decides the numbers of tokens, padding included, as it is computed with too.
        training: whether to add the backward pass.
        mode: which rows are run.

    Example:
        >>> import torch
        >>> from vlmalign.models.tiny import build_tiny_llava
        >>> vlm = build_tiny_llava(["a b"], image_size=24, hidden=16, layers=1, vision_hidden=16,
        ...                        vision_layers=1, heads=2)
        >>> prompts = {"input_ids": torch.tensor([[1, 3, 3, 3, 3, 6]]), "attention_mask": torch.ones(1, 6).long(),
        ...            "pixel_values": torch.zeros(1, 3, 24, 24)}
        >>> ids = torch.tensor([[40, 41], [42, 2]])
        >>> batch = PromptBatch(prompts, ids, ids > 0, ids > 0, torch.tensor([0, 0]))
        >>> plain = batch_flops(vlm.model, batch, training=False, mode="plain")
        >>> batch_flops(vlm.model, batch, training=False) < plain
        True
    """
    rows, width = batch.prompts["input_ids"].shape
    responses, length = batch.response_ids.shape
    repeats = responses / rows if mode == "plain" else 1.0
    if mode == "plain":
        tokens, pairs = responses * (width + length), responses * (width + length) ** 2
        predicted = responses * length
    elif mode == "packed":
        slots = batch.slots
        longest = [int(batch.response_mask[slots == slot].sum(1).max()) for slot in range(int(slots.max()) + 1)]
        row = width + sum(longest)
        tokens, pairs, predicted = rows * row, rows * row**2, rows * (sum(longest) + 1)
    else:
        tokens = rows * width + responses * length
        pairs = rows * width**2 + responses * length * (width + length)
        predicted = rows + responses * length
    return _flops(model, batch.prompts, tokens, pairs, predicted, repeats, training)


def sampling_flops(model: nn.Module, prompts: dict[str, Tensor], *, samples: int, new_tokens: float) -> float:
    """Floating-point operations of sampling.

    Args:
        model: decides widths and depths.
        prompts: processor output for B prompts, each run once.
        samples: answers in all.
        new_tokens: mean length of an answer, in tokens.
    """
    rows, width = prompts["input_ids"].shape
    fed = samples * max(new_tokens - 1, 0)  # the last token of an answer is drawn, not fed
    tokens = rows * width + fed
    pairs = rows * width**2 + fed * (width + new_tokens / 2)
    return _flops(model, prompts, tokens, pairs, rows + fed, 1.0, False)


def _flops(
    model: nn.Module,
    prompts: dict[str, Tensor],
    tokens: float,
    pairs: float,
    predicted: float,
    repeats: float,
    training: bool,
) -> float:
    language: Any = language_model_of(model)
    text = _part(language, unwrap(model).config.get_text_config())
    total = text.forward(tokens, pairs)
    head = unwrap(model).get_output_embeddings()
    if head is not None:
        total += 2 * size_of(head.weight) * predicted * (2 + head.weight.requires_grad if training else 1)
    tower, projector = _vision_parts(model, language)
    feeds = False
    if "pixel_values" in prompts:
        counts = _vision_counts(model, prompts)
        placeholders = repeats * float((prompts["input_ids"] == image_token_id(model)).sum())
        patches, seen = repeats * counts[0], repeats * counts[1]
        total += tower.forward(patches, seen) + projector.forward(placeholders, 0)
        feeds = tower.any_trained or projector.any_trained
        if training:
            total += tower.backward(patches, seen, below=False)
            total += projector.backward(placeholders, 0, below=tower.any_trained)
    if training:
        embeddings = any(parameter.requires_grad for parameter in language.get_input_embeddings().parameters())
        total += text.backward(tokens, pairs, below=feeds or embeddings)
    return float(total)


def _part(module: nn.Module, config: object) -> _Part:
    linears = [m.weight for m in module.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.Conv3d))]
    layers = _first(config, "num_hidden_layers", "depth")
    heads = _first(config, "num_attention_heads", "num_heads")
    hidden = _first(config, "hidden_size", "embed_dim")
    if hasattr(config, "depth") and hasattr(config, "embed_dim"):
        hidden = config.embed_dim  # Qwen2-VL names the tower's output width hidden_size
    width = heads * (getattr(config, "head_dim", None) or hidden // heads)
    return _Part(
        weights=sum(map(size_of, linears)),
        trained=sum(size_of(weight) for weight in linears if weight.requires_grad),
        any_trained=any(parameter.requires_grad for parameter in module.parameters()),
        attention=layers * width,
    )


def _vision_parts(model: nn.Module, language: nn.Module) -> tuple[_Part, _Part]:
    """The tower, and whatever stands between it and the language model."""
    backbone = backbone_of(model)
    children = {name: child for name, child in backbone.named_children() if child is not language}
    towers = [name for name in ("vision_tower", "vision_model", "visual") if name in children]
    if not towers:
        raise ValueError(f"family {model_type(model)!r} has no known vision tower: its arithmetic is not counted.")
    tower = _part(children.pop(towers[0]), unwrap(model).config.vision_config)
    rest = nn.ModuleDict(children)
    weights = [m.weight for m in rest.modules() if isinstance(m, nn.Linear)]
    between = _Part(
        weights=sum(map(size_of, weights)),
        trained=sum(size_of(weight) for weight in weights if weight.requires_grad),
        any_trained=any(parameter.requires_grad for parameter in rest.parameters()),
        attention=0,
    )
    return tower, between


def _vision_counts(model: nn.Module, prompts: dict[str, Tensor]) -> tuple[float, float]:
    """Tokens inside the tower, and pairs of them that see each other."""
    if "image_grid_thw" in prompts:
        patches = prompts["image_grid_thw"].prod(1).double()
        return float(patches.sum()), float((patches**2).sum())
    pixels = prompts["pixel_values"]
    size = unwrap(model).config.vision_config.patch_size
    height, width = (size, size) if isinstance(size, int) else size
    images = pixels.flatten(0, -4).shape[0]
    each = (pixels.shape[-2] // height) * (pixels.shape[-1] // width) + 1  # one class token
    return float(images * each), float(images * each**2)


def _first(config: object, *names: str) -> int:
    for name in names:
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    raise ValueError(f"{type(config).__name__} has none of {names}: arithmetic is not counted for this family.")
