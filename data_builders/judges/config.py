"""What a run of judges is given: `vlmalign build judge CONFIG.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from data_builders.judges.backend import Backend
from data_builders.judges.budget import Budget, Price
from data_builders.judges.client import Retries


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OpenAIJudge(_Settings):
    """A model behind an OpenAI-compatible chat endpoint; the key stays in the environment."""

    backend: Literal["openai"] = "openai"
    model: str = Field(min_length=1, description="its name at the endpoint")
    base_url: str = Field("https://api.openai.com/v1", description="of the API, e.g. http://127.0.0.1:8000/v1")
    api_key_env: str | None = Field(None, description="name of the environment variable that holds the key")
    id: str = Field("", description="name in records; default the model's")
    price: Price = Field(Price(), description="of its tokens, for the budget")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="further fields of every request")
    concurrency: int = Field(8, ge=1, le=1000, description="requests in flight at once")
    timeout: float = Field(120.0, gt=0, description="seconds that one attempt may take")
    token_limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the endpoint calls the limit of a reply"
    )
    send_temperature: bool = Field(True, description="false for models that refuse it")

    def open(self) -> Backend:
        """The backend."""
        from data_builders.judges.openai_backend import OpenAIBackend

        return OpenAIBackend(**self.model_dump(exclude={"backend", "price"}))


class HuggingFaceJudge(_Settings):
    """A model that runs in this process; nothing leaves the machine."""

    backend: Literal["huggingface"]
    model: str = Field(min_length=1, description="folder, GGUF file, or name on the hub")
    gguf: str | None = Field(None, description="which GGUF file, where there are several")
    id: str = Field("", description="name in records; default the last part of the model's")
    price: Price = Field(Price(), description="of its tokens, for the budget")
    device: str = Field("auto", description="cpu, cuda ...; auto: the GPU where there is one")
    dtype: str = Field("auto", description="of the weights; auto: as they are stored")
    batch_size: int = Field(
        1, ge=1, le=1000, description="requests answered together; above 1 rounding may change a near tie"
    )

    def open(self) -> Backend:
        """The backend."""
        from data_builders.judges.huggingface_backend import HuggingFaceBackend

        return HuggingFaceBackend(**self.model_dump(exclude={"backend", "price"}))


Judge = Annotated[OpenAIJudge | HuggingFaceJudge, Field(discriminator="backend")]


class JudgeConfig(_Settings):
    """A run of judges over answers.

    Example:
        >>> config = JudgeConfig.model_validate({"protocol": "pairwise", "pairs": "p", "out": "o",
        ...     "cache": "c", "judges": [{"backend": "huggingface", "model": "my-model"}]})
        >>> config.protocol, config.judges[0].device
        ({'name': 'pairwise'}, 'auto')
    """

    protocol: dict[str, Any] = Field(description="its name, or its name and options")
    judges: tuple[Judge, ...] = Field(min_length=1, description="one model, or a list: the members of a jury")
    cases: Path | None = Field(None, description="folder of cases; with pairs, for their references")
    candidates: Path | None = Field(None, description="folder of candidates to these cases")
    pairs: Path | None = Field(None, description="folder of preference pairs, instead of candidates")
    out: Path = Field(description="folder of judgements to write")
    cache: Path = Field(description="folder of answers; runs may share it")
    limit: int | None = Field(None, ge=1, description="only the first so many cases or pairs")
    seed: int = Field(0, description="of sampling")
    budget: Budget = Field(Budget(), description="what may be asked, read and spent in all")
    retries: Retries = Field(Retries(), description="of requests that fail")
    approved_endpoints: tuple[str, ...] = Field((), description="URLs that restricted data may be sent to")

    @field_validator("judges", mode="before")
    @classmethod
    def _one_or_several(cls, judges: Any) -> Any:
        """One judge may stand alone; its backend is `openai` where it does not say."""
        several = [judges] if isinstance(judges, Mapping) else judges
        if not isinstance(several, (list, tuple)):
            return several
        return [{"backend": "openai", **judge} if isinstance(judge, Mapping) else judge for judge in several]

    @field_validator("protocol", mode="before")
    @classmethod
    def _name_alone(cls, protocol: Any) -> Any:
        """A name alone is the protocol with its defaults."""
        return {"name": protocol} if isinstance(protocol, str) else protocol

    @field_validator("protocol")
    @classmethod
    def _named(cls, protocol: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(protocol.get("name"), str):
            raise ValueError("a protocol has a name, e.g. {name: pairwise}")
        return protocol

    @model_validator(mode="after")
    def _one_input(self) -> JudgeConfig:
        if self.pairs is not None and self.candidates is not None:
            raise ValueError("pairs and candidates are given: drop one of the two")
        if self.pairs is None and (self.cases is None or self.candidates is None):
            raise ValueError("give cases and candidates, or pairs")
        return self
