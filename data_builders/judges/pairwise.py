"""Two answers against each other in both display orders; only a verdict that survives the swap is one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

from pydantic import Field

from data_builders.judges.asking import Ask, JudgeAnswer, JudgeItem, JudgeReply, JudgeRequest
from data_builders.judges.reading import (
    Unread,
    fit_id,
    invalid,
    judge_name,
    provenance,
    read_reply,
    untrusted_texts,
)
from data_builders.judges.showing import Showing
from data_builders.judges.verdict import Spoken, read_verdict
from vlmalign.records import Judgement
from vlmalign.records.judgement import Verdict

CRITERION = "pairwise"
SINGLE = "pairwise.order"  # one display order


class Pairwise(Showing):
    """Both display orders of every two answers of an item.

    An item of K answers makes K (K - 1) / 2 pairs, and each pair two requests. Per pair and judge there are three
    judgements: one of each order (criterion `pairwise.order`) and the final one (`pairwise`), whose verdict is the
    one that both orders give. Where they differ, a tie against a verdict included, the final one is invalid with
    the state `inconsistent` (with `inconsistent: tie` it is a tie, and says in `extra` that it is that kind of
    tie).
    """

    template: str = "pairwise"
    ties: bool = Field(True, description="offer the judge a tie")
    confidence: bool = Field(False, description="ask how sure the judge is")
    inconsistent: Literal["invalid", "tie"] = Field("invalid", description="what two orders that differ are")

    @property
    def id(self) -> str:
        """Name and version."""
        return "pairwise@1"

    @property
    def criterion(self) -> str:
        """Of the final judgements; those behind them have another one, which begins with it."""
        return CRITERION

    async def judge(self, item: JudgeItem, jury: Mapping[str, Ask]) -> list[Judgement]:
        """Judge every two answers by each model alone; see `JudgeProtocol.judge`."""
        if len(item.answers) < 2:
            return [self.alone(item, model) for model in jury]
        pairs = every_two(item)
        tasks = [self.judge_pair(item, pair, model, ask) for model, ask in jury.items() for pair in pairs]
        return [judgement for some in await together(tasks) for judgement in some]

    def alone(self, item: JudgeItem, model: str) -> Judgement:
        """The judgement of an item with one answer: there is nothing to compare it with."""
        judge = judge_name(model, self.id)
        ids = (item.answers[0].id,)
        unread = Unread("alone", "there is one answer, nothing to compare it with")
        return invalid(
            f"{item.id}/{judge}", item, unread, candidate_ids=ids, criterion=self.criterion, judge=judge
        )

    async def judge_pair(self, item: JudgeItem, pair: Pair, model: str, ask: Ask) -> list[Judgement]:
        """The judgements of two answers by one model."""
        requests = [self.ask_for(item, shown) for shown in (pair, pair[::-1])]
        replies = await together([ask(request) for request in requests])
        single = [
            self.read(item, pair, model, request, reply, f"/{order}", SINGLE)
            for order, (request, reply) in enumerate(zip(requests, replies, strict=True))
        ]
        return [*single, self.combine(item, pair, model, single)]

    def ask_for(self, item: JudgeItem, shown: Sequence[JudgeAnswer], *, sample: int = 0) -> JudgeRequest:
        """The request that shows two answers in this order."""
        values = {"ties": self.ties, "confidence": self.confidence}
        return self.request(item, shown, values=values, sample=sample)

    def hear(self, item: JudgeItem, pair: Pair, reply: JudgeReply) -> Spoken | Unread:
        """What a reply says."""
        return read_reply(reply, untrusted_texts(item, pair), lambda text: read_verdict(text, ties=self.ties))

    def read(
        self,
        item: JudgeItem,
        pair: Pair,
        model: str,
        request: JudgeRequest,
        reply: JudgeReply,
        suffix: str,
        criterion: str,
    ) -> Judgement:
        """The judgement that one reply makes."""
        spoken = self.hear(item, pair, reply)
        return Judgement(
            id=fit_id(pair_id(item, pair, judge_name(model, self.id)) + suffix),
            case_id=item.case_id,
            candidate_ids=(pair[0].id, pair[1].id),
            criterion=criterion,
            judge=judge_name(model, self.id),
            display_order=request.display_order,
            critique=reply.text or None,
            extra=provenance(self, request, reply),
            **outcome(spoken, request.display_order, pair),  # type: ignore[arg-type]
        )

    def combine(self, item: JudgeItem, pair: Pair, model: str, single: Sequence[Judgement]) -> Judgement:
        """The final judgement from those of both orders."""
        decided = self._decide(single)
        extra = {key: value for key, value in single[0].extra.items() if key not in ("sample", "transcript")}
        given: dict[str, object] = {"valid": False, "invalid_reason": getattr(decided, "reason", None)}
        if not isinstance(decided, Unread):
            given = {"verdict": decided, "confidence": _mean([j.confidence for j in single])}
        elif decided.state == "inconsistent" and self.inconsistent == "tie":
            given, extra = {"verdict": "tie"}, {**extra, "state": "inconsistent"}
        return Judgement(
            id=fit_id(pair_id(item, pair, judge_name(model, self.id))),
            case_id=item.case_id,
            candidate_ids=(pair[0].id, pair[1].id),
            criterion=self.criterion,
            judge=judge_name(model, self.id),
            critique=single[0].critique,  # the letters of the other order are the other way round
            extra=extra,
            **given,  # type: ignore[arg-type]
        )

    @staticmethod
    def _decide(single: Sequence[Judgement]) -> Verdict | Unread:
        unread = [j for j in single if j.verdict is None]
        if unread:
            state, _, why = (unread[0].invalid_reason or "").partition(": ")
            which = "both orders" if len(unread) == len(single) else "one order"
            return Unread(state, f"{which}: {why}")  # type: ignore[arg-type]
        verdicts = {j.verdict for j in single}
        if len(verdicts) > 1:
            return Unread("inconsistent", " against ".join(str(j.verdict) for j in single))
        return single[0].verdict or Unread("unparsed", "")


Pair = tuple[JudgeAnswer, JudgeAnswer]


async def together(tasks: Sequence) -> list:  # type: ignore[type-arg]
    """Await all; an error is raised only after the others are done, so that what was paid for is kept."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    error = next((result for result in results if isinstance(result, BaseException)), None)
    if error is not None:
        raise error
    return list(results)


def every_two(item: JudgeItem) -> list[Pair]:
    """Every two answers of an item, in its order."""
    return list(combinations(item.answers, 2))


def pair_id(item: JudgeItem, pair: Pair, judge: str) -> str:
    """Id of a judgement of two answers; their places are in it where the item has more."""
    if len(item.answers) == 2:
        return f"{item.id}/{judge}"
    places = [item.answers.index(answer) for answer in pair]
    return f"{item.id}/{places[0]}-{places[1]}/{judge}"


def outcome(spoken: Spoken | Unread, order: Sequence[str], pair: Pair) -> dict[str, object]:
    """A displayed label as a verdict on the pair, or the reason why there is none."""
    if isinstance(spoken, Unread):
        return {"valid": False, "invalid_reason": spoken.reason}
    if spoken.label == "TIE":
        return {"verdict": "tie", "confidence": spoken.confidence}
    preferred = order["AB".index(spoken.label)]
    return {"verdict": "first" if preferred == pair[0].id else "second", "confidence": spoken.confidence}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
