"""The placeholder of one image token, as a model's configuration and a processor name it."""

from __future__ import annotations

from typing import Any


def configured_image_token(config: Any) -> int:
    """Id of the placeholder; -1, which no token has, if the configuration names none."""
    for name in ("image_token_id", "image_token_index"):
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    return -1


def check_image_token(config: Any, processor: Any, where: object) -> None:
    """Refuse a processor whose image placeholder is not the model's: it is of another model.

    Args:
        config: of the model.
        processor: read from the same folder.
        where: the folder, for the error.

    Raises:
        ValueError: both name a placeholder, and they differ.

    Example:
        >>> from types import SimpleNamespace as Some
        >>> check_image_token(Some(image_token_id=5), Some(image_token_ids=[5, 6]), "runs/sft")
    """
    expected = configured_image_token(config)
    several = getattr(processor, "image_token_ids", None) or [getattr(processor, "image_token_id", None)]
    named = sorted(token for token in several if isinstance(token, int))
    if expected >= 0 and named and expected not in named:
        raise ValueError(
            f"{where}: the model's image placeholder is token {expected}, that of {type(processor).__name__} is "
            f"{', '.join(map(str, named))}: they are of different models; take both from the same one."
        )
