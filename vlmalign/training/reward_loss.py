"""Which loss a `reward` stage minimises: settings with only its own keys, and the loss of a batch of pairs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from vlmalign.losses.reward import (
    RewardLoss,
    bradley_terry_loss,
    centring_penalty,
    rating_loss,
    scaled_bradley_terry_loss,
    tie_loss,
)
from vlmalign.losses.uncertain_rewards import (
    RewardMoments,
    evidential_pair_loss,
    gaussian_pair_loss,
    reward_moments,
)
from vlmalign.models.reward_head import Outputs


class PairOutputs(NamedTuple):
    """What a head says of B pairs, and what is known of them.

    Attributes:
        chosen: outputs of the chosen answers, (B, O).
        rejected: those of the rejected ones, (B, O).
        kind: what the outputs are.
        margins: the judge's margins, (B,), NaN where a record has none.
        ratings: of chosen and rejected, (B, 2), NaN where there is none.
    """

    chosen: Tensor
    rejected: Tensor
    kind: Outputs
    margins: Tensor
    ratings: Tensor

    def moments(self) -> tuple[RewardMoments, RewardMoments]:
        """Of the chosen and the rejected answers."""
        return reward_moments(self.chosen, self.kind), reward_moments(self.rejected, self.kind)

    def differences(self) -> Tensor:
        """Reward of chosen minus rejected, (B,), with gradient."""
        chosen, rejected = self.moments()
        return chosen.mean - rejected.mean


def _pair_loss(pairs: PairOutputs, margins: Tensor | None, kl_weight: float) -> RewardLoss:
    if pairs.kind == "evidence":
        return evidential_pair_loss(pairs.chosen, pairs.rejected, kl_weight=kl_weight)
    chosen, rejected = pairs.moments()
    if pairs.kind == "gaussian":
        return gaussian_pair_loss(chosen, rejected, margins)
    return bradley_terry_loss(chosen.mean, rejected.mean, margins)


def _rating_losses(pairs: PairOutputs) -> Tensor:
    """Mean over the rated answers of each pair, (B,)."""
    each = []
    for side, found in enumerate(pairs.moments()):
        spread = None if found.variance is None else found.variance.log()
        each.append(rating_loss(found.mean, pairs.ratings[:, side], spread))
    known = (~pairs.ratings.isnan()).sum(1).clamp_min(1)
    return (each[0] + each[1]) / known


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    needs_pairs: ClassVar[bool] = True
    needs_margins: ClassVar[bool] = False
    scales_by_margin: ClassVar[bool] = False
    needs_ratings: ClassVar[bool] = False


class BradleyTerry(_Settings):
    """The chosen answer wins; see `bradley_terry_loss`, and of other outputs the loss of their kind."""

    name: Literal["bradley_terry"] = "bradley_terry"
    kl_weight: float = Field(0.1, ge=0, description="with outputs evidence: of the evidence for the wrong outcome")

    def of(self, pairs: PairOutputs) -> RewardLoss:
        """Loss of B pairs."""
        return _pair_loss(pairs, None, self.kl_weight)


class Margin(_Settings):
    """The chosen answer wins by the pair's margin."""

    needs_margins: ClassVar[bool] = True

    name: Literal["margin"]

    def of(self, pairs: PairOutputs) -> RewardLoss:
        """Loss of B pairs."""
        return _pair_loss(pairs, pairs.margins, 0.0)


class Scaled(_Settings):
    """Each pair counts as much as its margin; see `scaled_bradley_terry_loss`."""

    needs_margins: ClassVar[bool] = True
    scales_by_margin: ClassVar[bool] = True

    name: Literal["scaled"]

    def of(self, pairs: PairOutputs) -> RewardLoss:
        """Loss of B pairs."""
        chosen, rejected = pairs.moments()
        return scaled_bradley_terry_loss(chosen.mean, rejected.mean, pairs.margins)


class Regression(_Settings):
    """Rewards are the ratings; see `rating_loss`."""

    needs_pairs: ClassVar[bool] = False
    needs_ratings: ClassVar[bool] = True

    name: Literal["regression"]

    def of(self, pairs: PairOutputs) -> RewardLoss:
        """Loss of B pairs, the mean over their rated answers."""
        chosen, rejected = pairs.moments()
        return RewardLoss(_rating_losses(pairs), (chosen.mean - rejected.mean).detach())


class Combined(_Settings):
    """Bradley-Terry, and ratings where there are some."""

    needs_ratings: ClassVar[bool] = True

    name: Literal["combined"]
    rating_weight: float = Field(1.0, gt=0, description="factor of the ratings' loss")

    def of(self, pairs: PairOutputs) -> RewardLoss:
        """Loss of B pairs."""
        found = _pair_loss(pairs, None, 0.0)
        return RewardLoss(found.losses + self.rating_weight * _rating_losses(pairs), found.margins)


RewardLossSettings = Annotated[BradleyTerry | Margin | Scaled | Regression | Combined, Field(discriminator="name")]
#: name -> its settings
LOSSES: dict[str, type[BaseModel]] = {
    get_args(kind.model_fields["name"].annotation)[0]: kind for kind in get_args(get_args(RewardLossSettings)[0])
}


def losses_of_pairs(
    loss: RewardLossSettings, pairs: PairOutputs, *, centring: float, tie_weight: float | None
) -> Tensor:
    """The loss of each pair, ties and centring included, (B,).

    Args:
        loss: what pairs that are no ties cost.
        pairs: B pairs.
        centring: factor of the penalty that keeps rewards near zero.
        tie_weight: factor of the loss of pairs of margin 0; None: they are pairs as any other.
    """
    ties = pairs.margins == 0
    if tie_weight is not None:  # their own loss replaces this one, which may refuse a margin of 0
        losses = loss.of(pairs._replace(margins=pairs.margins.masked_fill(ties, 1.0))).losses
    else:
        losses = loss.of(pairs).losses
    chosen, rejected = (each.mean for each in pairs.moments())
    if tie_weight is not None:
        losses = torch.where(ties, tie_weight * tie_loss(chosen, rejected), losses)
    if centring:
        losses = losses + centring * centring_penalty(chosen, rejected)
    return losses
