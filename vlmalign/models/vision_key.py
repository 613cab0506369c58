"""What the features of an image depend on, as one hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlmalign.models.loading import backbone_of, unwrap


def vision_key(model: nn.Module, images: Mapping[str, Tensor]) -> str:
    """Hash of all parameters and buffers that `get_image_features` reaches, of their types, and of the config.

    Parameters are found by following the graph of one call from its result back, so that none is missed that
    a family keeps outside of its tower (LLaVA-NeXT's `image_newline`); buffers are those of the modules that
    the call ran through.

    Args:
        model: possibly wrapped.
        images: what the call takes, for one row.

    Raises:
        ValueError: one of the parameters is trained.
    """
    return key_of(model, vision_tensors(model, images))


def key_of(model: nn.Module, reached: Mapping[str, Tensor]) -> str:
    """The same from the tensors that the call reaches."""
    trained = [name for name, value in reached.items() if value.requires_grad]
    if trained:
        raise ValueError(
            f"{len(trained)} parameters of the vision side are trained, e.g. {trained[0]!r}: features change "
            "with every step. Freeze vision and projector, or use no feature cache."
        )
    config = unwrap(model).config
    digest = hashlib.sha256(str(config.model_type).encode())
    digest.update(config.vision_config.to_json_string(use_diff=False).encode())
    for name in (
        "vision_feature_layer",
        "vision_feature_select_strategy",
        "image_grid_pinpoints",
        "downsample_ratio",
    ):
        digest.update(f"{name}={getattr(config, name, None)}".encode())
    for name, value in sorted(reached.items()):
        digest.update(name.encode())
        digest.update(tensor_digest({"value": value}, str(value.dtype)).encode())
    return digest.hexdigest()[:32]


def vision_tensors(model: nn.Module, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters and buffers of the backbone that `get_image_features` reaches, by name."""
    return dict(_reached(model, images))


def _reached(model: nn.Module, images: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    backbone = backbone_of(model)
    parameters = dict(backbone.named_parameters())
    flags = {name: parameter.requires_grad for name, parameter in parameters.items()}
    modules: set[nn.Module] = set()
    hooks = [m.register_forward_pre_hook(lambda module, _: modules.add(module)) for m in backbone.modules()]
    training = backbone.training
    backbone.eval()
    try:
        for parameter in parameters.values():
            parameter.requires_grad_(parameter.is_floating_point())
        with torch.enable_grad():
            output = backbone.get_image_features(**images, return_dict=True)
        leaves = _leaves(_tensors(output))
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(flags[name])
        for hook in hooks:
            hook.remove()
        backbone.train(training)
    yield from ((name, parameter) for name, parameter in parameters.items() if id(parameter) in leaves)
    for name, buffer in backbone.named_buffers():
        owner = backbone.get_submodule(name.rpartition(".")[0])
        if owner in modules:
            yield name, buffer


def _leaves(tensors: Sequence[Tensor]) -> set[int]:
    """Ids of the parameters that results were computed from."""
    waiting = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    seen, found = set(waiting), set()
    while waiting:
        node = waiting.pop()
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return found


def tensor_digest(tensors: Mapping[str, Tensor], *more: str) -> str:
    """Hash of named tensors, their types and shapes, and of further texts."""
    digest = hashlib.sha256("\0".join(more).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    values = (
        output.values() if isinstance(output, Mapping) else output if isinstance(output, (list, tuple)) else ()
    )
    return [tensor for value in values for tensor in _tensors(value)]
