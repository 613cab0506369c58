"""Best-of-n: of the answers to a case, the one that a reward scores highest."""

from __future__ import annotations

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


def best_of_n(judgements: Iterable[Judgement]) -> BestOfN:
    """Pick one candidate per case.

    Args:
        judgements: scores of single candidates by one judge on one criterion.

    Raises:
        ValueError: judgements of several judges or criteria, a verdict on two candidates, or two scores
            of one candidate.

    Example:
        >>> one = Judgement(id="j1", case_id="c", candidate_ids=("a",), criterion="x", judge="j@1", score=0.2)
        >>> two = one.model_copy(update={"id": "j2", "candidate_ids": ("b",), "score": 0.9})
        >>> best_of_n([one, two]).picks
        {'c': 'b'}
    """
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
        scores = {name: j.score for name, j in judged.items() if j.valid and j.score is not None}
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
