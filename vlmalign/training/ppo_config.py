"""Settings of the online stage; every contradiction is refused here, before anything is loaded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vlmalign.losses.kl import Estimator
from vlmalign.training.config import StageConfig, named_settings


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RewardSource(_Part):
    """A reward of `vlmalign.rewards`, by name."""

    name: str = Field(min_length=1, description="one that `vlmalign score --help` lists")
    settings: dict[str, Any] = Field(default_factory=dict, description="its settings")


class Confidence(_Part):
    """PPO-C: what an answer says of its own confidence changes its reward; see `confidence_adjusted`."""

    weight: float = Field(2.0, gt=0, description="of the adjustment")
    momentum: float = Field(0.1, gt=0, le=1, description="of a round's mean score in the running baseline")


class Shaping(_Part):
    """How a reward's scores become what the policy is trained on, in this order."""

    pessimism: float = Field(
        0.0, ge=0, description="standard deviations taken off the mean of an uncertain reward"
    )
    clip: float | None = Field(None, gt=0, description="largest score, and largest negative one")
    confidence: Confidence | None = Field(None, description="PPO-C, where answers end on `Confidence: 7`")
    steps: Literal["none", "sum", "clip", "delta"] = Field(
        "none",
        description="use the reward's scores of steps, not its one score; see `clipped_steps`, `delta_steps`",
    )
    step_threshold: float = Field(1.0, description="of steps: clip")
    whiten: Literal["none", "round", "running"] = Field(
        "none",
        description="divide by the standard deviation of valid scores of the round, or of all rounds so far",
    )
    cut: float | None = Field(
        None, description="score of answers that the token limit cut; default: they are invalid, as everywhere"
    )
    unscored: float | None = Field(
        None,
        description="score of whole answers that the reward cannot score; default: they are left out, and a "
        "policy may learn to say nothing that can be checked",
    )

    @model_validator(mode="after")
    def _one_kind_of_score(self) -> Shaping:
        if self.steps != "none" and (self.confidence or self.pessimism):
            name = "confidence" if self.confidence else "pessimism"
            raise ValueError(f"steps is {self.steps!r} and {name} works on the one score of an answer: drop one")
        return self


class Kl(_Part):
    """The pull to the reference, which is the policy as the stage began."""

    coefficient: float = Field(0.05, ge=0, description="beta; 0: no pull")
    estimator: Estimator = Field("k1", description="k1, k2 or k3, see `kl_estimate`")
    place: Literal["reward", "loss"] = Field(
        "reward", description="take it off every token's reward, or add it to the loss"
    )
    target: float | None = Field(None, gt=0, description="adapt beta so that the KL is this many nats per answer")
    horizon: float = Field(10000.0, gt=0, description="answers over which beta adapts")
    stop: float | None = Field(
        None, gt=0, description="end the run once a round's KL, in nats per answer, exceeds this"
    )
    budget: float | None = Field(
        None, gt=0, description="the best checkpoint may be this many nats per answer from the reference"
    )
    update: float | None = Field(
        None,
        gt=0,
        description="end a round's updates once the mean KL per token to the policy that sampled exceeds this",
    )

    @model_validator(mode="after")
    def _pulls(self) -> Kl:
        if self.place == "loss" and self.estimator == "k1" and self.coefficient:
            raise ValueError(
                "estimator k1 in the loss has an expected gradient of 0: use k2 or k3, or place: reward"
            )
        if self.target is not None and not self.coefficient:
            raise ValueError("target adapts the coefficient, which is 0: give one to begin with, or drop target")
        return self


class Gae(_Part):
    """PPO: a critic on the policy's own backbone, and generalised advantage estimation; see `gae`."""

    name: Literal["gae"] = "gae"
    gamma: float = Field(1.0, gt=0, le=1, description="discount per token")
    lam: float = Field(0.95, ge=0, le=1, description="lambda; 1: returns less values")
    whiten: bool = Field(True, description="of a round's advantages, over tokens")
    value_weight: float = Field(0.1, gt=0, description="of the critic's loss")
    value_clip: float | None = Field(0.2, gt=0, description="see `value_loss`; null: no bound")
    detach: bool = Field(False, description="keep the critic's gradient out of the backbone")


class Group(_Part):
    """GRPO: scores against those of the same prompt's other answers; see `group_advantages`."""

    name: Literal["group"]
    scale: bool = Field(True, description="divide by their standard deviation; false: Dr. GRPO")


class LeaveOneOut(_Part):
    """RLOO: scores against the mean of the same prompt's other answers; see `leave_one_out_advantages`."""

    name: Literal["leave_one_out"]


Advantage = Annotated[Gae | Group | LeaveOneOut, Field(discriminator="name")]
ADVANTAGES: dict[str, type[BaseModel]] = {"gae": Gae, "group": Group, "leave_one_out": LeaveOneOut}


