"""Test-time augmentation: how far an expert's measurements depend on how the image is turned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from experts.geometry import Quantity, Undefined
from experts.protocol import Measured

Member = tuple[int, bool]
MEMBERS: tuple[Member, ...] = tuple((turns, flip) for flip in (False, True) for turns in range(4))


def turn(images: Tensor, member: Member) -> Tensor:
    """Turn (..., H, W) counter-clockwise by `member[0]` right angles, then flip left-right if `member[1]`."""
    turned = images.rot90(member[0], (-2, -1))
    return turned.flip(-1) if member[1] else turned


def turn_back(images: Tensor, member: Member) -> Tensor:
    """Undo `turn`.

    Example:
        >>> import torch
        >>> image = torch.arange(6).reshape(2, 3)
        >>> all(torch.equal(turn_back(turn(image, member), member), image) for member in MEMBERS)
        True
    """
    return (images.flip(-1) if member[1] else images).rot90(-member[0], (-2, -1))


def summarise_counts(counts: Sequence[int], floor: float = 0.0) -> Measured:
    """One count from those of all members.

    The value is their mean, the probability the share of members that count at least one. The variance is
    that over members plus `floor` squared: members of one network share its systematic errors.

    Args:
        counts: one a member.
        floor: the part of the root mean square error that their spread does not show, see `residual_floor`.

    Example:
        >>> summarise_counts([0, 0, 0, 1])
        Measured(value=0.25, std=0.433, probability=0.25, unit='1')
    """
    values = np.asarray(counts, dtype=np.float64)
    return Measured(
        round(float(values.mean()), 4), round(float(np.hypot(values.std(), floor)), 4), float((values >= 1).mean())
    )


def summarise_covers(covers: Sequence[float], floor: float = 0.0) -> Measured:
    """One cover from those of all members: mean and standard deviation as for counts, no probability.

    Example:
        >>> summarise_covers([0.2, 0.4])
        Measured(value=0.3, std=0.1, probability=None, unit='1')
    """
    values = np.asarray(covers, dtype=np.float64)
    return Measured(round(float(values.mean()), 6), round(float(np.hypot(values.std(), floor)), 6))


def residual_floor(errors: Sequence[float], stds: Sequence[float]) -> float:
    """The floor that makes standard deviations honest: sqrt(max(mean(error^2) - mean(std^2), 0)).

    Args:
        errors: measurement minus truth, on images that took no part in training.
        stds: of the same measurements, over members.

    Example:
        >>> residual_floor([0.3, -0.4], [0.0, 0.0])
        0.353553
    """
    excess = np.mean(np.square(errors)) - np.mean(np.square(stds))
    return round(float(np.sqrt(max(float(excess), 0.0))), 6)


def summarise_quantities(found: Sequence[Quantity | Undefined], floor: float = 0.0) -> Measured | Undefined:
    """One ratio, area or distance from those of all members.

    Mean and standard deviation are over the members in which it is defined; the probability is their share. Where
    fewer than half can measure it, it is undefined, with the members' most frequent reason.

    Args:
        found: one a member.
        floor: as for counts.

    Raises:
        ValueError: no member, or members with different units.

    Example:
        >>> summarise_quantities([Quantity(0.4, "1"), Quantity(0.6, "1"), Undefined("the cup mask is empty")])
        Measured(value=0.5, std=0.1, probability=0.666667, unit='1')
        >>> summarise_quantities([Quantity(0.4, "1"), Undefined("the cup mask is empty"), Undefined("no")])
        Undefined(why='only 1 of 3 members can measure it (the cup mask is empty)')
    """
    if not found:
        raise ValueError("there is no member to summarise: give at least one")
    values = [one for one in found if isinstance(one, Quantity)]
    reasons = [one.why for one in found if isinstance(one, Undefined)]
    if 2 * len(values) < len(found):
        why = max(dict.fromkeys(reasons), key=reasons.count)
        few = f"only {len(values)} of {len(found)} members can measure it ({why})"
        return Undefined(few if values else why)
    units = sorted({one.unit for one in values})
    if len(units) > 1:
        raise ValueError(f"members measure in {' and '.join(units)}: give all the same spacing")
    numbers = np.array([one.value for one in values])
    return Measured(
        round(float(numbers.mean()), 6),
        round(float(np.hypot(numbers.std(), floor)), 6),
        round(len(values) / len(found), 6),
        units[0],
    )
