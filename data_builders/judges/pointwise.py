"""Each answer by itself on a rubric."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from data_builders.judges.asking import Ask, JudgeAnswer, JudgeItem
from data_builders.judges.pairwise import together
from data_builders.judges.reading import Unread, fit_id, judge_name, provenance, read_reply, untrusted_texts
from data_builders.judges.rubric import DEFAULT, Criterion, read_scores
from data_builders.judges.showing import Showing
from vlmalign.records import Judgement

CRITERION = "rubric"


class Pointwise(Showing):
    """Scores on named criteria; the score is their weighted mean, in [0, 1], the components are the parts.

    A component is a criterion's score on its own scale. A reply in which one of them cannot be read has none.
    """

    template: str = "pointwise"
    criteria: tuple[Criterion, ...] = Field(DEFAULT, min_length=1, description="the rubric")
    confidence: bool = Field(False, description="ask how sure the judge is")

    @field_validator("criteria")
    @classmethod
    def _names_differ(cls, criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
        names = [criterion.name for criterion in criteria]
        if len(set(names)) < len(names):
            raise ValueError(f"two criteria have one name ({', '.join(names)}): rename one")
        return criteria

    @property
    def id(self) -> str:
        """Name and version."""
        return "pointwise@1"

    @property
    def criterion(self) -> str:
        """Of the judgements."""
        return CRITERION

    async def judge(self, item: JudgeItem, jury: Mapping[str, Ask]) -> list[Judgement]:
        """Judge each answer by each model alone; see `JudgeProtocol.judge`."""
        tasks = [self.score(item, answer, model, ask) for model, ask in jury.items() for answer in item.answers]
        return await together(tasks)

    async def score(self, item: JudgeItem, answer: JudgeAnswer, model: str, ask: Ask) -> Judgement:
        """The judgement of one answer by one model."""
        values = {"criteria": self.criteria, "confidence": self.confidence}
        request = self.request(item, [answer], values=values)
        reply = await ask(request)
        shown = untrusted_texts(item, [answer])
        scored = read_reply(reply, shown, lambda text: read_scores(text, self.criteria))
        given: dict[str, object]
        if isinstance(scored, Unread):
            given = {"valid": False, "invalid_reason": scored.reason}
        else:
            parts = {name.replace(" ", "_"): float(value) for name, value in scored.scores.items()}
            given = {"score": scored.total, "components": parts, "confidence": scored.confidence}
        return Judgement(
            id=answer_id(item, answer, judge_name(model, self.id)),
            case_id=item.case_id,
            candidate_ids=(answer.id,),
            criterion=CRITERION,
            judge=judge_name(model, self.id),
            critique=reply.text or None,
            extra=provenance(self, request, reply),
            **given,  # type: ignore[arg-type]
        )


def answer_id(item: JudgeItem, answer: JudgeAnswer, judge: str) -> str:
    """Id of a judgement of one answer; its place is in it where the item has more."""
    if len(item.answers) == 1:
        return fit_id(f"{item.id}/{judge}")
    return fit_id(f"{item.id}/{item.answers.index(answer)}/{judge}")
