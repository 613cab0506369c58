"""Training a reward model on: its head is what it is, whatever the settings leave open."""

from __future__ import annotations

from typing import TypeVar

from vlmalign.models.loading import model_folder, reward_kind
from vlmalign.models.reward_model import read_head_config
from vlmalign.training.reward_config import Head, PairStageConfig

P = TypeVar("P", bound=PairStageConfig)


def with_known_head(config: P, kind: str) -> P:
    """The settings with the head of the reward model that they start from, if they start from one.

    Args:
        config: of a stage that trains such a model.
        kind: `SCALAR` or `CRITIQUE`.

    Raises:
        ValueError: they ask for another head.
    """
    folder = model_folder(config.model)
    if reward_kind(folder) != kind:
        return config
    known = {name: value for name, value in read_head_config(folder, kind)["head"].items() if name != "seed"}
    if "head" in config.model_fields_set and config.head != Head(**known):
        raise ValueError(f"head is {config.head.model_dump()} and that of {folder} is {known}: drop head.")
    return type(config).model_validate({**config.model_dump(exclude_unset=True), "head": known})
