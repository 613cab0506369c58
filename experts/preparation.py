"""Preparing an image for a network: size, channels, and the mean and deviation it was trained with."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from vlmalign.records.base import Part


class Preparation(Part):
    """How an image becomes a network's input; must be what the weights were trained with.

    Example:
        >>> prepare(Image.new("L", (40, 20), 255), Preparation(size=16, channels=1, fit="pad"))[0, :, 0].tolist()
        [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """

    size: int = Field(ge=8, description="side of the square input, in pixels")
    channels: Literal[1, 3] = 3
    fit: Literal["squash", "pad", "crop"] = Field(
        "squash", description="squash to the square, pad the shorter side with black, or crop the longer one"
    )
    scale: tuple[float, float] = Field((0.0, 1.0), description="what black and white become, before mean and std")
    mean: tuple[float, ...] = Field((0.0,), description="one value, or one a channel")
    std: tuple[float, ...] = Field((1.0,), description="one value, or one a channel; none is 0")


def prepare(image: Image.Image, settings: Preparation) -> Tensor:
    """An image as (channels, size, size).

    Raises:
        ValueError: mean or std are not one value, or one a channel, or a std is not positive.
    """
    for name, values in (("mean", settings.mean), ("std", settings.std)):
        if len(values) not in (1, settings.channels):
            raise ValueError(f"{name} has {len(values)} values, expected 1 or {settings.channels}: one a channel")
    if min(settings.std) <= 0:
        raise ValueError(f"std is {settings.std}: each must be above 0")
    image = image.convert("L" if settings.channels == 1 else "RGB")
    image = _square(image, settings.size, settings.fit)
    array = np.asarray(image, dtype=np.float32).reshape(settings.size, settings.size, settings.channels) / 255
    low, high = settings.scale
    tensor = torch.from_numpy(low + (high - low) * array).permute(2, 0, 1)
    mean, std = (
        torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (settings.mean, settings.std)
    )
    return ((tensor - mean) / std).contiguous()


def _square(image: Image.Image, size: int, fit: str) -> Image.Image:
    if fit == "squash" or image.width == image.height:
        return image.resize((size, size), Image.Resampling.BILINEAR)
    limit = max(image.size) if fit == "pad" else min(image.size)
    scaled = [max(round(side * size / limit), 1) for side in image.size]
    resized = image.resize((scaled[0], scaled[1]), Image.Resampling.BILINEAR)
    if fit == "crop":
        left, top = (scaled[0] - size) // 2, (scaled[1] - size) // 2
        return resized.crop((left, top, left + size, top + size))
    canvas = Image.new(image.mode, (size, size))
    canvas.paste(resized, ((size - scaled[0]) // 2, (size - scaled[1]) // 2))
    return canvas
