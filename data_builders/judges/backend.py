"""What answers a judge's requests: a server or a model in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from data_builders.judges.asking import JudgeReply, JudgeRequest


class EndpointError(ValueError):
    """The run cannot go on: asking again gives the same. It names the endpoint, what it said, and a remedy."""


class TransientError(Exception):
    """One attempt failed, and another one may not.

    Attributes:
        reason: what went wrong, in plain language.
        retry_after: seconds to wait, where the server said so.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class Backend(Protocol):
    """One model that judges.

    Attributes:
        id: its name in records.
        endpoint: the URL that requests are sent to; None: nothing leaves this process.
        identity: everything about it that decides its answers (the model, options of its own); never a key or a
            host, so that the same model on another host has the answers it gave already.
        concurrency: how many requests it takes at once.
    """

    id: str
    endpoint: str | None
    identity: Mapping[str, Any]
    concurrency: int

    async def prepare(self, request: JudgeRequest) -> Any:
        """Make everything ready to be sent: done once, before a place is free.

        Raises:
            DataError: an image that is missing, damaged or another one than the request says.
        """

    async def answer(self, prepared: Any, request: JudgeRequest, seed: int) -> JudgeReply:
        """Ask once.

        Raises:
            TransientError: asking again may help.
            EndpointError: it will not.
        """

    async def close(self) -> None:
        """Release connections and models."""
