"""Position bias of a judge: does a verdict survive the swap, and does the answer shown first win?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binomtest

from data_builders.judges.reading import state_of
from vlmalign.records import Judgement, RecordFolder


@dataclass(frozen=True)
class Proportion:
    """A share with its 95 % Wilson interval; None where nothing was counted.

    Example:
        >>> Proportion.of(8, 10)
        Proportion(successes=8, n=10, value=0.8, low=0.49, high=0.943)
        >>> Proportion.of(0, 0).value is None
        True
    """

    successes: int
    n: int
    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, successes: int, n: int) -> Proportion:
        """The share of successes in n; the interval is rounded to three digits."""
        if n == 0:
            return cls(0, 0, None, None, None)
        interval = binomtest(successes, n).proportion_ci(method="wilson")
        return cls(successes, n, successes / n, round(float(interval.low), 3), round(float(interval.high), 3))


@dataclass(frozen=True)
class PositionConsistency:
    """How much a judge depends on the order of showing.

    Attributes:
        consistent: pairs whose two orders gave the same verdict, of those read in both.
        first_shown: verdicts for the answer shown first, of all single verdicts that are no tie. The two of a pair
            are not independent, so the interval is only a guide.
        states: pairs by what became of them, `consistent` and `inconsistent` apart.
    """

    consistent: Proportion
    first_shown: Proportion
    states: Mapping[str, int]


def position_consistency(folder: str | Path) -> dict[str, PositionConsistency]:
    """Of each judge of a Judgement folder, from its judgements of single display orders.

    Args:
        folder: written with the protocol `pairwise` or `debate`.

    Returns:
        By judge; empty where no judgement is of a single order.

    Raises:
        DataError: the folder cannot be used.
    """
    orders: dict[str, dict[tuple[str, ...], list[Judgement]]] = defaultdict(lambda: defaultdict(list))
    for judgement in RecordFolder(folder, Judgement):
        if judgement.criterion.endswith(".order"):
            orders[judgement.judge][judgement.candidate_ids].append(judgement)
    return {judge: _of_judge(pairs) for judge, pairs in sorted(orders.items())}


def _of_judge(pairs: Mapping[tuple[str, ...], list[Judgement]]) -> PositionConsistency:
    states: Counter[str] = Counter()
    first = decided = 0
    for judged in pairs.values():
        for judgement in judged:
            if judgement.verdict in ("first", "second") and judgement.display_order:
                preferred = judgement.candidate_ids[judgement.verdict == "second"]
                decided += 1
                first += preferred == judgement.display_order[0]
        unread = [state_of(j) for j in judged if not j.valid]
        if unread or len(judged) < 2:
            states[unread[0] if unread else "one order"] += 1
        else:
            states["consistent" if len({j.verdict for j in judged}) == 1 else "inconsistent"] += 1
    both = states["consistent"] + states["inconsistent"]
    return PositionConsistency(
        Proportion.of(states["consistent"], both), Proportion.of(first, decided), dict(sorted(states.items()))
    )
