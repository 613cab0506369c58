"""The judgements of one reward on pairs whose better answer is known, side by side."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from vlmalign.evaluation.reward_accuracy import PairAccuracy, Scores, pair_accuracy
from vlmalign.records import Judgement, Preference
from vlmalign.rewards.pair_scoring import SIDES


class JudgedPairs(NamedTuple):
    """n pairs as one reward scored them.

    Attributes:
        judge: which reward, with its version.
        right: (n,) score of the better answer, None where it could not be scored.
        wrong: (n,) score of the other.
        groups: (n,) cluster of each pair.
        names: (n,) what each pair is called; a name comes once.
    """

    judge: str
    right: Scores
    wrong: Scores
    groups: tuple[Hashable, ...]
    names: tuple[Hashable, ...]

    def accuracy(self) -> PairAccuracy:
        """How often the better answer scored higher."""
        return pair_accuracy(self.right, self.wrong, self.groups)


def judged_pairs(judgements: Iterable[Judgement], pairs: Iterable[Preference]) -> JudgedPairs:
    """Bring the judgements that `score_pairs` wrote to their pairs.

    Args:
        judgements: by one judge, of both sides of every pair; those of other pairs are not allowed either.
        pairs: the pairs, in the order wanted.

    Raises:
        ValueError: several judges, a side that is judged twice or not at all, or a judgement of no pair.
    """
    of_side: dict[str, float | None] = {}
    judges = set()
    for judgement in judgements:
        side = judgement.candidate_ids[0]
        if len(judgement.candidate_ids) != 1 or side in of_side:
            raise ValueError(f"judgement {judgement.id!r} is not the one score of one answer: give one for each")
        of_side[side] = judgement.score if judgement.valid else None
        judges.add(judgement.judge)
    if len(judges) != 1:
        raise ValueError(f"judgements are by {sorted(judges)[:3]}: give those of one judge, at least one")
    pairs = list(pairs)
    wanted = {f"{pair.id}/{side}" for pair in pairs for side in SIDES}
    for what, names in (("is not judged", wanted - of_side.keys()), ("is of no pair", of_side.keys() - wanted)):
        if names:
            raise ValueError(f"answer {min(names)!r} {what} (and {len(names) - 1} more): score these very pairs")
    right, wrong = ([of_side[f"{pair.id}/{side}"] for pair in pairs] for side in SIDES)
    return JudgedPairs(judges.pop(), right, wrong, tuple(p.group_id for p in pairs), tuple(p.id for p in pairs))
