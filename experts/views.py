"""Views of one image for test-time augmentation: small changes that must not change what an expert finds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

View = Literal["as_is", "mirrored", "left_2", "right_2", "up_2", "down_2", "brighter", "darker"]
VIEWS: tuple[View, ...] = get_args(View)
SHIFTS: dict[str, tuple[int, int]] = {"left_2": (-1, 0), "right_2": (1, 0), "up_2": (0, -1), "down_2": (0, 1)}
SHIFT, LIGHT = 0.02, 0.1
SIDED = re.compile(r"(^|_)(left|right|nasal|temporal|od|os)(_|$)|laterality")


def show(image: Image.Image, view: View) -> Image.Image:
    """One view of an image, of its size.

    `left_2` and its like shift by 2 % of the side and repeat the edge; `brighter` and `darker` change the
    brightness by 10 %; `mirrored` exchanges left and right.

    Example:
        >>> image = Image.fromarray(np.array([[0, 100, 200]], dtype=np.uint8))
        >>> np.asarray(show(image, "mirrored")).tolist(), np.asarray(show(image, "left_2")).tolist()
        ([[200, 100, 0]], [[100, 200, 200]])
    """
    if view == "as_is":
        return image
    if view == "mirrored":
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if view in SHIFTS:
        return Image.fromarray(_shifted(np.asarray(image), *_steps(image.size, view)))
    return ImageEnhance.Brightness(image).enhance(1 + (LIGHT if view == "brighter" else -LIGHT))


def undo(labels: NDArray[Any], view: View) -> NDArray[Any]:
    """A label image or layer (H, W) of a view, put back onto the image; what a shift pushed out repeats the edge.

    Example:
        >>> undo(np.array([[1, 0, 0]], dtype=np.uint8), "mirrored").tolist()
        [[0, 0, 1]]
    """
    if view == "mirrored":
        return np.ascontiguousarray(labels[:, ::-1])
    if view in SHIFTS:
        right, down = _steps((labels.shape[1], labels.shape[0]), view)
        return _shifted(labels, -right, -down)
    return labels


def _steps(size: tuple[int, int], view: str) -> tuple[int, int]:
    """How far right and down a view shifts, in pixels; at least one."""
    x, y = SHIFTS[view]
    return x * max(round(SHIFT * size[0]), 1), y * max(round(SHIFT * size[1]), 1)


def _shifted(array: NDArray[Any], right: int, down: int) -> NDArray[Any]:
    rows = np.clip(np.arange(array.shape[0]) - down, 0, array.shape[0] - 1)
    columns = np.clip(np.arange(array.shape[1]) - right, 0, array.shape[1] - 1)
    return np.ascontiguousarray(array[rows[:, None], columns[None, :]])


def check_views(views: Sequence[View], concepts: Iterable[str], *, laterality_matters: bool) -> None:
    """Refuse a mirrored view where left and right are not alike, and views given twice.

    Raises:
        ValueError: no view, a view given twice, or `mirrored` where laterality matters.

    Example:
        >>> check_views(["as_is", "mirrored"], ["left_effusion"], laterality_matters=False)
        Traceback (most recent call last):
        ...
        ValueError: views hold 'mirrored' and the concept 'left_effusion' names a side: leave 'mirrored' out
    """
    if not views or len(set(views)) < len(views):
        raise ValueError(f"views are {list(views)}: give at least one, and each once")
    if "mirrored" not in views:
        return
    sided = sorted(concept for concept in concepts if SIDED.search(concept))
    if sided:
        raise ValueError(f"views hold 'mirrored' and the concept {sided[0]!r} names a side: leave 'mirrored' out")
    if laterality_matters:
        raise ValueError(
            "views hold 'mirrored' and laterality_matters is true (a mirrored chest has its heart on the right): "
            "leave 'mirrored' out, or set laterality_matters to false where left and right are alike"
        )
