"""K sampled verdicts and their majority: VL-RewardBench's protocol (Li et al. 2024, arXiv:2411.17451), seeded."""

from __future__ import annotations

from random import Random

from pydantic import Field

from data_builders.judges.asking import Ask, JudgeItem
from data_builders.judges.pairwise import Pair, Pairwise, pair_id, together
from data_builders.judges.reading import Unread, fit_id, judge_name
from data_builders.judges.voting import count_votes, majority
from vlmalign.records import Judgement
from vlmalign.records.hashing import derive_seed

CRITERION = "vote"
SAMPLE = "vote.sample"


class Vote(Pairwise):
    """Every two answers K times at a temperature, each time in an order that a seeded coin decides.

    Per pair and judge there are K judgements of single samples (`vote.sample`) and one final one (`vote`): the
    verdict of strictly more than half of all K. Its components hold the votes, `coverage` (share of the samples
    that could be read) and `share_first`; `std` is the standard deviation of that share. Unread samples, ties in
    the vote and no majority are states; the benchmark takes such items out of its denominator, so report coverage
    beside accuracy.

    The benchmark samples with top-p 0.2 as well, which a request cannot say here; its coin has no seed.
    """

    samples: int = Field(10, ge=1, description="K")
    seed: int = Field(0, description="of the display orders")
    temperature: float = Field(0.2, ge=0, description="of the judge's sampling")
    ties: bool = Field(False, description="offer the judge a tie; the benchmark does not")

    @property
    def id(self) -> str:
        """Name and version."""
        return "vote@1"

    @property
    def criterion(self) -> str:
        """Of the final judgements."""
        return CRITERION

    def orders(self, item: JudgeItem, pair: Pair) -> list[Pair]:
        """The display order of each sample; those of fewer samples are the first of more."""
        coin = Random(derive_seed(self.seed, item.id, pair[0].id, pair[1].id))
        return [pair if coin.random() < 0.5 else (pair[1], pair[0]) for _ in range(self.samples)]

    async def judge_pair(self, item: JudgeItem, pair: Pair, model: str, ask: Ask) -> list[Judgement]:
        """The judgements of two answers by one model."""
        requests = [self.ask_for(item, shown, sample=k) for k, shown in enumerate(self.orders(item, pair))]
        replies = await together([ask(request) for request in requests])
        samples = [
            self.read(item, pair, model, request, reply, f"/{request.sample}", SAMPLE)
            for request, reply in zip(requests, replies, strict=True)
        ]
        return [*samples, self._final(item, pair, model, samples)]

    def _final(self, item: JudgeItem, pair: Pair, model: str, samples: list[Judgement]) -> Judgement:
        verdicts = [sample.verdict for sample in samples]
        decided, count = majority(verdicts), count_votes(verdicts)
        given: dict[str, object]
        if isinstance(decided, Unread):
            given = {"valid": False, "invalid_reason": decided.reason}
        else:
            given = {"verdict": decided, "std": count.std}
        return Judgement(
            id=fit_id(pair_id(item, pair, judge_name(model, self.id))),
            case_id=item.case_id,
            candidate_ids=(pair[0].id, pair[1].id),
            criterion=CRITERION,
            judge=judge_name(model, self.id),
            components=count.components(),
            extra={key: value for key, value in samples[0].extra.items() if key != "sample"},
            **given,  # type: ignore[arg-type]
        )
