"""A writer revises an answer by its judges' critiques, as long as the judges score it higher.

The feedback loop of The Fellowship of the LLMs (Arif et al. 2024, arXiv:2408.08688), with an end: rounds are
limited, and a revision that is not scored higher than what it revises is not taken.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from data_builders.judges.asking import Ask, JudgeAnswer, JudgeItem, JudgeReply
from data_builders.judges.green import Green
from data_builders.judges.pairwise import together
from data_builders.judges.pointwise import Pointwise, answer_id
from data_builders.judges.reading import Unread, invalid, judge_name, read_reply, untrusted_texts
from data_builders.judges.showing import Showing
from vlmalign.records import Judgement, assistant

CRITERION = "feedback"
REVISED = "REVISED"


@dataclass
class _Loop:
    """What has happened to one answer."""

    best: JudgeAnswer
    place: int
    score: float | None = None
    judged: list[Judgement] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    why: str = ""
    accepted: int = 0


class Feedback(Showing):
    """Judges score and criticise an answer, one model revises it, and the judges score the revision.

    Per answer there are the judgements of every version by every judge (of the inner protocol), and a final one
    (`feedback`) on the answer and its last accepted revision: the verdict is for the revision, whose text is
    `extra["revision"]`. Where no revision was accepted the final one is invalid with the state `not_improved` and
    the reason. A version's score is the mean of its judges; where one of them gave none, the loop ends.

    Where the writer is the only model it judges itself, and likes itself: name a judge beside it.
    """

    template: str = Field("revise", description="what the writer is asked")
    writer: str = Field(min_length=1, description="id of the model that revises; the others judge")
    protocol: Literal["pointwise", "green"] = Field("pointwise", description="how the versions are scored")
    options: dict[str, Any] = Field(default_factory=dict, description="of that protocol")
    rounds: int = Field(2, ge=1, le=10, description="revisions at most")
    target: float = Field(1.0, description="a version that scores so much is not revised")
    min_gain: float = Field(0.05, gt=0, description="a revision must score so much more to be accepted")

    @field_validator("reference")
    @classmethod
    def _writer_sees_no_reference(cls, reference: bool) -> bool:
        if reference:
            raise ValueError("the writer must not see the reference: give {reference: true} in options, to judges")
        return reference

    _inner: list[Pointwise | Green] = PrivateAttr(default_factory=list)

    @model_validator(mode="after")
    def _make_inner(self) -> Feedback:
        self._inner.append(Pointwise(**self.options) if self.protocol == "pointwise" else Green(**self.options))
        return self

    @property
    def id(self) -> str:
        """Name and version."""
        return "feedback@1"

    @property
    def criterion(self) -> str:
        """Of the final judgements."""
        return CRITERION

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that decides the requests and what is made of them."""
        return {**super().fingerprint, "inner": self.inner().fingerprint}

    def inner(self) -> Pointwise | Green:
        """The protocol that scores versions."""
        return self._inner[0]

    async def judge(self, item: JudgeItem, jury: Mapping[str, Ask]) -> list[Judgement]:
        """Revise each answer of an item; see `JudgeProtocol.judge`.

        Raises:
            ValueError: no model has the writer's id.
        """
        if self.writer not in jury:
            raise ValueError(f"writer {self.writer!r} is none of the models {list(jury)}: name one of them.")
        done = await together([self._revise(item, answer, jury) for answer in item.answers])
        return [judgement for judgements in done for judgement in judgements]

    async def _revise(self, item: JudgeItem, answer: JudgeAnswer, jury: Mapping[str, Ask]) -> list[Judgement]:
        judges = {name: ask for name, ask in jury.items() if name != self.writer} or dict(jury)
        loop = _Loop(answer, item.answers.index(answer))
        if len(answer.messages) > 1:
            unread = Unread("unsupported", "a conversation of several turns is not revised")
            return [self._final(item, answer, jury, loop, unread)]
        loop.score, critique = await self._scored(item, answer, judges, loop, 0)
        for number in range(1, self.rounds + 1):
            if loop.score is None or loop.score >= self.target:
                loop.why = "a version was not scored" if loop.score is None else f"the score is {loop.score:g}"
                break
            if not await self._one_round(item, answer, jury, judges, loop, critique, number):
                break
            critique = loop.told[-1]["critique"]
        return [*loop.judged, self._final(item, answer, jury, loop, None)]

    async def _one_round(
        self,
        item: JudgeItem,
        answer: JudgeAnswer,
        jury: Mapping[str, Ask],
        judges: Mapping[str, Ask],
        loop: _Loop,
        critique: str,
        number: int,
    ) -> bool:
        """One revision; whether it was accepted."""
        blocks = {"critiques": ("CRITIQUES", critique)}
        request = self.request(item, [loop.best], blocks=blocks, sample=number)
        reply = await jury[self.writer](request)
        text = read_revision(reply, untrusted_texts(item, [loop.best]))
        if isinstance(text, Unread):
            loop.why = f"revision {number} cannot be read ({text.reason})"
            return False
        if text.split() == loop.best.messages[0].text.split():
            loop.why = f"revision {number} changes nothing"
            return False
        version = JudgeAnswer(f"{answer.id}/revision/{number}", (assistant(text),))
        score, _ = await self._scored(item, version, judges, loop, number)
        before = loop.score or 0.0
        if score is None or score < before + self.min_gain:
            scored = "is not scored" if score is None else f"scores {score:g} after {before:g}"
            loop.why = f"revision {number} {scored}"
            return False
        loop.best, loop.score, loop.accepted = version, score, number
        return True

    async def _scored(
        self, item: JudgeItem, version: JudgeAnswer, judges: Mapping[str, Ask], loop: _Loop, number: int
    ) -> tuple[float | None, str]:
        """Mean score of a version, None where a judge gave none, and the critiques."""
        name = f"{item.id}/{loop.place}/version/{number}"
        alone = JudgeItem(name, item.case_id, item.prompt, item.images, (version,), item.reference)
        judged = await self.inner().judge(alone, judges)
        told = {"text": version.messages[0].text} if number else {}
        loop.judged += [j.model_copy(update={"extra": {**j.extra, "version": number, **told}}) for j in judged]
        scores = [j.score for j in judged if j.score is not None]
        score = statistics.fmean(scores) if len(scores) == len(judged) else None
        critique = "\n\n".join(j.critique for j in judged if j.valid and j.critique)
        loop.told.append({"version": number, "score": score, "critique": critique, **told})
        return score, critique

    def _final(
        self, item: JudgeItem, answer: JudgeAnswer, jury: Mapping[str, Ask], loop: _Loop, unread: Unread | None
    ) -> Judgement:
        judge = judge_name("+".join(jury), self.id)
        fields: dict[str, Any] = {"criterion": CRITERION, "judge": judge}
        number = answer_id(item, answer, judge)
        ended = {"ended": loop.why or "all rounds are used", "transcript": loop.told}
        if unread is not None or not loop.accepted:
            unread = unread or Unread("not_improved", loop.why)
            return invalid(number, item, unread, candidate_ids=(answer.id,), extra=ended, **fields)
        first = next(told["score"] for told in loop.told if told["version"] == 0)
        return Judgement(
            id=number,
            case_id=item.case_id,
            candidate_ids=(answer.id, loop.best.id),
            verdict="second",
            components={
                "score_first": first,
                "score_second": loop.score or 0.0,
                "revisions": float(loop.accepted),
            },
            critique=loop.told[0]["critique"] or None,
            extra={**ended, "revision": loop.best.messages[0].text},
            **fields,
        )


def read_revision(reply: JudgeReply, untrusted: Sequence[str]) -> str | Unread:
    r"""The new answer in a writer's reply: all that stands after the line `REVISED`, which is there once.

    Args:
        reply: from the writer.
        untrusted: what it was shown.

    Example:
        >>> read_revision(JudgeReply("answered", "I see.\nREVISED\nNo effusion."), [])
        'No effusion.'
    """
    return read_reply(reply, untrusted, _after_the_word)


def _after_the_word(text: str) -> str | Unread:
    lines = text.splitlines()
    starts = [n for n, line in enumerate(lines) if line.strip(" *#:") == REVISED]
    if len(starts) != 1:
        return Unread("unparsed", f"there are {len(starts)} lines {REVISED}, expected 1")
    revised = "\n".join(lines[starts[0] + 1 :]).strip()
    return revised or Unread("unparsed", f"nothing stands after {REVISED}")
