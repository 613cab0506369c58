"""The images of a batch one by one, and together again: what a vision tower is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from vlmalign.models.images import group_sizes

Row = dict[str, Tensor]


def image_rows(images: Mapping[str, Tensor]) -> Iterator[Row]:
    """The images one by one, each with a first dimension of its own, in the order of their features.

    Args:
        images: what `get_image_features` takes, for all images.

    Example:
        >>> [row["pixel_values"].shape[0] for row in image_rows({"pixel_values": torch.zeros(2, 3, 8, 8)})]
        [1, 1]
    """
    pixels = images["pixel_values"]
    if "image_grid_thw" in images:  # patches of all images in one long row
        patches = images["image_grid_thw"].prod(1).tolist()
        for i, own in enumerate(pixels.split(patches)):
            yield {"pixel_values": own, "image_grid_thw": images["image_grid_thw"][i : i + 1]}
    elif pixels.ndim == 5 and "image_sizes" not in images:  # Idefics3: images of a prompt, then zeros
        for prompt, number in (pixels != 0).flatten(2).any(2).nonzero().tolist():
            yield {name: value[prompt, number][None, None] for name, value in images.items()}
    else:
        if "batch_num_images" in images:
            images = {**images, "batch_num_images": group_sizes(images["batch_num_images"]).clamp(max=2)}
        for i in range(pixels.shape[0]):
            yield {name: value[i : i + 1] for name, value in images.items()}


def content(row: Mapping[str, Tensor]) -> Row:
    """The row without the zeros at its end that are there because of its neighbours in the batch."""
    pixels = row["pixel_values"]
    if pixels.ndim == 4 and "image_sizes" in row:
        height, width = row["image_sizes"][0].tolist()
        return {**row, "pixel_values": pixels[:, :, :height, :width]}
    if pixels.ndim != 5:
        return dict(row)
    used = (pixels != 0).flatten(2).any(2)[0].nonzero()
    return {**row, "pixel_values": pixels[:, : int(used.max()) + 1 if len(used) else 1]}


def stack_rows(rows: Mapping[str, Row]) -> Iterator[tuple[list[str], Row]]:
    """Rows by name as few calls of the tower: names, and what `get_image_features` takes for them.

    LLaVA-OneVision cuts an image that stands alone in its prompt into tiles; images of prompts with several
    are asked for apart.
    """
    for group in sorted({_group(row) for row in rows.values()}):
        names = [name for name, row in rows.items() if _group(row) == group]
        stacked = _stack([rows[name] for name in names])
        if group:
            counts = [1] * len(names) if group == 1 else [max(2, len(names))]
            stacked["batch_num_images"] = stacked["batch_num_images"].new_tensor(counts)
        yield names, stacked


def _group(row: Row) -> int:
    return int(row["batch_num_images"]) if "batch_num_images" in row else 0


def _stack(rows: Sequence[Row]) -> Row:
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
