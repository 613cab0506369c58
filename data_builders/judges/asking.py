"""What passes between a judge's protocol and the model behind it: requests, replies, items to judge.

A protocol turns an item into requests and their replies into judgements; it knows no server, cache or budget.
A backend answers requests; it knows no protocol. The client between them keeps the promises: an answer that was
paid for is never asked for twice, and nothing leaves that may not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from vlmalign.records import Judgement, Message

ReplyState = Literal["answered", "cut", "refused", "failed"]


@dataclass(frozen=True)
class JudgeImage:
    """An image to show: where it is, and the hash of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class JudgeRequest:
    """One question to a judge.

    Attributes:
        messages: the chat; its image places are those of `images`, in order.
        images: what to show.
        prompt: id of the template that wrote it, `name@version`.
        display_order: ids of the answers in the order in which they are shown.
        sample: number of the sample, where one request is asked several times.
        temperature: of sampling; 0 is greedy.
        max_tokens: a longer reply is cut, and a cut reply is none.
    """

    messages: tuple[Message, ...]
    images: tuple[JudgeImage, ...]
    prompt: str
    display_order: tuple[str, ...] = ()
    sample: int = 0
    temperature: float = 0.0
    max_tokens: int = 512


@dataclass(frozen=True)
class JudgeReply:
    """What came back.

    Attributes:
        state: `answered`; `cut` by the token limit; `refused` by the model or a filter before it; `failed`: no
            readable answer after all retries.
        text: the reply; empty unless answered or cut.
        model: the model as the server names it.
        reason: why it is not answered, in plain language.
        prompt_tokens: tokens read, where the server tells.
        completion_tokens: tokens written, where the server tells.
        cached: whether it was answered before, and cost nothing now.
    """

    state: ReplyState
    text: str = ""
    model: str = ""
    reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached: bool = False


Ask = Callable[[JudgeRequest], Awaitable[JudgeReply]]


@dataclass(frozen=True)
class JudgeAnswer:
    """One answer to be judged: the id of its candidate (or pair and side), and its turns."""

    id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class JudgeItem:
    """A prompt with its images and the answers to it.

    Attributes:
        id: unique in the run.
        case_id: the case.
        prompt: what was asked.
        images: of the case, in the order of their places.
        answers: one or more; their texts are untrusted.
        reference: the reference text, where there is one.
    """

    id: str
    case_id: str
    prompt: tuple[Message, ...]
    images: tuple[JudgeImage, ...]
    answers: tuple[JudgeAnswer, ...]
    reference: str | None = None


class JudgeProtocol(Protocol):
    """How items are judged."""

    @property
    def id(self) -> str:
        """Name and version, e.g. `pairwise@1`."""

    async def judge(self, item: JudgeItem, jury: Mapping[str, Ask]) -> list[Judgement]:
        """Judge one item.

        Args:
            item: what to judge.
            jury: how to ask each model, by its id; protocols for one judge treat each alone.

        Returns:
            Judgements with ids that start with the item's; a reply that could not be read is an invalid one.
        """
