"""Which images belong to which prompt."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from vlmalign.models.family import image_token_id
from vlmalign.models.loading import backbone_of, unwrap

PER_TOKEN = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


def images_per_prompt(model: nn.Module, inputs: dict[str, Tensor]) -> list[int] | None:
    """Count the images of each prompt by its placeholders.

    Args:
        model: a Hugging Face image-text model, possibly wrapped.
        inputs: processor output for B prompts.

    Returns:
        B counts of rows of `pixel_values` (of `image_grid_thw`, where there is one), which are images or tiles
        of images; or None if the prompts hold no image, or if the family's images differ in tokens in a way
        that is not known here and there is one row per prompt.

    Raises:
        ValueError: naming the prompt row whose placeholders are not a whole number of images, or which has
            placeholders while no images were given.
    """
    pixels = inputs.get("pixel_values")
    tokens = (inputs["input_ids"] == image_token_id(model)).sum(1).tolist()
    if pixels is None:
        without = [row for row, count in enumerate(tokens) if count]
        if without:
            raise ValueError(
                f"prompt row {without[0]} has {tokens[without[0]]} image tokens, but no images were given: give "
                "the processor the images, and pass all that it returns."
            )
        return None
    sizes = _tokens_per_image(model, inputs, tokens)
    if sizes is None:
        rows = inputs["input_ids"].shape[0]
        if pixels.shape[0] != rows:
            raise ValueError(
                f"pixel_values holds {pixels.shape[0]} images for {rows} prompts and this family's images "
                "differ in tokens, expected one image per prompt: use one image per prompt."
            )
        return None
    counts, next_image = [], 0
    for row, wanted in enumerate(tokens):
        first = next_image
        while next_image < len(sizes) and (wanted > 0 or sizes[next_image] == 0):
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
    if counts is None:
        return chosen | {name: value[index] for name, value in others.items()}
    if "image_grid_thw" in others:
        patches = others["image_grid_thw"].prod(1).tolist()
        chosen["pixel_values"] = _take(others.pop("pixel_values"), _sums(patches, counts), index)
    if "batch_num_images" in others:
        groups = _take(group_sizes(others.pop("batch_num_images")), counts, index)
        chosen["batch_num_images"] = _group_starts(groups)
    return chosen | {name: _take(value, counts, index) for name, value in others.items()}


def group_sizes(batch_num_images: Tensor) -> Tensor:
    """For each image of LLaVA-OneVision, how many stand in its prompt: one alone is cut into tiles.

    Example:
        >>> group_sizes(torch.tensor([1, 0, 2])).tolist()
        [1, 2, 2]
    """
    return batch_num_images.repeat_interleave(batch_num_images)


def _group_starts(groups: Tensor) -> Tensor:
    sizes, at, values = [], 0, groups.tolist()
    while at < len(values):
        sizes.append(values[at])
        at += values[at]
    return groups.new_tensor(sizes)


def _take(value: Tensor, counts: list[int], index: Tensor) -> Tensor:
    if all(count == 1 for count in counts):
        return value[index]
    pieces = value.split(counts)
    return torch.cat([pieces[row] for row in index.tolist()])


def _sums(sizes: list[int], counts: list[int]) -> list[int]:
    done, sums = 0, []
    for count in counts:
        sums.append(sum(sizes[done : done + count]))
        done += count
    return sums


# -- tokens of an image -----------------------------------------------------------------------------


def _tokens_per_image(model: nn.Module, inputs: dict[str, Tensor], tokens: list[int]) -> list[int] | None:
    """Tokens of each row of images in order, None where a family's sizes cannot be told from the inputs."""
    config, pixels = unwrap(model).config, inputs["pixel_values"]
    if "image_grid_thw" in inputs:
        merge = config.vision_config.spatial_merge_size**2
        return [int(patches) // merge for patches in inputs["image_grid_thw"].prod(1).tolist()]
    if "image_sizes" in inputs and config.vision_config.model_type == "pixtral":
        side = config.vision_config.patch_size * getattr(config, "spatial_merge_size", 1)
        return [int(tokens) for tokens in (inputs["image_sizes"] // side).prod(1).tolist()]
    if config.model_type == "llava" and pixels.ndim == 4:
        patch = config.vision_config.patch_size
        each = (pixels.shape[2] // patch) * (pixels.shape[3] // patch)
        return [each + (config.vision_feature_select_strategy == "full")] * pixels.shape[0]
    if config.model_type in ("llava_next", "llava_onevision"):
        return _tokens_of_tiles(model, inputs)
    if config.model_type in ("idefics3", "smolvlm"):  # a row holds all tiles of a prompt, then zeros
        patch = config.vision_config.patch_size
        each = (pixels.shape[3] // patch) * (pixels.shape[4] // patch) // config.scale_factor**2
        return [int(n) * each for n in (pixels != 0).flatten(2).any(2).sum(1).tolist()]
    if "image_sizes" in inputs or pixels.ndim != 4:
        return None
    each, rest = divmod(sum(tokens), pixels.shape[0])
    if rest:
        raise ValueError(
            f"prompt rows have {tokens} image tokens for {pixels.shape[0]} images, expected a multiple: give each "
            "image one placeholder and do not truncate."
        )
    return [each] * pixels.shape[0]


def _tokens_of_tiles(model: nn.Module, inputs: dict[str, Tensor]) -> list[int]:
    """Tokens of images in tiles: the model's own function lays them out, on tensors without content."""
    from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

    backbone = backbone_of(model)
    config, sizes = unwrap(model).config, inputs["image_sizes"].cpu()
    side = config.vision_config.image_size // config.vision_config.patch_size
    groups = group_sizes(inputs["batch_num_images"]).tolist() if "batch_num_images" in inputs else [1] * len(sizes)
    tiles = [
        image_size_to_num_patches(size, config.image_grid_pinpoints, config.vision_config.image_size)
        if group == 1
        else 1
        for size, group in zip(sizes, groups, strict=True)
    ]
    named = ("vision_feature_select_strategy", "vision_aspect_ratio")
    accepted = inspect.signature(backbone.pack_image_features).parameters
    features, _ = backbone.pack_image_features(
        [torch.empty(count, side**2, 1, device="meta") for count in tiles],
        sizes,
        image_newline=torch.empty(1, device="meta"),
        **{name: getattr(config, name) for name in named if name in accepted},
    )
    return [image.shape[0] for image in features]
