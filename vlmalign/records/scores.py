"""A folder of judgements as scores: of each candidate one, by one judge on one criterion."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vlmalign.records.errors import DataError
from vlmalign.records.folder import RecordFolder
from vlmalign.records.judgement import Judgement
from vlmalign.records.manifest import DataUse

SIDES = ("chosen", "rejected")
#: components in which a reward tells the doubt in a difference, and its members' own scores
MARGIN_STD, MEMBER = "margin_std", "member_"
NO_JUDGEMENT = "no judgement"


def side_id(pair_id: str, side: str) -> str:
    """The candidate id under which one side of a pair is judged.

    Example:
        >>> side_id("p1", "chosen")
        'p1/chosen'
    """
    return f"{pair_id}/{side}"


def experts_named(config: Mapping[str, object]) -> tuple[str, ...]:
    """Experts whose findings decided a folder of judgements, from what built it: none where it names none.

    Example:
        >>> experts_named({"reward": "expert_verified@1", "experts": ["cells@1"]})
        ('cells@1',)
    """
    named = config.get("experts", ())
    return tuple(str(name) for name in named) if isinstance(named, list | tuple) else ()


def margin_std(first: Judgement, second: Judgement) -> float | None:
    """Standard deviation of the difference between two scores of one judge; None where it is not known.

    What the reward said of this pair (component `margin_std`); else that over members (components `member_0` ...),
    whose shifts fall out, where both answers were scored by the same ones; else that of two independent answers.

    Example:
        >>> fields = {"id": "a", "case_id": "c", "candidate_ids": ("p/chosen",), "criterion": "x", "judge": "j@1"}
        >>> margin_std(*(Judgement(**fields, score=1.0, std=std) for std in (3.0, 4.0)))
        5.0
    """
    if MARGIN_STD in first.components and _pair_of(first) == _pair_of(second):
        return first.components[MARGIN_STD]
    mine, its = (
        {name: value for name, value in j.components.items() if name.startswith(MEMBER)} for j in (first, second)
    )
    if mine.keys() == its.keys() and len(mine) > 1:
        return statistics.stdev(mine[name] - its[name] for name in mine)
    if first.std is None or second.std is None:
        return None
    return math.hypot(first.std, second.std)


def _pair_of(judgement: Judgement) -> str:
    return judgement.candidate_ids[0].rpartition("/")[0]


@dataclass(frozen=True)
class Scores:
    """Scores by candidate id. A candidate without a score is a state with a reason, never a number.

    Attributes:
        judgements: by candidate id, in file order.
        judge: id and version; empty where there is no judgement.
        criterion: what the scores are of.
        source: the folder, for errors.
        sha256: hash of the folder's records.
        config: what built the folder.
        data_use: where the folder's data may be sent.
    """

    judgements: Mapping[str, Judgement]
    judge: str
    criterion: str
    source: Path
    sha256: str
    config: Mapping[str, object] = field(default_factory=dict)
    data_use: DataUse = "open"

    @property
    def experts(self) -> tuple[str, ...]:
        """Experts behind the judge."""
        return experts_named(self.config)

    def score(self, candidate: str) -> float | None:
        """The score of a candidate; None: unscored."""
        found = self.judgements.get(candidate)
        return None if found is None else found.score

    def std(self, candidate: str) -> float | None:
        """The standard deviation of its score; None: not known."""
        found = self.judgements.get(candidate)
        return None if found is None else found.std

    def margin_std(self, first: str, second: str) -> float | None:
        """The standard deviation of the difference of two scores, see `margin_std`; None: not known."""
        judged = [self.judgements.get(name) for name in (first, second)]
        if judged[0] is None or judged[1] is None or judged[0].score is None or judged[1].score is None:
            return None
        return margin_std(judged[0], judged[1])

    def reason(self, candidate: str) -> str | None:
        """Why a candidate has no score; None where it has one."""
        found = self.judgements.get(candidate)
        if found is None:
            return NO_JUDGEMENT
        return found.invalid_reason if found.score is None else None

    def known_std(self, candidate: str, why: str) -> float:
        """The standard deviation of a scored candidate.

        Args:
            candidate: its id.
            why: what asks for it, for the error.

        Raises:
            DataError: the judge told none.
        """
        std = self.std(candidate)
        if std is None:
            raise DataError(
                f"{self.judge} scores candidate {candidate!r} without a standard deviation, which {why} needs",
                "Score with a reward that tells its std (an ensemble), or leave that option out.",
                file=self.source,
                record=None if candidate not in self.judgements else self.judgements[candidate].id,
                field="std",
            )
        return std

    def reasons(self, candidates: Iterable[str]) -> dict[str, int]:
        """How many of the candidates are unscored, by reason."""
        return dict(Counter(reason for name in candidates if (reason := self.reason(name)) is not None))


def read_scores(folder: str | Path, *, of: str | None = None, made_from: str = "") -> Scores:
    """Read judgements as scores.

    Args:
        folder: of judgements, one for each candidate.
        of: hash of the records that must have been scored; compared with the `made_from` entry of what built the
            folder, where it has one (judgements from elsewhere have none).
        made_from: `pairs`, `candidates` or `demonstrations`.

    Raises:
        DataError: the folder cannot be used, was made from other records, holds a verdict on two candidates, two
            judges or criteria, or two judgements of one candidate.
    """
    opened = RecordFolder(folder, Judgement)
    config = opened.manifest.config
    if of is not None and config.get(made_from, of) != of:
        raise DataError(
            f"the judgements are of other {made_from} (hash {str(config[made_from])[:12]}) than those given "
            f"(hash {of[:12]})",
            f"Pass the {made_from} that were scored, or score these: `vlmalign score`.",
            file=opened.path,
        )
    judgements: dict[str, Judgement] = {}
    for judgement in opened:
        first = next(iter(judgements.values()), judgement)
        _check(judgement, first, judgements, opened.path)
        judgements[judgement.candidate_ids[0]] = judgement
    first_found = next(iter(judgements.values()), None)
    return Scores(
        judgements,
        "" if first_found is None else first_found.judge,
        "" if first_found is None else first_found.criterion,
        opened.path,
        opened.sha256,
        config,
        opened.manifest.data_use,
    )


def _check(judgement: Judgement, first: Judgement, known: Mapping[str, Judgement], path: Path) -> None:
    name = judgement.candidate_ids[0]
    mine, theirs = ((j.judge, j.criterion) for j in (judgement, first))
    refuse = partial(DataError, file=path, record=judgement.id)
    if len(judgement.candidate_ids) != 1 or judgement.verdict is not None:
        remedy = "Give scores of single candidates."
        raise refuse("it compares two candidates", remedy, field="candidate_ids")
    if mine != theirs:
        rule = f"it is by {mine[0]} on {mine[1]}, the first one by {theirs[0]} on {theirs[1]}"
        raise refuse(rule, "Give the judgements of one judge on one criterion.", field="judge")
    if name in known:
        remedy = "Give one judgement of each candidate."
        raise refuse(f"candidate {name!r} is judged twice", remedy, field="candidate_ids")
