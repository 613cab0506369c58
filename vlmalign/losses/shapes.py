"""Refusing tensors of the wrong shape, and settings out of range, by name."""

from __future__ import annotations

from torch import Tensor


def check_per_example(**tensors: Tensor) -> None:
    """Require one number per example, the same number of examples in all tensors.

    Raises:
        ValueError: naming the tensor whose shape is not that of the first, (B,).
    """
    expected = None
    for name, tensor in tensors.items():
        if tensor.ndim != 1:
            batch = tuple(tensor.shape[:1])
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, expected {batch or '(B,)'}: sum over tokens first."
            )
        if expected is None:
            expected = (name, tensor.shape)
        elif tensor.shape != expected[1]:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, expected {tuple(expected[1])} like {expected[0]}: "
                "pass the same examples in the same order."
            )


def check_tokens(**tensors: Tensor) -> None:
    """Require one number per token, (N, T), the same tokens in all tensors.

    Raises:
        ValueError: naming the tensor whose shape is not that of the first.
    """
    name, first = next(iter(tensors.items()))
    if first.ndim != 2:
        raise ValueError(f"{name} has shape {tuple(first.shape)}, expected (N, T): pass one number per token.")
    for other, tensor in tensors.items():
        if tensor.shape != first.shape:
            raise ValueError(
                f"{other} has shape {tuple(tensor.shape)}, expected {tuple(first.shape)} like {name}: pass the "
                "same tokens in the same order."
            )


def check_positive(*, or_zero: bool = False, **settings: float) -> None:
    """Require numbers above 0, or not below.

    Raises:
        ValueError: naming the setting.
    """
    for name, value in settings.items():
        if not (value > 0 or or_zero and value == 0):
            raise ValueError(
                f"{name} is {value}, expected {'0 or more' if or_zero else 'more than 0'}: correct it."
            )


def check_share(below: float, **settings: float) -> None:
    """Require numbers in [0, below).

    Raises:
        ValueError: naming the setting.
    """
    for name, value in settings.items():
        if not 0 <= value < below:
            raise ValueError(f"{name} is {value}, expected [0, {below}): with {below} nothing would be learned.")
