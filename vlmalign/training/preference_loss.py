"""Which loss of pairs a `dpo` stage minimises: one set of settings per loss, each with only its own keys."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from vlmalign import losses
from vlmalign.losses import PairLoss, log_ratios
from vlmalign.training.listwise import RankedAnswers

Beta = Annotated[float, Field(gt=0, description="strength of the pull to the reference")]


class PairScores(NamedTuple):
    """What is known of B pairs when their loss is computed; columns are chosen and rejected.

    Attributes:
        policy: log-probabilities under the policy, summed over tokens, (B, 2).
        reference: those under the reference, (B, 2); None for a loss that needs none.
        tokens: tokens in the loss, (B, 2).
        margins: judge's margins, (B,), NaN where a record has none.
        mismatched: log-ratios of answers to other prompts, (M,), without gradient; for `needs_mismatched`.
        ranked: the answers by case; for `listwise`.
    """

    policy: Tensor
    reference: Tensor | None
    tokens: Tensor
    margins: Tensor
    mismatched: Tensor | None = None
    ranked: RankedAnswers | None = None

    def ratios(self) -> tuple[Tensor, Tensor]:
        """Log-ratios of the chosen and the rejected answers, (B,) each."""
        assert self.reference is not None
        chosen, rejected = (log_ratios(self.policy[:, k], self.reference[:, k]) for k in (0, 1))
        return chosen, rejected


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    needs_reference: ClassVar[bool] = True
    needs_margins: ClassVar[bool] = False
    needs_mismatched: ClassVar[bool] = False
    listwise: ClassVar[bool] = False  # one loss for each case, not for each pair


class Sigmoid(_Settings):
    """DPO; see `dpo_loss`."""

    name: Literal["sigmoid"] = "sigmoid"
    beta: Beta = 0.1
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="probability that a pair's label is wrong")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        return losses.dpo_loss(*scores.ratios(), beta=self.beta, label_smoothing=self.label_smoothing)


class Robust(_Settings):
    """DPO, unbiased under flipped labels; see `robust_dpo_loss`."""

    name: Literal["robust"]
    beta: Beta = 0.1
    flip_rate: float = Field(0.1, ge=0, lt=0.5, description="share of pairs that are the wrong way round")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        return losses.robust_dpo_loss(*scores.ratios(), beta=self.beta, flip_rate=self.flip_rate)


class Positive(_Settings):
    """DPO that keeps the chosen answer likely; see `dpo_positive_loss`."""

    name: Literal["positive"]
    beta: Beta = 0.1
    penalty: float = Field(50.0, ge=0, description="of a chosen answer that became less likely")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        return losses.dpo_positive_loss(*scores.ratios(), beta=self.beta, penalty=self.penalty)


class LengthControlled(_Settings):
    """DPO without what length explains; see `length_controlled_dpo_loss`."""

    name: Literal["length_controlled"]
    beta: Beta = 0.1
    alpha: float = Field(0.05, ge=0, description="reward taken off per token")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        lengths = scores.tokens.unbind(1)
        return losses.length_controlled_dpo_loss(*scores.ratios(), *lengths, beta=self.beta, alpha=self.alpha)


class Flex(_Settings):
    """DPO, gentler on the rejected answer; see `flex_dpo_loss`."""

    name: Literal["flex"]
    beta_chosen: Beta = 0.1
    beta_rejected: float = Field(0.05, gt=0, description="the same for the rejected answer, at most beta_chosen")

    @model_validator(mode="after")
    def _gentler(self) -> Flex:
        if self.beta_rejected > self.beta_chosen:
            raise ValueError(
                f"beta_rejected is {self.beta_rejected} and beta_chosen {self.beta_chosen}: lower beta_rejected"
            )
        return self

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        chosen, rejected = scores.ratios()
        return losses.flex_dpo_loss(
            chosen, rejected, beta_chosen=self.beta_chosen, beta_rejected=self.beta_rejected
        )


class Vpo(_Settings):
    """Offline value-incentivised preference optimisation, calibrated on the chosen answers; see `vpo_loss`."""

    name: Literal["vpo"]
    beta: Beta = 0.1
    alpha: float = Field(0.1, ge=0, description="weight of the pessimistic term")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        chosen, rejected = scores.ratios()
        return losses.vpo_loss(chosen, rejected, chosen, beta=self.beta, alpha=self.alpha)


class RewardScaled(_Settings):
    """MM-DPO: DPO whose beta grows with the judge's margin; see `reward_scaled_beta`."""

    needs_margins: ClassVar[bool] = True

    name: Literal["mm_dpo"]
    beta: Beta = 0.1
    weight: float = Field(0.5, ge=0, description="beta grows to (1 + weight) beta")
    rate: float = Field(0.5, gt=0, description="how fast it does, per unit of margin")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        beta = losses.reward_scaled_beta(scores.margins, beta=self.beta, weight=self.weight, rate=self.rate)
        return losses.dpo_loss(*scores.ratios(), beta=beta)


