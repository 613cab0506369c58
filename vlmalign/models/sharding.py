"""Weights that are spread over processes (FSDP2, DeepSpeed ZeRO-3): read whole, and written back in parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def is_main_process() -> bool:
    """Whether this process is the one that writes; true where there is one only.

    Example:
        >>> is_main_process()
        True
    """
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def whole(tensor: Tensor) -> Tensor:
    """A tensor with the parts of all processes, which must all call this in the same order.

    Example:
        >>> whole(torch.ones(2))
        tensor([1., 1.])
    """
    if isinstance(tensor, DTensor):
        return tensor.full_tensor().detach()
    if hasattr(tensor, "ds_id"):  # a parameter of ZeRO-3
        import deepspeed

        with deepspeed.zero.GatheredParameters([tensor]):
            return tensor.detach().clone()
    return tensor.detach()


def whole_tensors(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors read whole, on the CPU; empty but in the main process. Every process must call this.

    One tensor under two names stays one tensor.

    Args:
        tensors: name and tensor, in the same order in all processes.
    """
    kept: dict[str, Tensor] = {}
    known: dict[int, tuple[Tensor, Tensor]] = {}  # the first is held, so that its id stays its own
    for name, tensor in tensors:
        if id(tensor) not in known:
            value = whole(tensor)
            known[id(tensor)] = tensor, value.cpu() if is_main_process() else value.new_empty(0)
        kept[name] = known[id(tensor)][1]
    return kept if is_main_process() else {}


def fill(tensor: Tensor, value: Tensor) -> None:
    """Write a whole value into a tensor, of which each process keeps its part.

    Args:
        tensor: changed in place.
        value: the same in all processes.
    """
    with torch.no_grad():
        tensor.copy_(like(tensor, value))


def like(tensor: Tensor, value: Tensor) -> Tensor:
    """A whole value, placed and spread as a tensor is."""
    value = value.to(tensor.device)
    if not isinstance(tensor, DTensor):
        return value
    return distribute_tensor(value, tensor.device_mesh, tensor.placements, src_data_rank=None)


def size_of(parameter: Tensor) -> int:
    """Numbers in a parameter, those of other processes included, and of four-bit ones each.

    Example:
        >>> size_of(torch.zeros(2, 3))
        6
    """
    four_bit = getattr(parameter, "quant_state", None)
    if four_bit is not None:
        return int(four_bit.shape.numel())
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def layer_classes(model: nn.Module) -> list[str]:
    """Names of the classes of layers that are gathered one at a time: those of its family that a model has.

    Raises:
        ValueError: none of them is in the model, which would then be gathered as a whole.
    """
    listed = set(getattr(model, "_no_split_modules", None) or ())
    found = sorted(listed.intersection(type(module).__name__ for module in model.modules()))
    if not found:
        raise ValueError(
            f"{type(model).__name__} lists no layers that FSDP could gather one at a time: name their classes as "
            "fsdp_transformer_layer_cls_to_wrap in the launch configuration."
        )
    return found


def spread_again(model: nn.Module) -> None:
    """Let go of the whole weights that FSDP2 keeps after a forward without a backward; others have none."""
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole_optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's `state_dict` as one process would have it; empty but in the main process.

    Every process must call this.
    """
    state = optimizer.state_dict()
    named = [
        (f"{number} {name}", value)
        for number, values in state["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    ]
    tensors = whole_tensors(named)
    if not is_main_process():
        return {}
    found = {
        number: {name: tensors.get(f"{number} {name}", value) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": found}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Give an optimiser the state that `whole_optimizer_state` returned; each process keeps its parts.

    Args:
        optimizer: of the same parameters.
        state: the same in all processes.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parts: dict[int, dict[str, Any]] = {}
    for number, parameter in zip(numbers, parameters, strict=True):
        if number in state["state"]:
            parts[number] = {
                name: like(parameter, value) if _belongs(value, parameter) else value
                for name, value in state["state"][number].items()
            }
    optimizer.load_state_dict({**state, "state": parts})


def _belongs(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and value.shape == parameter.shape
