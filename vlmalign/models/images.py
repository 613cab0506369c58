"""Which images belong to which prompt."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlmalign.models.family import image_token_id
from vlmalign.models.loading import unwrap

PER_TOKEN = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


def images_per_prompt(model: nn.Module, inputs: dict[str, Tensor]) -> list[int] | None:
    """Count the images of each prompt by its placeholders.

    Args:
        model: a Hugging Face image-text model, possibly wrapped.
        inputs: processor output for B prompts.

    Returns:
        B counts (of tiles, for families that cut images into tiles), or None if the prompts hold no
        image, or if image tensors already have one row per prompt.

    Raises:
        ValueError: naming the prompt row whose placeholders are not a whole number of images.
    """
    pixels = inputs.get("pixel_values")
    if pixels is None:
        return None
    rows = inputs["input_ids"].shape[0]
    tokens = (inputs["input_ids"] == image_token_id(model)).sum(1).tolist()
    sizes = _tokens_per_image(model, inputs, tokens)
    if sizes is None:
        if pixels.shape[0] != rows:
            raise ValueError(
                f"pixel_values holds {pixels.shape[0]} images for {rows} prompts and this family's images "
                "differ in tokens, expected one image per prompt: use one image per prompt."
            )
        return None
    counts, next_image = [], 0
    for row, wanted in enumerate(tokens):
        first = next_image
        while wanted > 0 and next_image < len(sizes):
            wanted -= sizes[next_image]
            next_image += 1
        if wanted != 0:
            raise ValueError(
                f"prompt row {row} has {tokens[row]} image tokens, expected a sum of whole images (the next ones "
                f"have {sizes[first : first + 3]} tokens): give each image one placeholder and do not truncate."
            )
        counts.append(next_image - first)
    if next_image != len(sizes):
        raise ValueError(
            f"the prompts have placeholders for {next_image} images, but {len(sizes)} images were given: "
            "give each image one placeholder."
        )
    return counts


def select_prompts(model: nn.Module, inputs: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """The prompts `index`, repeated and reordered with their images.

    Args:
        model: a Hugging Face image-text model, possibly wrapped.
        inputs: processor output for B prompts.
        index: rows to take, (N,), repeats allowed.
    """
    counts = images_per_prompt(model, inputs)
    chosen = {name: value[index] for name, value in inputs.items() if name in PER_TOKEN}
    others = {name: value for name, value in inputs.items() if name not in PER_TOKEN}
    if counts is None or all(count == 1 for count in counts) and "image_grid_thw" not in others:
        return chosen | {name: value[index] for name, value in others.items()}
    if "image_grid_thw" in others:
        patches = others["image_grid_thw"].prod(1).tolist()
        chosen["pixel_values"] = _take(others.pop("pixel_values"), _sums(patches, counts), index)
    return chosen | {name: _take(value, counts, index) for name, value in others.items()}


def _take(value: Tensor, counts: list[int], index: Tensor) -> Tensor:
    pieces = value.split(counts)
    return torch.cat([pieces[row] for row in index.tolist()])


def _sums(sizes: list[int], counts: list[int]) -> list[int]:
    done, sums = 0, []
    for count in counts:
        sums.append(sum(sizes[done : done + count]))
        done += count
    return sums


def _tokens_per_image(model: nn.Module, inputs: dict[str, Tensor], tokens: list[int]) -> list[int] | None:
    """Tokens of each image in order, None where a family's sizes cannot be told from the inputs."""
    config, pixels = unwrap(model).config, inputs["pixel_values"]
    if "image_grid_thw" in inputs:
        merge = config.vision_config.spatial_merge_size**2
        return [int(patches) // merge for patches in inputs["image_grid_thw"].prod(1).tolist()]
    if config.model_type == "llava" and pixels.ndim == 4:
        patch = config.vision_config.patch_size
        each = (pixels.shape[2] // patch) * (pixels.shape[3] // patch)
        return [each + (config.vision_feature_select_strategy == "full")] * pixels.shape[0]
    if "image_sizes" in inputs or pixels.ndim != 4:
        return None
    each, rest = divmod(sum(tokens), pixels.shape[0])
    if rest:
        raise ValueError(
            f"prompt rows have {tokens} image tokens for {pixels.shape[0]} images, expected a multiple: give each "
            "image one placeholder and do not truncate."
        )
    return [each] * pixels.shape[0]
