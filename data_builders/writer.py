"""A language model that writes texts: asked through the judges' client, so that nothing is paid for twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data_builders.judges.asking import Ask
from data_builders.judges.budget import Budget, Purse
from data_builders.judges.cache import AnswerCache
from data_builders.judges.client import JudgeClient, Retries
from data_builders.judges.config import Judge
from data_builders.judges.data_use import check_data_use
from vlmalign.records.hashing import config_hash
from vlmalign.records.manifest import DataUse

#: opens a way to ask for the time of a run, and closes it after
OpenAsk = Callable[[], AbstractAsyncContextManager[Ask]]


class WriterConfig(BaseModel):
    """Which model writes, and what it may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Judge = Field(description="as a judge of `vlmalign build judge`: backend, model, base_url ...")
    cache: Path = Field(description="folder of answers; runs may share it")
    budget: Budget = Field(Budget(), description="what may be asked, read and spent in all")
    retries: Retries = Field(Retries(), description="of requests that fail")
    approved_endpoints: tuple[str, ...] = Field((), description="URLs that restricted data may be sent to")
    seed: int = Field(0, description="of sampling")

    @field_validator("model", mode="before")
    @classmethod
    def _openai_by_default(cls, model: Any) -> Any:
        return {"backend": "openai", **model} if isinstance(model, Mapping) else model


def open_writer(config: WriterConfig, folders: Mapping[Path, DataUse]) -> tuple[str, OpenAsk]:
    """A writer's identity, for the config of what it writes, and how to ask it.

    Args:
        config: which model.
        folders: what will be sent -> where it may be sent.

    Raises:
        DataUseError: the data may not be sent there; nothing was sent.
    """
    check_data_use(folders, [getattr(config.model, "base_url", None)], config.approved_endpoints)
    backend = config.model.open()
    identity = f"{backend.id}:{config_hash([dict(backend.identity), config.seed])[:12]}"

    @asynccontextmanager
    async def opened() -> AsyncIterator[Ask]:
        cache = AnswerCache(config.cache, run=config_hash(["writer", identity]))
        purse = Purse(config.budget, {backend.id: config.model.price}, earlier=cache.spent_before)
        client = JudgeClient(backend, cache, purse, retries=config.retries, seed=config.seed)
        try:
            yield client.ask
        finally:
            await client.drain()  # what is in flight is answered, and kept
            await backend.close()
            cache.close()

    return identity, opened


def always(ask: Ask) -> OpenAsk:
    """A way to ask that needs no opening."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Ask]:
        yield ask

    return opened
