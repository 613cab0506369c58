"""Several models judge, and what most of them say, or their mean score, is the judgement."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from data_builders.judges.asking import Ask, JudgeItem
from data_builders.judges.green import Green
from data_builders.judges.pairwise import Pairwise
from data_builders.judges.pointwise import Pointwise
from data_builders.judges.reading import Unread, fit_id, state_of
from data_builders.judges.vote import Vote
from data_builders.judges.voting import count_votes, majority
from vlmalign.records import Judgement
from vlmalign.records.scores import MEMBER

MEMBERS: dict[str, type[Pairwise | Pointwise | Green]] = {
    "pairwise": Pairwise,
    "vote": Vote,
    "pointwise": Pointwise,
    "green": Green,
}


class Jury(BaseModel):
    """Every model of the jury judges by one protocol; their judgements are kept, and one of the jury follows them.

    Verdicts: that of strictly more than half of the jury, absent members included (states `vote_tie`,
    `no_majority`, `unparsed`). Scores: the mean of the members that gave one, with their sample standard
    deviation, if these are more than `quorum` of the jury (state `no_quorum`); components are means as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["pairwise", "vote", "pointwise", "green"] = Field(
        "pairwise", description="what each member does"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="of that protocol")
    quorum: float = Field(0.5, ge=0, lt=1, description="more than this share of the jury must have scored")

    _member: list[Pairwise | Pointwise | Green] = PrivateAttr(default_factory=list)

    @model_validator(mode="after")
    def _make_member(self) -> Jury:
        self._member.append(MEMBERS[self.protocol](**self.options))
        return self

    @property
    def id(self) -> str:
        """Name and version."""
        return "jury@1"

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that decides the requests and what is made of them."""
        return {**self.model_dump(mode="json"), "member": self.member().fingerprint}

    def member(self) -> Pairwise | Pointwise | Green:
        """The protocol of each member."""
        return self._member[0]

    async def judge(self, item: JudgeItem, jury: Mapping[str, Ask]) -> list[Judgement]:
        """Judge an item by all models; see `JudgeProtocol.judge`.

        Raises:
            ValueError: there is one model only.
        """
        check_jury(jury, self.id)
        member = self.member()
        found = await member.judge(item, jury)
        finals: dict[tuple[str, ...], list[Judgement]] = defaultdict(list)
        for judgement in found:
            if judgement.criterion == member.criterion:
                finals[judgement.candidate_ids].append(judgement)
        return found + [self._of_all(item, n, judged, jury) for n, judged in enumerate(finals.values())]

    def _of_all(
        self, item: JudgeItem, number: int, judged: Sequence[Judgement], jury: Mapping[str, Ask]
    ) -> Judgement:
        scored = issubclass(MEMBERS[self.protocol], (Pointwise, Green))
        states = {j.judge: state_of(j) for j in judged}
        return Judgement(
            id=fit_id(f"{item.id}/{number}/{jury_name(jury, self.id)}"),
            case_id=item.case_id,
            candidate_ids=judged[0].candidate_ids,
            criterion=f"jury.{judged[0].criterion}",
            judge=jury_name(jury, self.id),
            extra={**judged[0].extra, "members": states},
            **(_all_in_one_state(judged) or (self._scores(judged) if scored else _verdicts(judged))),
        )

    def _scores(self, judged: Sequence[Judgement]) -> dict[str, Any]:
        scores = [j.score for j in judged if j.score is not None]
        if len(scores) <= self.quorum * len(judged):
            why = f"{len(scores)} of {len(judged)} members scored it"
            return {"valid": False, "invalid_reason": Unread("no_quorum", why).reason}
        names = sorted(set.intersection(*(set(j.components) for j in judged if j.valid)))
        components = {name: statistics.fmean(j.components[name] for j in judged if j.valid) for name in names}
        if len(scores) == len(judged):  # else number k would be another member in another answer
            components |= {f"{MEMBER}{k}": score for k, score in enumerate(scores)}
        components["coverage"] = len(scores) / len(judged)
        std = statistics.stdev(scores) if len(scores) > 1 else None
        return {"score": statistics.fmean(scores), "std": std, "components": components}


def _all_in_one_state(judged: Sequence[Judgement]) -> dict[str, Any]:
    """Why nobody judged, where all have the same reason: it is the jury's as well. Else nothing."""
    states = {state_of(judgement) for judgement in judged}
    if len(states) > 1 or any(judgement.valid for judgement in judged):
        return {}
    return {"valid": False, "invalid_reason": f"{states.pop()}: all {len(judged)} members"}


def _verdicts(judged: Sequence[Judgement]) -> dict[str, Any]:
    verdicts = [j.verdict for j in judged]
    decided, count = majority(verdicts), count_votes(verdicts)
    if isinstance(decided, Unread):
        return {"valid": False, "invalid_reason": decided.reason, "components": count.components()}
    return {"verdict": decided, "std": count.std, "components": count.components()}


def check_jury(jury: Mapping[str, Ask], protocol: str) -> None:
    """Refuse a jury of one.

    Raises:
        ValueError: there are fewer than two models.
    """
    if len(jury) < 2:
        raise ValueError(
            f"{protocol} has the judges {list(jury)}: it takes two or more. "
            "Name further judges, or use the protocol of a single one."
        )


def jury_name(jury: Mapping[str, Ask], protocol: str) -> str:
    """Id of several models as one judge: all of them, so that each can be recognised.

    Example:
        >>> jury_name({"one": None, "two": None}, "jury@1")
        'one+two/jury@1'
    """
    return f"{'+'.join(jury)}/{protocol}"
