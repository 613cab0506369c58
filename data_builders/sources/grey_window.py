"""From measured values to 8 bits of grey: the windows of DICOM, and the plain range where none is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Function = str  # LINEAR | LINEAR_EXACT | SIGMOID


def windowed(
    values: NDArray[np.floating], center: float, width: float, function: Function = "LINEAR"
) -> NDArray[np.uint8]:
    """Grey values 0 to 255 under a window (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: (H, W), rescaled, e.g. in Hounsfield units.
        center: of the window.
        width: of the window; at least 1 for LINEAR, above 0 otherwise.
        function: how values within the window rise.

    Raises:
        ValueError: a width that the function does not have, another function.

    Example:
        >>> windowed(np.array([[-700.0, 40.0, 239.0, 900.0]]), 40, 400)[0].tolist()
        [0, 128, 255, 255]
        >>> windowed(np.array([[0.0, 5.0, 10.0]]), 5, 10, "LINEAR_EXACT")[0].tolist()
        [0, 128, 255]
    """
    if not np.isfinite([center, width]).all() or width <= 0 or function == "LINEAR" and width < 1:
        raise ValueError(f"window width is {width:g}: at least 1 (LINEAR), or above 0, is required")
    if function == "LINEAR":
        half = (width - 1) / 2
        share = (values - (center - 0.5)) / max(width - 1, 1e-9) + 0.5
        share = np.where(values <= center - 0.5 - half, 0.0, np.where(values > center - 0.5 + half, 1.0, share))
    elif function == "LINEAR_EXACT":
        share = (values - center) / width + 0.5
    elif function == "SIGMOID":
        share = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -500, 500)))
    else:
        raise ValueError(f"window function is {function!r}: one of LINEAR, LINEAR_EXACT, SIGMOID is required")
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)


def full_range(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Grey values 0 to 255 from `low` to `high`; black where the two are equal.

    Example:
        >>> full_range(np.array([[0.0, 1.0, 4.0]]), 0, 4)[0].tolist()
        [0, 64, 255]
    """
    if not high > low:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.floor(np.clip((values - low) / (high - low), 0, 1) * 255 + 0.5).astype(np.uint8)


def evenly(total: int, wanted: int | list[int]) -> list[int]:
    """Which of `total` frames or slices to show: so many evenly spaced, or the very ones of a list that exist.

    Example:
        >>> evenly(9, 3), evenly(9, 1), evenly(2, 5), evenly(9, [0, 8, 20])
        ([1, 4, 7], [4], [0, 1], [0, 8])
    """
    if isinstance(wanted, list):
        return [number for number in wanted if 0 <= number < total]
    number = min(wanted, total)
    return [(2 * k + 1) * total // (2 * number) for k in range(number)]


def check_view(name: str, wanted: int | list[int], window: list[float] | None) -> None:
    """Refuse a choice of frames or slices, or a window, that shows nothing.

    Args:
        name: of the setting that `wanted` is.
        wanted: as for `evenly`.
        window: [centre, width], or None.

    Raises:
        ValueError: naming the setting.

    Example:
        >>> check_view("slices", 0, None)
        Traceback (most recent call last):
        ...
        ValueError: slices is 0: 1 or more, or a list of numbers from 0, is required
    """
    if wanted < 1 if isinstance(wanted, int) else not wanted or min(wanted) < 0:
        raise ValueError(f"{name} is {wanted}: 1 or more, or a list of numbers from 0, is required")
    if window is not None and (len(window) != 2 or window[1] < 1):
        raise ValueError(f"window is {window}: [centre, width] with a width of at least 1 is required")
