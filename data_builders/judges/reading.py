"""What a reply is before its content is read: whole, cut, refused, failed, or an echo; none is a score."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from data_builders.judges.asking import JudgeAnswer, JudgeItem, JudgeReply, JudgeRequest
from data_builders.judges.showing import Showing, conversation_text
from vlmalign.records import Judgement
from vlmalign.records.hashing import sha256_bytes

#: why there is no score or verdict; the first word of every `invalid_reason`, before a colon
State = Literal[
    "cut", "refused", "failed", "echo", "unparsed", "inconsistent", "no_majority", "vote_tie", "no_quorum",
    "no_reference", "undefined", "alone", "not_improved", "unsupported",
]  # fmt: skip

_MARKUP = re.compile(r"[*_`#]+")
_SPACE = re.compile(r"\s+")
_THOUGHTS = re.compile(r"\A\s*(?:<think>)?(?:(?!<think>).)*?</think>", re.DOTALL)  # some servers drop the opening
LONGEST_ID = 200

R = TypeVar("R")


@dataclass(frozen=True)
class Unread:
    """Why there is no result.

    Attributes:
        state: for counting.
        why: for reading.
    """

    state: State
    why: str

    @property
    def reason(self) -> str:
        """As it stands in `Judgement.invalid_reason`."""
        return f"{self.state}: {self.why}" if self.why else self.state


def state_of(judgement: Judgement) -> str:
    """`judged`, or the state in which an invalid one is.

    Example:
        >>> state_of(Judgement(id="j", case_id="c", candidate_ids=("a",), criterion="x", judge="m",
        ...                    valid=False, invalid_reason="cut: after 512 tokens"))
        'cut'
    """
    return "judged" if judgement.valid else (judgement.invalid_reason or "").partition(":")[0]


def read_reply(reply: JudgeReply, untrusted: Iterable[str], read: Callable[[str], R | Unread]) -> R | Unread:
    """Read a reply, if it is whole and the judge's own.

    A reasoning model's thoughts (`<think> ... </think>`) are not its reply; thoughts without an end are a reply
    that was cut. A reply that is nothing but a piece of what it was shown says nothing of its own: a judge that
    repeats "VERDICT: A" from an answer has perhaps not decided, and whether it has cannot be told.

    Args:
        reply: from the judge.
        untrusted: the texts that were shown.
        read: the parser, which gets the reply's text and nothing else.
    """
    if reply.state != "answered":
        return Unread(reply.state, reply.reason or f"after {reply.completion_tokens or 'all'} tokens")
    text = _THOUGHTS.sub("", reply.text)
    if "<think>" in text:
        return Unread("cut", "its thoughts have no end")
    said = _plain(text)
    if not said:
        return Unread("unparsed", "the reply is empty")
    if any(said in _plain(shown) for shown in untrusted):
        return Unread("echo", "the reply only repeats what it was shown")
    return read(text)


def _plain(text: str) -> str:
    lines = (_MARKUP.sub("", line.removeprefix("|")) for line in text.splitlines())
    return _SPACE.sub(" ", " ".join(lines)).strip().lower()


def plain_lines(text: str) -> list[str]:
    r"""The non-empty lines of a reply without Markdown's emphasis, headings and code fences.

    Example:
        >>> plain_lines("**Verdict:** A\n\n```\n## x\n")
        ['Verdict: A', 'x']
    """
    lines = (_MARKUP.sub("", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def untrusted_texts(item: JudgeItem, shown: Iterable[JudgeAnswer]) -> list[str]:
    """What was shown to a judge and is not ours."""
    return [conversation_text(item.prompt), *(conversation_text(answer.messages) for answer in shown)]


def judge_name(model: str, protocol: str) -> str:
    """Id of a judge: its model and its protocol with version.

    Example:
        >>> judge_name("qwen", "pairwise@1")
        'qwen/pairwise@1'
    """
    return f"{model}/{protocol}"


def provenance(showing: Showing, request: JudgeRequest, reply: JudgeReply | None = None) -> dict[str, Any]:
    """What every record keeps: the template with its hash, the fence, and the model as the server names it."""
    kept: dict[str, Any] = {"prompt": request.prompt, "prompts": showing.prompts, "fence": showing.fence}
    if request.sample:
        kept["sample"] = request.sample
    if reply is not None and reply.model:
        kept["model"] = reply.model
    return kept


def invalid(judgement_id: str, item: JudgeItem, unread: Unread, **fields: Any) -> Judgement:
    """A judgement that says why it is none."""
    return Judgement(
        id=fit_id(judgement_id), case_id=item.case_id, valid=False, invalid_reason=unread.reason, **fields
    )


def fit_id(name: str) -> str:
    """An id of a record, which has 200 characters at most: the end of a longer one is its hash.

    Example:
        >>> fit_id("c1/m"), len(fit_id("m" * 300))
        ('c1/m', 200)
    """
    if len(name) <= LONGEST_ID:
        return name
    mark = sha256_bytes(name.encode())[:16]
    return f"{name[: LONGEST_ID - len(mark) - 1]}~{mark}"
