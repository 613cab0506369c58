"""The ranking that a case's pairs amount to."""

from __future__ import annotations

from collections.abc import Sequence


class NoRankingError(ValueError):
    """Pairs that no ranking has; `pair` is the place of one of them."""

    def __init__(self, message: str, pair: int) -> None:
        super().__init__(message)
        self.pair = pair


def ranks_of(pairs: Sequence[tuple[int, int]], answers: int) -> tuple[int, ...]:
    """Ranks of K answers, 1 is best, from which of them are better than which.

    What follows from pairs counts as said: of A > B and B > C, A > C follows. Answers that are then still not
    compared are ties, which is possible only where all others stand alike to both; the relation is a ranking
    (a strict weak order) exactly if "better than" is the same as "fewer answers are better".

    Args:
        pairs: better and worse answer, places below K.
        answers: K.

    Returns:
        For each answer, 1 + the number of better ones: ties share a rank, and leave the next ones free.

    Raises:
        NoRankingError: pairs go round in a circle, or leave open how answers rank.

    Example:
        >>> ranks_of([(2, 0), (2, 1)], 3)
        (2, 2, 1)
        >>> ranks_of([(0, 1), (2, 3)], 4)
        Traceback (most recent call last):
        ...
        vlmalign.data.case_ranking.NoRankingError: pairs leave open how answers 0 and 3 rank
    """
    better = [[False] * answers for _ in range(answers)]
    for a, b in pairs:
        better[a][b] = True
    for through in range(answers):
        for a in range(answers):
            if better[a][through]:
                better[a] = [x or y for x, y in zip(better[a], better[through], strict=True)]
    for place, (a, b) in enumerate(pairs):
        if better[b][a]:
            raise NoRankingError("pairs go round in a circle: each answer is better than itself", place)
    ranks = tuple(1 + sum(better[a][b] for a in range(answers)) for b in range(answers))
    for a in range(answers):
        for b in range(answers):
            if better[a][b] != (ranks[a] < ranks[b]):
                place = next(place for place, pair in enumerate(pairs) if a in pair)
                raise NoRankingError(f"pairs leave open how answers {a} and {b} rank", place)
    return ranks
