"""Settings of a reward stage: how the reward is read, what it learns from, and how it knows what it does not
know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vlmalign.models.reward_head import HeadSettings, Kind, Outputs, Pooling
from vlmalign.training.config import Part, StageConfig, named_settings
from vlmalign.training.reward_loss import LOSSES, BradleyTerry, RewardLossSettings


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Head(_Settings):
    """How the reward is read off an answer."""

    kind: Kind = Field("linear", description="linear, or mlp: two layers with SiLU between")
    pooling: Pooling = Field("last", description="last: the state at the last real token; mean: over the answer's")
    outputs: Outputs = Field(
        "score",
        description="score; gaussian: mean and log-variance (heteroscedastic); evidence: for and against "
        "(evidential)",
    )
    members: int = Field(1, ge=1, description="heads of their own initialisation, an ensemble on one forward")
    dropout: float = Field(0.0, ge=0, lt=1, description="on what each layer of the head reads; for MC dropout")

    def settings(self, seed: int) -> HeadSettings:
        """As the model takes them; members begin by the seed, while a single head always begins alike."""
        return HeadSettings(**self.model_dump(), seed=seed if self.members > 1 else 0)


class MemberAdapters(_Settings):
    """Low-rank adapters of each member on the shared backbone."""

    rank: int = Field(8, ge=1, description="inner width of an adapter")
    alpha: int = Field(16, ge=1, description="an adapter's output is scaled by alpha / rank")
    targets: tuple[str, ...] | None = Field(
        None, description="names of linear layers; default: all of the language model"
    )


class Nuisance(_Settings):
    """A small change of the picture that a verdict should not depend on (Ctrl-U)."""

    noise: float = Field(0.05, ge=0, description="standard deviation of noise added to the processed pixels")
    crop: float = Field(
        0.05, ge=0, lt=0.5, description="share of each side that may be cut off before resizing back"
    )
    weight: float = Field(1.0, gt=0, description="factor of the disagreement U in loss exp(-U) + U")

    @model_validator(mode="after")
    def _changes_something(self) -> Nuisance:
        if self.noise == 0 and self.crop == 0:
            raise ValueError("noise and crop are both 0, so nothing is changed: raise one, or drop nuisance")
        return self


class PairStageConfig(StageConfig):
    """What stages share that learn a reward from pairs."""

    freeze: tuple[Part, ...] = Field(
        ("vision",),
        description="parts that are not trained; default the vision tower, or nothing more under adapters",
    )
    head: Head = Field(Head(), description="how the reward is read")
    loss: RewardLossSettings = Field(
        BradleyTerry(), description=f"a name, or name and settings: {', '.join(LOSSES)}"
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

    @model_validator(mode="before")
    @classmethod
    def _adapters_freeze_already(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        adapted = values.get("lora") is not None or values.get("member_lora") is not None
        return {"freeze": (), **values} if adapted else values

    @field_validator("loss", mode="before")
    @classmethod
    def _a_name_is_a_loss(cls, value: Any) -> Any:
        return named_settings(value, "loss", LOSSES, default="bradley_terry")

    @model_validator(mode="after")
    def _ties_are_of_pairs(self) -> PairStageConfig:
        if self.tie_weight is not None and not self.loss.needs_pairs:
            raise ValueError(f"tie_weight is of pairs and loss {self.loss.name} has none: drop it")
        return self


class RewardConfig(PairStageConfig):
    """A reward model, from preferences and ratings."""

    resample_groups: bool | None = Field(
        None,
        description="each member weighs each group (patient) by a Poisson(1) draw of its own, a bootstrap; "
        "default: with several members",
    )
    member_lora: MemberAdapters | None = Field(None, description="adapters of each member, instead of heads alone")
    laplace: bool = Field(
        False, description="fit a last-layer Laplace approximation on the training pairs once the model is trained"
    )
    nuisance: Nuisance | None = Field(
        None, description="weigh pairs by whether a small change of the picture changes the verdict"
    )

    @property
    def adapts(self) -> bool:
        """Whether only adapters are trained."""
        return self.lora is not None or self.member_lora is not None

    @property
    def resamples(self) -> bool:
        """Whether members weigh groups differently."""
        return self.head.members > 1 if self.resample_groups is None else self.resample_groups

    @model_validator(mode="after")
    def _members_have_their_means(self) -> RewardConfig:
        if self.member_lora is not None:
            if self.head.members < 2:
                raise ValueError(
                    "member_lora adapts each member and head.members is 1: raise head.members, or use lora"
                )
            if self.lora is not None or self.freeze:
                other = "lora" if self.lora else "freeze"
                raise ValueError(f"member_lora freezes all weights but its own: drop {other}")
        if self.resample_groups and self.head.members == 1:
            raise ValueError(
                "resample_groups makes members differ and head.members is 1: raise it or drop the other"
            )
        return self

    @model_validator(mode="after")
    def _outputs_and_loss_fit(self) -> RewardConfig:
        if self.head.outputs == "evidence" and self.loss.name != "bradley_terry":
            raise ValueError(
                f"loss {self.loss.name} needs one number for an answer and head.outputs is 'evidence', which "
                "pairs alone teach: use loss bradley_terry, or outputs score or gaussian"
            )
        if self.head.outputs == "gaussian" and self.loss.name == "scaled":
            raise ValueError(
                "loss scaled is a weight and head.outputs 'gaussian' has its own: use bradley_terry or margin"
            )
        if self.laplace and (self.head.outputs != "score" or self.head.members > 1):
            raise ValueError(
                f"laplace is of one head with outputs 'score', and head has {self.head.members} members with "
                f"outputs {self.head.outputs!r}: choose one way to be unsure"
            )
        if self.laplace and not self.loss.needs_pairs:
            raise ValueError(f"laplace is fitted to pairs and loss {self.loss.name} has none: use bradley_terry")
        return self

    @model_validator(mode="after")
    def _nuisance_is_seen(self) -> RewardConfig:
        if self.nuisance is not None and self.feature_cache is not None:
            raise ValueError("nuisance changes each picture at each step and feature_cache keeps them: drop one")
        if self.nuisance is not None and not self.loss.needs_pairs:
            raise ValueError(f"nuisance compares verdicts on pairs and loss {self.loss.name} has none: drop it")
        return self
