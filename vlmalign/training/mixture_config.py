"""Settings of the gated mixture of objectives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vlmalign.models.task_router import TaskRouter
from vlmalign.training.config import RunConfig, named_settings


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attribute(_Part):
    """What one head learns: a number of judgements, or the number of words; exactly one of the two."""

    judgements: str | None = Field(None, description="folder of judgements of the candidates")
    criterion: str | None = Field(None, description="those of this criterion; needed where there are several")
    component: str | None = Field(None, description="this part of a score; default the score itself")
    words: bool = Field(False, description="the number of words of the answer")
    lower_is_better: bool = Field(False, description="turn the sign, so that more is better")

    @model_validator(mode="after")
    def _one_source(self) -> Attribute:
        if self.words == (self.judgements is not None):
            raise ValueError("words and judgements: set exactly one of them")
        if self.words and (self.criterion or self.component):
            raise ValueError("criterion and component choose among judgements, and words has none: drop them")
        return self


class AnswerFolders(_Part):
    """Answers, and the cases that they answer."""

    cases: str = Field(min_length=1, description="folder of cases")
    candidates: str = Field(min_length=1, description="folder of candidates to these cases")


class QuestionTasks(_Part):
    """Tasks by what a prompt asks; patterns are tried in order on its last question."""

    name: Literal["question"]
    patterns: dict[str, str] = Field(min_length=1, description="task: regular expression; case does not matter")
    otherwise: str | None = Field(
        None, description="task of prompts that no pattern fits; default: such a prompt is refused"
    )

    @model_validator(mode="after")
    def _makes_a_router(self) -> QuestionTasks:
        self.router()
        return self

    def router(self) -> TaskRouter:
        """The router that these settings describe."""
        names = dict.fromkeys([*self.patterns, *([] if self.otherwise is None else [self.otherwise])])
        return TaskRouter(list(names), by="question", patterns=self.patterns, otherwise=self.otherwise)


class DomainTasks(_Part):
    """Tasks are the cases' domains; a linear classifier of the prompt's state learns to tell them."""

    name: Literal["domain"]


Tasks = Annotated[QuestionTasks | DomainTasks, Field(discriminator="name")]
TASKS: dict[str, type[BaseModel]] = {"question": QuestionTasks, "domain": DomainTasks}


class Gate(_Part):
    """The gate's network and how it is trained."""

    width: int = Field(256, ge=1, description="of its hidden layers")
    layers: int = Field(2, ge=0, description="how many; 0: a linear gate")
    dropout: float = Field(0.2, ge=0, lt=1, description="behind each of them")
    temperature: float = Field(10.0, gt=0, description="of its softmax: a high one keeps weights alike")
    epochs: int = Field(20, ge=1, description="passes over the pairs")
    batch_size: int = Field(256, ge=1, description="pairs per step")
    learning_rate: float = Field(1e-3, gt=0, description="of AdamW")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW")


class MixtureConfig(RunConfig):
    """A gated mixture of objectives on a frozen model; `data` are the pairs that its gate learns from."""

    answers: AnswerFolders = Field(description="answers that the heads learn from")
    attributes: dict[str, Attribute] = Field(
        min_length=2,
        description="name: its source, {judgements, criterion, component, lower_is_better} or {words: true}",
    )
    verbosity: str | None = Field(
        None, description="the attribute that is taken out of all others, and is no objective itself"
    )
    verbosity_bound: float = Field(
        0.03, gt=0, lt=1, description="largest rank correlation with it, either way, that is left"
    )
    verbosity_step: float = Field(
        0.01,
        gt=0,
        description="how much more of it is tried each time, in units of std(objective) / std(verbosity)",
    )
    verbosity_most: float = Field(1.5, gt=0, description="how much of it is tried at most, in these units")
    verbosity_unmet: Literal["error", "record"] = Field(
        "error",
        description="where no factor reaches the bound: stop, or take the best one and write down that it fails",
    )
    reference: AnswerFolders | None = Field(
        None, description="answers that verbosity is measured on; default those of `answers`"
    )
    penalties: tuple[float, ...] = Field(
        (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4), min_length=1, description="of ridge regression, to try"
    )
    validation_share: float = Field(0.2, gt=0, lt=1, description="of groups, to choose the penalty by")
    tasks: Tasks | None = Field(None, description="one gate per task instead of one for all")
    gate: Gate = Field(Gate(), description="its network and training")
    encode_batch_size: int = Field(32, ge=1, description="answers per forward pass of the frozen model")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of the frozen model")

    @field_validator("tasks", mode="before")
    @classmethod
    def _a_name_is_tasks(cls, value: Any) -> Any:
        return None if value is None else named_settings(value, "tasks", TASKS, default="question")

    @field_validator("penalties")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value[0] <= 0 or list(value) != sorted(set(value)):
            raise ValueError("expected numbers above 0 that ascend: sort them")
        return value

    @field_validator("attributes")
    @classmethod
    def _names_are_free(cls, value: dict[str, Attribute]) -> dict[str, Attribute]:
        for name in value:
            if not name or name == "task" or name.startswith("gate/"):
                raise ValueError(f"the name {name!r} is used for another part of a score: choose another")
        return value

    @model_validator(mode="after")
    def _verbosity_is_an_attribute(self) -> MixtureConfig:
        if self.verbosity is None:
            given = sorted(
                {"verbosity_bound", "verbosity_step", "verbosity_most", "verbosity_unmet", "reference"}
                & self._given()
            )
            if given:
                raise ValueError(f"{given[0]} is set and verbosity is not: name its attribute, or drop {given[0]}")
        elif self.verbosity_step > self.verbosity_most:
            raise ValueError(
                f"verbosity_step is {self.verbosity_step} and verbosity_most {self.verbosity_most}: lower the step"
            )
        elif self.verbosity not in self.attributes:
            raise ValueError(
                f"verbosity is {self.verbosity!r}, expected one of the attributes {', '.join(self.attributes)}"
            )
        if self.verbosity is not None and "verbosity" in self.objectives:
            raise ValueError("the objective 'verbosity' is not what `verbosity` names: rename it")
        if len(self.objectives) < 2:
            raise ValueError(f"{len(self.objectives)} objective is left, expected 2 or more: add attributes")
        return self

    def _given(self) -> set[str]:
        return {name for name in self.model_fields_set if getattr(self, name) is not None}

    @property
    def verbosity_factors(self) -> list[float]:
        """Absolute values of lambda to try."""
        return [
            self.verbosity_step * i for i in range(1, int(self.verbosity_most / self.verbosity_step + 1e-9) + 1)
        ]

    @property
    def objectives(self) -> list[str]:
        """All attributes but verbosity."""
        return [name for name in self.attributes if name != self.verbosity]
