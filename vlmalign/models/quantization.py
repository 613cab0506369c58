"""Four-bit weights of the language model, for training adapters on top of them (QLoRA, Dettmers et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import torch
from torch import Tensor, nn


def check_quantization() -> None:
    """Refuse four-bit weights where they cannot be had.

    Raises:
        ValueError: there is no CUDA device.
        ImportError: bitsandbytes is not installed.
    """
    if not torch.cuda.is_available():
        raise ValueError("lora.quantize needs a CUDA device and there is none: drop it, or run on a GPU.")
    if find_spec("bitsandbytes") is None:
        raise ImportError(
            "lora.quantize needs bitsandbytes, which is not installed: pip install 'vlmalign[gpu]', or drop it."
        )


def quantize_language(language: nn.Module, compute: torch.dtype) -> None:
    """Keep the weights of a language model's linear layers as 4-bit NormalFloats, quantised twice.

    Everything else keeps its precision: vision tower, projector, embeddings, norms and output layer. The weights
    are rounded when they are moved to the device.

    Args:
        language: the text decoder, on the CPU; changed in place.
        compute: what a layer computes in.
    """
    from bitsandbytes.nn import Linear4bit, Params4bit

    found = [(module, name, layer) for module in language.modules() for name, layer in module.named_children()]
    for module, name, layer in found:
        if not isinstance(layer, nn.Linear):
            continue
        small = Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=compute,
            quant_type="nf4",
            device="meta",
        )
        small.weight = Params4bit(
            layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True
        )
        small.bias = layer.bias
        setattr(module, name, small)


def dequantized_state(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A module's parameters and buffers by name; four-bit weights as the numbers that were computed with.

    Example:
        >>> [name for name, _ in dequantized_state(nn.Linear(2, 1))]
        ['weight', 'bias']
    """
    small = {f"{name}.weight": layer for name, layer in module.named_modules() if is_quantized(layer)}
    for key, value in module.state_dict(keep_vars=True).items():
        if key in small:
            from bitsandbytes.functional import dequantize_4bit

            yield key, dequantize_4bit(small[key].weight.data, small[key].weight.quant_state)
        elif not any(key.startswith(f"{name}.") for name in small):  # constants of the rounding
            yield key, value


def is_quantized(layer: nn.Module) -> bool:
    """Whether a layer's weights have four bits."""
    return getattr(getattr(layer, "weight", None), "quant_state", None) is not None
