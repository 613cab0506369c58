"""Light augmentation of a training batch: what a microscope, a lamp and a stain may change."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def augment(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip, turn, recolour and sometimes blur each image of a batch.

    Half of the images are flipped, all are turned by a multiple of 90 degrees (so H must equal W);
    brightness and contrast change by up to 15 %, hue by up to 0.15 rad around the grey axis; a quarter
    are blurred by a Gaussian of up to 1.2 pixels.

    Args:
        images: (B, 3, H, W) in 0..1.
        labels: (B, H, W).
        generator: decides everything.

    Returns:
        New images and labels of the same shapes.

    Example:
        >>> images, labels = torch.rand(4, 3, 8, 8), torch.zeros(4, 8, 8, dtype=torch.long)
        >>> augmented, _ = augment(images, labels, torch.Generator().manual_seed(0))
        >>> augmented.shape
        torch.Size([4, 3, 8, 8])
    """
    n = len(images)
    turns = torch.randint(4, (n,), generator=generator)
    flips = torch.rand(n, generator=generator) < 0.5
    new_images, new_labels = torch.empty_like(images), torch.empty_like(labels)
    for k in range(4):
        for flip in (False, True):
            chosen = (turns == k) & (flips == flip)
            if chosen.any():
                some, truth = torch.rot90(images[chosen], k, (2, 3)), torch.rot90(labels[chosen], k, (1, 2))
                new_images[chosen] = some.flip(3) if flip else some
                new_labels[chosen] = truth.flip(2) if flip else truth
    new_images = _recolour(new_images, generator)
    blurred = torch.rand(n, generator=generator) < 0.25
    if blurred.any():
        sigma = 0.2 + float(torch.rand((), generator=generator))
        new_images[blurred] = gaussian_blur(new_images[blurred], sigma)
    return new_images.clamp(0, 1), new_labels


def _recolour(images: Tensor, generator: torch.Generator) -> Tensor:
    n = len(images)

    def jitter(width: float) -> Tensor:
        return (torch.rand(n, 1, 1, 1, generator=generator) * 2 - 1) * width

    mean = images.mean((2, 3), keepdim=True)
    images = (images - mean) * (1 + jitter(0.15)) + mean * (1 + jitter(0.15))
    return torch.einsum("bij,bjhw->bihw", hue_rotation(jitter(0.15).flatten()), images)


def hue_rotation(angles: Tensor) -> Tensor:
    """Rotations of RGB space around the grey axis (Rodrigues): grey stays grey. (B,) -> (B, 3, 3).

    Example:
        >>> grey = torch.full((3,), 0.4)
        >>> torch.allclose(hue_rotation(torch.tensor([0.7]))[0] @ grey, grey)
        True
    """
    axis = 1 / math.sqrt(3)
    cross = axis * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    cos, sin = torch.cos(angles)[:, None, None], torch.sin(angles)[:, None, None]
    return torch.eye(3) + sin * cross + (1 - cos) * (cross @ cross)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur (B, C, H, W) by a Gaussian of `sigma` pixels, borders reflected."""
    reach = max(1, math.ceil(2.5 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, -1)
    padded = functional.pad(images, (reach, reach, reach, reach), mode="reflect")
    rows = functional.conv2d(padded, kernel[:, :, None, :], groups=images.shape[1])
    return functional.conv2d(rows, kernel[:, :, :, None], groups=images.shape[1])
