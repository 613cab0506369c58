"""Settings of a critique stage: a model that writes a critique of an answer and is scored after it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from vlmalign.data.datasets import DataSource
from vlmalign.training.config import Part, StageConfig, named_settings
from vlmalign.training.reward_config import Head, without_freeze_where_adapted
from vlmalign.training.reward_loss import LOSSES, BradleyTerry, RewardLossSettings

Mode = Literal["joint", "two_stage"]
Critiques = Literal["given", "own", "both"]
SHARE = 0.5


class CritiqueConfig(StageConfig):
    """A critique model, from preferences with a critique of each answer."""

    freeze: tuple[Part, ...] = Field(
        ("vision",),
        description="parts that are not trained; default the vision tower, or nothing more under adapters",
    )
    head: Head = Field(Head(), description="how the reward is read after the critique; one member, outputs score")
    loss: RewardLossSettings = Field(
        BradleyTerry(), description=f"of pairs; a name, or name and settings: {', '.join(LOSSES)}"
    )
    centring: float = Field(
        0.0, ge=0, description="factor of (r(chosen) + r(rejected))^2, which keeps rewards near zero"
    )
    tie_weight: float | None = Field(
        None,
        ge=0,
        description="pairs whose margin is 0 are ties, and their loss is this times (r(chosen) - r(rejected))^2; "
        "default: they are pairs as any other",
    )
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

    @model_validator(mode="before")
    @classmethod
    def _adapters_freeze_already(cls, values: Any) -> Any:
        return without_freeze_where_adapted(values)

    @field_validator("loss", mode="before")
    @classmethod
    def _a_name_is_a_loss(cls, value: Any) -> Any:
        return named_settings(value, "loss", LOSSES, default="bradley_terry")

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
        if self.tie_weight is not None and not self.loss.needs_pairs:
            raise ValueError(f"tie_weight is of pairs and loss {self.loss.name} has none: drop it")
        return self
