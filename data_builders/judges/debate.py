"""Judges argue in rounds, each sees the others' reasons, then they vote.

After the multi-agent debate and feedback of The Fellowship of the LLMs (Arif et al. 2024, arXiv:2408.08688). What
a judge said is shown to the others as any text that is not ours: it may quote an answer that instructs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator

from data_builders.judges.asking import Ask, JudgeItem, JudgeReply
from data_builders.judges.jury import jury_name
from data_builders.judges.pairwise import Pair, Pairwise, every_two, outcome, pair_id, together
from data_builders.judges.reading import Unread, fit_id, judge_name, provenance
from data_builders.judges.template import load_template
from data_builders.judges.verdict import Spoken
from data_builders.judges.voting import count_votes, majority
from vlmalign.records import Judgement
from vlmalign.records.judgement import Verdict

CRITERION = "debate"
SINGLE = "debate.order"
SILENT = "(no opinion that could be read)"


@dataclass(frozen=True)
class Speech:
    """What one seat said in one round."""

    seat: int
    model: str
    reply: JudgeReply
    verdict: Verdict | None
    spoken: Spoken | Unread

    def told(self, round_: int) -> dict[str, Any]:
        """As it stands in the transcript."""
        state = {"state": self.spoken.reason} if isinstance(self.spoken, Unread) else {"verdict": self.verdict}
        return {"round": round_, "seat": self.seat, "model": self.model, "text": self.reply.text, **state}


class Debate(Pairwise):
    """Two or more seats judge two answers, read what the others said, and judge again, in both display orders.

    Per pair there is one judgement of each order (`debate.order`), the verdict of strictly more than half of the
    seats after the last round, with the transcript in `extra`, and a final one (`debate`), combined as for
    `pairwise`. A seat whose reply cannot be read has no vote in that round, and is heard again in the next. Models
    take the seats in turn; where one has several, the temperature must be above 0, as it would agree with itself.
    """

    second_template: str = Field("debate", description="of the rounds after the first")
    rounds: int = Field(2, ge=1, le=10, description="after the first opinions")
    seats: int | None = Field(None, ge=2, le=10, description="default: one for each model, at least two")
    until_agreed: bool = Field(True, description="end as soon as all seats say the same")

    @field_validator("second_template")
    @classmethod
    def _second_loads(cls, name: str) -> str:
        load_template(name)
        return name

    @property
    def id(self) -> str:
        """Name and version."""
        return "debate@1"

    @property
    def criterion(self) -> str:
        """Of the final judgements."""
        return CRITERION

    def templates(self) -> tuple[str, ...]:
        """The templates that the protocol uses."""
        return (*super().templates(), self.second_template)

    async def judge(self, item: JudgeItem, jury: Mapping[str, Ask]) -> list[Judgement]:
        """Judge every two answers by a debate of all models; see `JudgeProtocol.judge`.

        Raises:
            ValueError: a model has several seats and samples greedily, or one has none.
        """
        self._check(jury)
        judge = jury_name(jury, self.id)
        if len(item.answers) < 2:
            return [self.alone(item, judge.rpartition("/")[0])]
        pairs = every_two(item)
        return [j for some in await together([self._debate(item, p, jury) for p in pairs]) for j in some]

    def _check(self, jury: Mapping[str, Ask]) -> None:
        n = self.n_seats(jury)
        if n < len(jury):
            raise ValueError(f"seats is {n}, but there are {len(jury)} judges: give each a seat, or name fewer.")
        if n > len(jury) and self.temperature == 0:
            raise ValueError(
                f"{n} seats are taken by {len(jury)} model(s) at temperature 0: a model would hear itself. "
                "Name further judges, or set a temperature, e.g. 0.7."
            )

    def n_seats(self, jury: Mapping[str, Ask]) -> int:
        """How many seats there are."""
        return self.seats or max(2, len(jury))

    async def _debate(self, item: JudgeItem, pair: Pair, jury: Mapping[str, Ask]) -> list[Judgement]:
        orders = (pair, (pair[1], pair[0]))
        single = await together([self._one_order(item, pair, n, shown, jury) for n, shown in enumerate(orders)])
        return [*single, self.combine(item, pair, "+".join(jury), single)]

    async def _one_order(
        self, item: JudgeItem, pair: Pair, order: int, shown: Pair, jury: Mapping[str, Ask]
    ) -> Judgement:
        names = list(jury)
        seated = [names[seat % len(names)] for seat in range(self.n_seats(jury))]
        rounds: list[list[Speech]] = []
        for _ in range(self.rounds + 1):
            before = rounds[-1] if rounds else []
            speeches = [
                self._speak(item, pair, shown, seat, model, jury[model], before)
                for seat, model in enumerate(seated)
            ]
            rounds.append(await together(speeches))
            said = {speech.verdict for speech in rounds[-1]}
            if self.until_agreed and len(said) == 1 and None not in said:
                break
        return self._of_order(item, pair, order, shown, jury, rounds)

    async def _speak(
        self, item: JudgeItem, pair: Pair, shown: Pair, seat: int, model: str, ask: Ask, before: Sequence[Speech]
    ) -> Speech:
        values = {"ties": self.ties, "confidence": False}
        if not before:
            request = self.request(item, shown, values=values, sample=seat)
        else:
            texts = {
                speech.seat: SILENT if isinstance(speech.spoken, Unread) else speech.reply.text
                for speech in before
            }
            others = "\n\n".join(f"Judge {n + 1}: {text}" for n, text in texts.items() if n != seat)
            blocks = {"own": ("YOUR OPINION", texts[seat]), "others": ("OTHER JUDGES", others)}
            request = self.request(
                item, shown, values=values, blocks=blocks, template=self.second_template, sample=seat
            )
        reply = await ask(request)
        spoken = self.hear(item, pair, reply)
        verdict = outcome(spoken, request.display_order, pair).get("verdict")
        return Speech(seat, model, reply, verdict, spoken)  # type: ignore[arg-type]

    def _of_order(
        self,
        item: JudgeItem,
        pair: Pair,
        order: int,
        shown: Pair,
        jury: Mapping[str, Ask],
        rounds: Sequence[Sequence[Speech]],
    ) -> Judgement:
        verdicts = [speech.verdict for speech in rounds[-1]]
        decided, count = majority(verdicts), count_votes(verdicts)
        opened = [speech.verdict for speech in rounds[0]]
        components = {
            **count.components(),
            "rounds": float(len(rounds) - 1),
            "changed": float(sum(a != b for a, b in zip(opened, verdicts, strict=True))),
        }
        given: dict[str, object] = {"valid": False, "invalid_reason": getattr(decided, "reason", None)}
        if not isinstance(decided, Unread):
            won = next(speech for speech in rounds[-1] if speech.verdict == decided)
            given = {"verdict": decided, "std": count.std, "critique": won.reply.text}
        judge = judge_name("+".join(jury), self.id)
        transcript = [speech.told(n) for n, speeches in enumerate(rounds) for speech in speeches]
        request = self.request(item, shown, values={"ties": self.ties, "confidence": False})
        return Judgement(
            id=fit_id(f"{pair_id(item, pair, judge)}/{order}"),
            case_id=item.case_id,
            candidate_ids=(pair[0].id, pair[1].id),
            criterion=SINGLE,
            judge=judge,
            display_order=(shown[0].id, shown[1].id),
            components=components,
            extra={**provenance(self, request), "transcript": transcript},
            **given,  # type: ignore[arg-type]
        )