class Ipo(_Settings):
    """Identity preference optimisation; see `ipo_loss`."""

    name: Literal["ipo"]
    beta: Beta = 0.1
    per_token: bool = Field(True, description="average log-ratios over tokens; the paper sums them")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        chosen, rejected = scores.ratios()
        if self.per_token:
            chosen, rejected = chosen / scores.tokens[:, 0], rejected / scores.tokens[:, 1]
        return losses.ipo_loss(chosen, rejected, beta=self.beta)


class Hinge(_Settings):
    """Hinge on the DPO margin; see `hinge_loss`."""

    name: Literal["hinge"]
    beta: Beta = 0.1

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        return losses.hinge_loss(*scores.ratios(), beta=self.beta)


class Cpo(_Settings):
    """Contrastive preference optimisation, to be used with `sft_weight`; see `cpo_loss`."""

    needs_reference: ClassVar[bool] = False

    name: Literal["cpo"]
    beta: float = Field(0.1, gt=0, description="scale of the margin")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        return losses.cpo_loss(*scores.policy.unbind(1), beta=self.beta)


class Simpo(_Settings):
    """Simple preference optimisation; see `simpo_loss`."""

    needs_reference: ClassVar[bool] = False

    name: Literal["simpo"]
    beta: float = Field(2.0, gt=0, description="scale of the margin")
    gamma: float = Field(0.5, ge=0, description="margin that is asked for")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        return losses.simpo_loss(*(scores.policy / scores.tokens).unbind(1), beta=self.beta, gamma=self.gamma)


class Orpo(_Settings):
    """Odds-ratio preference optimisation, its token loss included; see `orpo_loss`."""

    needs_reference: ClassVar[bool] = False

    name: Literal["orpo"]
    weight: float = Field(0.1, gt=0, description="of the odds ratio against the token loss")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        return losses.orpo_loss(*(scores.policy / scores.tokens).unbind(1), weight=self.weight)


class Outcome(_Settings):
    """An implicit process reward model from outcomes: chosen is right, rejected is wrong; see `outcome_loss`."""

    name: Literal["outcome"]
    beta: float = Field(0.05, gt=0, description="scale of the reward")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        return losses.outcome_loss(*scores.ratios(), beta=self.beta)


class Kto(_Settings):
    """Kahneman-Tversky optimisation; see `kto_loss`.

    Chosen answers are desirable, rejected ones undesirable, and a pair's loss is the mean of both. So there are as
    many of the one kind as of the other, and the paper's rule for the weights reads 1 <= desirable_weight /
    undesirable_weight <= 4/3. The reference point is a mean over one forward pass (of all processes), without
    gradient: of a prompt and an answer to another case's prompt for each pair, drawn once for the whole run
    (`mismatched_answers`) and run in the same packed row. An answer that is chosen in one pair and rejected in
    another counts as both.
    """

    needs_mismatched: ClassVar[bool] = True

    name: Literal["kto"]
    beta: Beta = 0.1
    desirable_weight: float = Field(1.0, gt=0, description="factor of the losses of chosen answers")
    undesirable_weight: float = Field(1.0, gt=0, description="factor of the losses of rejected answers")

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of B pairs."""
        assert scores.mismatched is not None
        chosen, rejected = scores.ratios()
        n = len(chosen)
        result = losses.kto_loss(
            torch.cat([chosen, rejected]),
            torch.arange(2 * n, device=chosen.device) < n,
            scores.mismatched,
            beta=self.beta,
            desirable_weight=self.desirable_weight,
            undesirable_weight=self.undesirable_weight,
        )
        good, bad = result.losses.split(n)
        return PairLoss.of((good + bad) / 2, *result.rewards.split(n))


class PlackettLuce(_Settings):
    """Listwise DPO, the whole ranking of a case's answers at once; see `plackett_luce_loss`.

    The ranking is what the case's pairs amount to (`ranks_of`), ties included. A case's weight is the mean of its
    pairs' weights; margins do not count, as a ranking knows only the order.
    """

    listwise: ClassVar[bool] = True

    name: Literal["plackett_luce"]
    beta: Beta = 0.1

    def of(self, scores: PairScores) -> PairLoss:
        """Loss of the cases, (cases,), with the rewards of B pairs."""
        assert scores.ranked is not None
        chosen, rejected = scores.ratios()
        result = losses.plackett_luce_loss(*scores.ranked, beta=self.beta)
        return PairLoss.of(result.losses, self.beta * chosen, self.beta * rejected)


PreferenceLoss = Annotated[
    Sigmoid
    | Robust
    | Positive
    | LengthControlled
    | Flex
    | Vpo
    | RewardScaled
    | Ipo
    | Hinge
    | Cpo
    | Simpo
    | Orpo
    | Outcome
    | Kto
    | PlackettLuce,
    Field(discriminator="name"),
]
#: name -> its settings
LOSSES: dict[str, type[BaseModel]] = {
    get_args(kind.model_fields["name"].annotation)[0]: kind for kind in get_args(get_args(PreferenceLoss)[0])
}
