"""How often one arm is preferred over another: wins, ties and losses, over readers and cases, and by reader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.evaluation.paired_tests import holm
from vlmalign.evaluation.readers_and_cases import Estimand
from vlmalign.reader_study.analysis.reported import Reported, p_text, report
from vlmalign.reader_study.analysis.verdicts import Verdict

TIES = "a tie counts one half"


@dataclass(frozen=True)
class Counts:
    """Answers of one arm against another."""

    wins: int
    ties: int
    losses: int
    unanswered: int

    @property
    def answered(self) -> int:
        """Wins, ties and losses."""
        return self.wins + self.ties + self.losses


@dataclass(frozen=True)
class ReaderWins:
    """One reader's answers; the interval is over cases."""

    counts: Counts
    win_rate: Estimate


@dataclass(frozen=True)
class WinRate:
    """One arm against another, first readings only.

    Attributes:
        arm: whose wins are counted.
        against: the other one.
        counts: wins, ties, losses, and readings without an answer.
        win_rate: a tie counts one half; tested against one half.
        decided: wins among wins and losses; ties are excluded, and counted as such.
        tie_rate: share of ties.
        strength: mean from -1 to 1 of a question of five steps; None for three.
        by_reader: each reader alone.
        p_holm: of `win_rate`, for all pairs of arms together.
    """

    arm: str
    against: str
    counts: Counts
    win_rate: Reported
    decided: Reported
    tie_rate: Reported
    strength: Reported | None
    by_reader: dict[str, ReaderWins]
    p_holm: float | None = None

    @property
    def sentence(self) -> str:
        """The result in words."""
        return _sentence(self)

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {
            "arm": self.arm,
            "against": self.against,
            **vars(self.counts),
            "win_rate": self.win_rate.to_dict(),
            "win_rate_ties_left_out": self.decided.to_dict(),
            "tie_rate": self.tie_rate.to_dict(),
            "strength": self.strength.to_dict() if self.strength else None,
            "by_reader": {
                name: {**vars(one.counts), "win_rate": one.win_rate.to_dict()}
                for name, one in self.by_reader.items()
            },
            "p_holm": self.p_holm,
            "sentence": self.sentence,
        }


def win_rates(
    verdicts: Sequence[Verdict],
    pairs: Iterable[tuple[str, str]],
    *,
    steps: int = 3,
    estimand: Estimand | None = None,
    seed: int = 0,
) -> list[WinRate]:
    """Win rates of each pair of arms, with Holm's adjustment over the pairs.

    Args:
        verdicts: repeats do not count.
        pairs: (arm, against), as in the verdicts.
        steps: of the preference question.
        estimand: see `report`.
        seed: of the bootstrap.
    """
    found = []
    for arm, against in pairs:
        mine = [v for v in verdicts if (v.arm, v.against) == (arm, against) and not v.repeat]
        found.append(_win_rate(arm, against, mine, steps, estimand, seed))
    adjusted = holm([one.win_rate.p for one in found])
    return [replace(one, p_holm=p) for one, p in zip(found, adjusted, strict=True)]


def _win_rate(
    arm: str, against: str, mine: Sequence[Verdict], steps: int, estimand: Estimand | None, seed: int
) -> WinRate:
    wins = [v.win for v in mine]
    who, what = [v.reader for v in mine], [v.case for v in mine]

    def over(values: Sequence[float | None], null: float | None = None, low: float = 0.0) -> Reported:
        return report(values, who, what, bounds=(low, 1.0), null=null, estimand=estimand, seed=seed)

    by_reader = {}
    for reader in sorted(set(who)):
        own = [v for v in mine if v.reader == reader]
        rate = cluster_estimate([v.win for v in own], [v.case for v in own], proportion=True, seed=seed)
        by_reader[reader] = ReaderWins(count_wins(own), rate)
    return WinRate(
        arm=arm,
        against=against,
        counts=count_wins(mine),
        win_rate=over(wins, 0.5),
        decided=over([None if win == 0.5 else win for win in wins], 0.5),
        tie_rate=over([None if win is None else float(win == 0.5) for win in wins]),
        strength=over([v.strength for v in mine], 0.0, -1.0) if steps > 3 else None,
        by_reader=by_reader,
    )


def count_wins(verdicts: Sequence[Verdict]) -> Counts:
    """Wins, ties, losses and readings without an answer."""
    wins = [v.win for v in verdicts]
    return Counts(wins.count(1.0), wins.count(0.5), wins.count(0.0), wins.count(None))


def _sentence(found: WinRate) -> str:
    counts, estimate = found.counts, found.win_rate.estimate
    if estimate.mean is None:
        return f"{found.arm} against {found.against}: no answer (unanswered: {counts.unanswered})."
    told = f"{found.arm} was preferred over {found.against} in {counts.wins} of {counts.answered} answers, "
    told += f"{counts.ties} were ties, and {counts.losses} went the other way"
    told += f" (unanswered: {counts.unanswered})" if counts.unanswered else ""
    if counts.ties == counts.answered:
        told += ". Every answer is a tie: that no difference was seen is a finding, not a lack of data"
    told += f". Win rate, {TIES}: {100 * estimate.mean:.1f} %"
    if estimate.low is None or estimate.high is None:
        told += f", without an interval ({estimate.method.removeprefix('no interval: ')})"
    else:
        told += (
            f" (95 % interval {100 * estimate.low:.1f} to {100 * estimate.high:.1f}, {found.win_rate.estimand})"
        )
    if found.p_holm is not None:
        told += f", {p_text(found.p_holm)} after Holm"
    if found.win_rate.figure.n_readers == 1:
        told += ". One reader answered: the interval is over cases for this reader, and says nothing of others"
    return told + "."
