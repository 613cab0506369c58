"""Settings of the training of a classification expert."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from experts.thresholds import parse_rule


class ClassifierConfig(BaseModel):
    """How to train a timm classifier from scratch on present and absent findings; each concept is one sigmoid.

    Example:
        >>> ClassifierConfig(network="test_resnet", size=32).threshold_rule
        'youden'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="classifier", pattern=r"^[a-z0-9_.-]+$", description="the expert's name")
    network: str = Field(default="resnet10t", description="timm's name of the architecture")
    concepts: tuple[str, ...] | None = Field(
        default=None, description="unset: all that are present or absent anywhere"
    )
    size: int = Field(default=96, ge=16, description="side of the square input, in pixels")
    channels: int = Field(default=1, description="1 for grey images, 3 for colour")
    members: int = Field(default=1, ge=1, le=10, description="networks of the ensemble, each from its own start")
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0, description="peak, after a warm-up over the first tenth")
    weight_decay: float = Field(default=0.05, ge=0)
    augment: bool = Field(
        default=True, description="shifts and zooms by up to 10 %, brightness and contrast by 20 %"
    )
    laterality_matters: bool = Field(default=True, description="if false, half of the images are mirrored")
    threshold_rule: str = Field(default="youden", description="youden | f1 | sensitivity>=X")
    choice_share: float = Field(
        default=0.15, gt=0, lt=1, description="share of groups for best epoch, temperature and threshold"
    )
    held_out_share: float = Field(
        default=0.25, gt=0, lt=1, description="share of groups that only the card's numbers see"
    )
    seed: int = 0

    @field_validator("channels")
    @classmethod
    def _one_or_three(cls, value: int) -> int:
        if value not in (1, 3):
            raise ValueError(f"channels is {value}: 1 (grey) or 3 (colour) are possible")
        return value

    @field_validator("threshold_rule")
    @classmethod
    def _a_rule(cls, value: str) -> str:
        parse_rule(value)
        return value

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> ClassifierConfig:
        if self.choice_share + self.held_out_share >= 1:
            raise ValueError(
                f"choice_share {self.choice_share} and held_out_share {self.held_out_share} leave nothing to "
                "train on: their sum must be below 1"
            )
        return self
