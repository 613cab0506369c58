"""Votes on two answers: what they decide, and how sure their share is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from data_builders.judges.reading import Unread
from vlmalign.records.judgement import Verdict


@dataclass(frozen=True)
class Count:
    """The votes of several samples or judges.

    Attributes:
        first: votes for the first answer.
        second: votes for the second.
        tie: votes for a tie.
        unread: replies that are no vote.
    """

    first: int
    second: int
    tie: int
    unread: int

    @property
    def n(self) -> int:
        """All that were asked."""
        return self.first + self.second + self.tie + self.unread

    @property
    def coverage(self) -> float:
        """Share of those asked that voted."""
        return (self.n - self.unread) / self.n

    @property
    def share(self) -> float | None:
        """Share of the first answer among the votes for either; None where there is none."""
        decided = self.first + self.second
        return self.first / decided if decided else None

    @property
    def std(self) -> float | None:
        """Standard deviation of the probability that a vote is for the first answer.

        Of its posterior Beta(first + 1/2, second + 1/2) (Jeffreys' prior), so that ten votes of ten are not
        certain; None where no vote is for either.

        Example:
            >>> round(Count(10, 0, 0, 0).std, 3), round(Count(5, 5, 0, 0).std, 3)
            (0.06, 0.144)
        """
        if self.share is None:
            return None
        a, b = self.first + 0.5, self.second + 0.5
        return (a * b / ((a + b) ** 2 * (a + b + 1))) ** 0.5

    def components(self) -> dict[str, float]:
        """As components of a Judgement; `share_first` is left out where it is not defined."""
        parts = {f"votes_{name}": float(getattr(self, name)) for name in ("first", "second", "tie", "unread")}
        shares = {} if self.share is None else {"share_first": self.share}
        return {**parts, "coverage": self.coverage, **shares}


def count_votes(verdicts: Sequence[Verdict | None]) -> Count:
    """Count verdicts; None is a reply that could not be read."""
    found = Counter(verdicts)
    return Count(found["first"], found["second"], found["tie"], found[None])


def majority(verdicts: Sequence[Verdict | None]) -> Verdict | Unread:
    """The verdict of strictly more than half of all that were asked, as VL-RewardBench counts.

    Unread replies stay in the denominator: a majority of the few that could be read is none. Where most are unread
    the state is `unparsed`; where two verdicts lead with equally many votes `vote_tie`; else `no_majority`.

    Example:
        >>> majority(["first", "first", "second"]), majority(["first", "second"]).state
        ('first', 'vote_tie')
        >>> majority(["first", "first", None, None]).reason
        'no_majority: first 2, second 0, tie 0, unread 2'
    """
    count = count_votes(verdicts)
    by_name: dict[Verdict, int] = {"first": count.first, "second": count.second, "tie": count.tie}
    leader = max(by_name, key=lambda name: by_name[name])
    if 2 * by_name[leader] > count.n:
        return leader
    told = ", ".join(f"{name} {n}" for name, n in by_name.items()) + f", unread {count.unread}"
    if 2 * count.unread > count.n:
        return Unread("unparsed", told)
    leaders = [name for name, n in by_name.items() if n == by_name[leader]]
    return Unread("vote_tie" if len(leaders) > 1 else "no_majority", told)
