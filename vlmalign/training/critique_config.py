"""Settings of a critique stage: a model that writes a critique of an answer and is scored after it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vlmalign.data.datasets import DataSource
from vlmalign.training.reward_config import PairStageConfig

Mode = Literal["joint", "two_stage"]
Critiques = Literal["given", "own", "both"]
SHARE = 0.5


class CritiqueConfig(PairStageConfig):
    """A critique model, from preferences with critiques; its head has one member and outputs score."""

    critique_weight: float = Field(
        1.0, ge=0, description="factor of the critiques' token loss, a mean over the tokens of each critique"
    )
    mode: Mode = Field(
        "joint",
        description="joint: both losses at every step; two_stage: first the critiques' token loss alone, on the "
        "whole model, then the pairs' loss alone, on the head alone; one learning-rate schedule spans both",
    )
    critique_share: float | None = Field(
        None, gt=0, lt=1, description=f"two_stage: share of the steps that are the first stage; default {SHARE}"
    )
    critiques: Critiques = Field(
        "given",
        description="after which critiques the pairs' loss is taken: those of data; own: those of own_data; both. "
        "The token loss is on those of data alone: errors of the model's own are not to be learnt",
    )
    own_data: tuple[DataSource, ...] = Field(
        (), description="folders of pairs whose critiques a critique model wrote (vlmalign build own-critiques)"
    )

    @property
    def share(self) -> float:
        """Share of the steps in which critiques alone are learnt; 0 in joint training."""
        if self.mode == "joint":
            return 0.0
        return SHARE if self.critique_share is None else self.critique_share

    @model_validator(mode="after")
    def _one_number_is_read(self) -> CritiqueConfig:
        if self.head.members > 1 or self.head.outputs != "score":
            raise ValueError(
                f"head has {self.head.members} members with outputs {self.head.outputs!r}: a critique model reads "
                "one number after a critique, and several critiques show its doubt; use 1 member, outputs score"
            )
        return self

    @model_validator(mode="after")
    def _stages_are_whole(self) -> CritiqueConfig:
        if self.mode == "joint" and self.critique_share is not None:
            raise ValueError(
                f"critique_share is {self.critique_share} and mode is joint, which has no stages: use mode "
                "two_stage, or drop critique_share"
            )
        if self.mode == "two_stage" and not self.critique_weight:
            raise ValueError("critique_weight is 0 and mode two_stage begins with that loss alone: raise it")
        if self.mode == "two_stage" and self.max_flops is not None:
            raise ValueError(
                "max_flops is set and the steps of mode two_stage do not cost alike: set epochs or max_steps"
            )
        return self

    @model_validator(mode="after")
    def _own_critiques_are_there(self) -> CritiqueConfig:
        if (self.critiques == "given") == bool(self.own_data):
            raise ValueError(
                f"critiques is {self.critiques!r} and own_data has {len(self.own_data)} folders: give own_data "
                "with critiques own or both, and only then"
            )
        return self