class PpoConfig(StageConfig):
    """Online policy optimisation: rounds of sampling answers to cases, scoring them, and updating the policy.

    `advantage` chooses the algorithm: gae (PPO), group (GRPO) or leave_one_out (RLOO).
    """

    max_steps: int | None = Field(None, ge=1, description="rounds")
    max_flops: float | None = Field(
        None,
        gt=0,
        description="floating point operations of sampling, scoring and updates; rounds are taken while the next "
        "one, at the last one's cost, is paid for",
    )
    batch_size: int = Field(8, ge=1, description="cases per round and device")
    samples: int = Field(4, ge=1, description="answers per case")
    max_new_tokens: int = Field(128, ge=1, description="an answer is cut here")
    temperature: float = Field(1.0, gt=0, description="of sampling; the policy that is trained is the one at it")
    rollouts: Literal["local", "vllm"] = Field(
        "local", description="who samples: the policy itself, or vLLM beside it (extra vllm, one GPU, with lora)"
    )
    minibatches: int = Field(1, ge=1, description="updates per pass over a round's answers")
    passes: int = Field(2, ge=1, description="passes over a round's answers")
    gradient_accumulation: int = Field(1, ge=1, description="forward passes per update")

    reward: RewardSource = Field(description="what is maximised: a name, or name and settings")
    gold: RewardSource | None = Field(
        None, description="another reward, only measured: it shows over-optimisation"
    )
    shaping: Shaping = Field(Shaping(), description="of scores, before they are used")
    advantage: Advantage = Field(Gae(), description="a name, or name and settings: gae, group, leave_one_out")
    kl: Kl = Field(Kl(), description="the pull to the reference")
    clip_low: float = Field(
        0.2, gt=0, lt=1, description="lowest trusted ratio of new and old policy is 1 less this"
    )
    clip_high: float = Field(0.2, gt=0, description="highest trusted ratio is 1 plus this")
    least_scored: float = Field(
        0.9,
        ge=0,
        le=1,
        description="a checkpoint is kept only if this much of the start's share of held-out "
        "answers still has a score",
    )
    average: Literal["token", "answer"] = Field(
        "token", description="every token of an update counts the same, or every answer does"
    )

    max_length: int | None = Field(
        None, ge=1, description="refuse prompts longer than this many tokens, image tokens included"
    )
    save_steps: int | None = Field(None, ge=0, description="rounds between checkpoints; default 10; 0: none")
    logging_steps: int = Field(1, ge=1, description="rounds between two lines of metrics.jsonl")
    logged_answers: int = Field(2, ge=0, description="answers of each logged round written to answers.jsonl")
    eval_steps: int | None = Field(
        None, ge=1, description="rounds between evaluations; default: before the first round and at the end"
    )

    @field_validator("reward", "gold", mode="before")
    @classmethod
    def _a_name_is_a_reward(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("advantage", mode="before")
    @classmethod
    def _a_name_is_an_advantage(cls, value: Any) -> Any:
        return named_settings(value, "advantage", ADVANTAGES, default="gae")

    @model_validator(mode="after")
    def _answers_have_siblings(self) -> PpoConfig:
        if self.advantage.name != "gae":
            if self.samples < 2:
                raise ValueError(
                    f"samples is 1 and advantage {self.advantage.name!r} compares a case's answers: raise it"
                )
            if self.shaping.steps in ("clip", "delta"):
                raise ValueError(
                    f"shaping.steps is {self.shaping.steps!r} and advantage {self.advantage.name!r} sees only the "
                    "sum of an answer's steps: use steps: sum, or advantage: gae"
                )
        return self

    @model_validator(mode="after")
    def _updates_divide_a_round(self) -> PpoConfig:
        parts = self.minibatches * self.gradient_accumulation
        if self.batch_size % parts:
            raise ValueError(
                f"batch_size is {self.batch_size} cases and minibatches x gradient_accumulation is {parts}, which "
                "does not divide it: change one of them"
            )
        return self

    @model_validator(mode="after")
    def _vllm_is_given_adapters(self) -> PpoConfig:
        if self.rollouts == "vllm" and not self.lora:
            raise ValueError("rollouts is 'vllm', which is handed adapters, and lora is not set: set it")
        if self.rollouts == "vllm" and self.device == "cpu":
            raise ValueError("rollouts is 'vllm', which needs a GPU, and device is 'cpu': change one of them")
        return self

    @model_validator(mode="after")
    def _dropout_is_off(self) -> PpoConfig:
        if self.lora and self.lora.dropout:
            raise ValueError(
                f"lora.dropout is {self.lora.dropout}: the ratio of new and old policy would be noise. Set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _budget_has_its_evaluation(self) -> PpoConfig:
        if self.kl.budget is not None and not self.eval_data:
            raise ValueError(
                "kl.budget chooses among evaluated checkpoints and eval_data is empty: give eval_data"
            )
        return self

    def needs_old(self, pulled: bool) -> bool:
        """Whether log-probabilities of the policy that sampled are computed before the updates.

        Not where a single update follows, which is taken by that very policy. What vLLM reports is never used: its
        numerics are not the policy's.

        Args:
            pulled: whether the reference is needed.
        """
        several = self.passes * self.minibatches > 1
        measured = pulled and (self.kl.place == "reward" or self.temperature != 1)
        return several or measured or self.rollouts == "vllm" or isinstance(self.advantage, Gae)
