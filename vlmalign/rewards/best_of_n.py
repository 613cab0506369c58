"""Best-of-n: of the answers to a case, the one that a reward scores highest."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from vlmalign.records import Judgement


@dataclass(frozen=True)
class BestOfN:
    """Picks, and what was in the way of them.

    Attributes:
        picks: case id -> candidate id.
        counts: `cases`, `picked`, `tied` (several answers share the highest score: the first of them is
            picked), `none_valid` (no pick), and `invalid` answers that were passed over.
    """

    picks: dict[str, str]
    counts: dict[str, int]


def best_of_n(judgements: Iterable[Judgement], *, pessimism: float = 0.0) -> BestOfN:
    """Pick one candidate per case.

    Args:
        judgements: scores of single candidates by one judge on one criterion.
        pessimism: kappa of score - kappa * std, by which is picked, against picking what the reward merely does
            not know (Coste et al. 2024, arXiv:2310.02743, who take off the variance).

    Raises:
        ValueError: judgements of several judges or criteria, a verdict on two candidates, or two scores
            of one candidate; a pessimism below 0; with pessimism, a score without a standard deviation.

    Example:
        >>> one = Judgement(id="j1", case_id="c", candidate_ids=("a",), criterion="x", judge="j@1", score=0.2)
        >>> two = one.model_copy(update={"id": "j2", "candidate_ids": ("b",), "score": 0.9})
        >>> best_of_n([one, two]).picks
        {'c': 'b'}
    """
    if not 0 <= pessimism < math.inf:
        raise ValueError(f"pessimism is {pessimism}: give 0 (none) or more")
    of_case: dict[str, dict[str, Judgement]] = defaultdict(dict)
    sources = set()
    for judgement in judgements:
        sources.add((judgement.judge, judgement.criterion))
        if len(judgement.candidate_ids) != 1 or judgement.verdict is not None:
            raise ValueError(f"judgement {judgement.id!r} compares two candidates: give scores of single ones")
        candidate = judgement.candidate_ids[0]
        if candidate in of_case[judgement.case_id]:
            raise ValueError(f"candidate {candidate!r} is judged twice: give one judgement of each")
        of_case[judgement.case_id][candidate] = judgement
    if len(sources) > 1:
        raise ValueError(f"judgements are of {sorted(sources)[:3]}: give those of one judge on one criterion")
    picks: dict[str, str] = {}
    counts: Counter[str] = Counter(cases=len(of_case), picked=0, tied=0, none_valid=0, invalid=0)
    for case, judged in of_case.items():
        scores = {name: bound for name, j in judged.items() if (bound := lower_bound(j, pessimism)) is not None}
        counts["invalid"] += len(judged) - len(scores)
        if not scores:
            counts["none_valid"] += 1
            continue
        highest = max(scores.values())
        best = [name for name, score in scores.items() if score == highest]
        picks[case] = best[0]
        counts["picked"] += 1
        counts["tied"] += len(best) > 1
    return BestOfN(picks, dict(counts))


def lower_bound(judgement: Judgement, pessimism: float) -> float | None:
    """Score - pessimism * std; None: unscored.

    Raises:
        ValueError: with pessimism, a score without a standard deviation.

    Example:
        >>> lower_bound(Judgement(id="j", case_id="c", candidate_ids=("a",), criterion="x", judge="j@1",
        ...                       score=1.0, std=0.25), 2.0)
        0.5
    """
    if not judgement.valid or judgement.score is None:
        return None
    if pessimism == 0:
        return judgement.score
    if judgement.std is None:
        raise ValueError(
            f"judgement {judgement.id!r} by {judgement.judge} has a score without a standard deviation, which "
            f"pessimism {pessimism:g} needs: score with a reward that tells it (an ensemble), or drop pessimism"
        )
    return judgement.score - pessimism * judgement.std
