"""Which parts of a vision-language model are trained."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from vlmalign.training.config import Part

# Names under which model families keep their parts; a part's parameters are those below any of its names.
NAMES: dict[Part, tuple[str, ...]] = {
    "vision": ("vision_tower", "vision_model", "visual"),
    "projector": ("multi_modal_projector", "connector", "merger", "deepstack_merger_list", "image_newline"),
    "language": ("language_model", "text_model", "lm_head"),
}


def part_of(parameter: str) -> Part | None:
    """The part a parameter belongs to, by its dotted name; a merger inside a vision tower is a projector.

    Example:
        >>> part_of("model.visual.merger.mlp.0.weight"), part_of("model.vision_tower.conv.weight")
        ('projector', 'vision')
    """
    pieces = set(parameter.split("."))
    for part in ("projector", "vision", "language"):
        if pieces.intersection(NAMES[part]):
            return part
    return None


def freeze_parts(model: nn.Module, parts: Iterable[Part]) -> dict[str, int]:
    """Stop training parts of a model.

    Args:
        model: changed in place.
        parts: to freeze.

    Returns:
        Number of frozen parameters by part.

    Raises:
        ValueError: the model has no such part under a known name.
    """
    counts = dict.fromkeys(parts, 0)
    for name, parameter in model.named_parameters():
        part = part_of(name)
        if part in counts:
            parameter.requires_grad_(False)
            counts[part] += parameter.numel()
    for part, count in counts.items():
        if not count:
            raise ValueError(
                f"freeze names {part!r}, and {type(model).__name__} has no parameters under {NAMES[part]}: "
                "drop it, or add the family's name to vlmalign.training.freezing.NAMES"
            )
    return {str(part): count for part, count in counts.items()}
