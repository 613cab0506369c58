"""Small changes of a picture that no statement about it should depend on: noise, and a crop of its edges."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from vlmalign.data.prompts import Prompt


def perturb_pixels(prompts: Prompt, generator: torch.Generator, *, noise: float, crop: float) -> Prompt:
    """Processed prompts whose pictures are changed a little.

    Args:
        prompts: processor output; text alone stays as it is.
        generator: of the random numbers, on the CPU.
        noise: standard deviation of normal noise, in units of processed pixels (about one standard deviation of a
            natural picture's).
        crop: most that is cut off each side, as a share, before the rest is resized back.

    Raises:
        ValueError: a crop of pictures that the processor has cut into pieces, whose edges are lost.

    Example:
        >>> prompt = {"pixel_values": torch.zeros(1, 3, 4, 4)}
        >>> changed = perturb_pixels(prompt, torch.Generator().manual_seed(0), noise=0.1, crop=0.2)
        >>> changed["pixel_values"].shape, bool((changed["pixel_values"] == 0).any())
        (torch.Size([1, 3, 4, 4]), False)
    """
    pixels = prompts.get("pixel_values")
    if pixels is None:
        return prompts
    if crop:
        if pixels.ndim != 4:
            raise ValueError(
                f"pixel_values has shape {tuple(pixels.shape)}, expected (images, C, H, W) for a crop: this "
                "family's processor cuts pictures into pieces; set nuisance.crop to 0."
            )
        pixels = torch.stack([_crop(image, generator, crop) for image in pixels])
    drawn = torch.randn(pixels.shape, generator=generator).to(pixels)
    return {**prompts, "pixel_values": pixels + noise * drawn}


def _crop(image: Tensor, generator: torch.Generator, share: float) -> Tensor:
    _, height, width = image.shape
    cuts = (
        (torch.rand(4, generator=generator) * share * torch.tensor([height, height, width, width])).int().tolist()
    )
    kept = image[:, cuts[0] : height - cuts[1], cuts[2] : width - cuts[3]]
    return interpolate(kept[None], size=(height, width), mode="bilinear", align_corners=False)[0]


def perturb_image(image: Image.Image, rng: np.random.Generator, *, noise: float, crop: float) -> Image.Image:
    """A picture changed a little; size and mode stay, but that noise makes a palette picture RGB.

    Args:
        image: any mode that Pillow converts to RGB or grey.
        rng: of the random numbers.
        noise: standard deviation of normal noise, as a share of the full range.
        crop: as for `perturb_pixels`.

    Example:
        >>> perturb_image(Image.new("L", (8, 6)), np.random.default_rng(0), noise=0.1, crop=0.1).size
        (8, 6)
    """
    width, height = image.size
    plain = image if image.mode in ("L", "RGB") else image.convert("RGB")
    if crop:
        left, right = rng.uniform(0, crop * width, 2)
        top, bottom = rng.uniform(0, crop * height, 2)
        plain = plain.resize(
            (width, height), Image.Resampling.BILINEAR, box=(left, top, width - right, height - bottom)
        )
    if noise:
        pixels = np.asarray(plain, dtype=np.float64)
        pixels = pixels + rng.normal(0, 255 * noise, pixels.shape)
        plain = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
    return plain
