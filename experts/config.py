"""Settings of expert training."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from experts.segmentation import NetworkSettings


class ExpertConfig(BaseModel):
    """How to train a segmentation expert. With `minutes` unset, equal settings and data give equal weights.

    Example:
        >>> ExpertConfig(epochs=3).network.channels
        (16, 32, 64)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        default="smear_unet", pattern=r"^[a-z0-9_.-]+$", description="the expert's name in its findings"
    )
    size: int = Field(
        256, ge=16, description="longest side worked on; larger images are reduced, none is enlarged"
    )
    network: NetworkSettings = NetworkSettings()
    epochs: int = Field(default=20, ge=1)
    minutes: float | None = Field(
        default=None,
        gt=0,
        description="stop after this much training time, over all starts; the learning rate follows",
    )
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0, description="peak, after a warm-up over the first tenth")
    weight_decay: float = Field(default=1e-4, ge=0)
    label_smoothing: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="unset: 0 with masks, 0.1 with boxes, whose edges and gaps are not to be trusted",
    )
    least_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="fields that show a rare structure are repeated until so large a share of an epoch shows it",
    )
    augment: bool = Field(default=True, description="flips, turns, colour and slight blur")
    choice_share: float = Field(
        default=0.1, gt=0, lt=1, description="share of groups on which the best epoch is chosen"
    )
    held_out_share: float = Field(
        default=0.15, gt=0, lt=1, description="share of groups that only the card's numbers see"
    )
    seed: int = 0

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> ExpertConfig:
        if self.choice_share + self.held_out_share >= 1:
            raise ValueError(
                f"choice_share {self.choice_share} and held_out_share {self.held_out_share} leave nothing to "
                "train on: their sum must be below 1"
            )
        return self
