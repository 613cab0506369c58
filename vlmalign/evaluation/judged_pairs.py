"""Preference pairs with what a reward said of their two sides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmalign.evaluation.self_grading import experts_of, refuse_self_grading
from vlmalign.records import DataError, Preference, RecordFolder
from vlmalign.records.preference import Dyad
from vlmalign.records.scores import SIDES, Scores, read_scores, side_id


@dataclass(frozen=True)
class JudgedPair:
    """One pair, scored or not.

    Attributes:
        pair: the pair; its label says that `chosen` is better.
        chosen: score of the chosen answer; None: unscored.
        rejected: score of the rejected answer; None: unscored.
        chosen_std: standard deviation of the score; None: not known.
        rejected_std: the same of the rejected answer.
        reason: why the pair is unscored; None where both sides have a score.
        margin_std: standard deviation of the margin, see `margin_std`; None: not known.
    """

    pair: Preference
    chosen: float | None
    rejected: float | None
    chosen_std: float | None = None
    rejected_std: float | None = None
    reason: str | None = None
    margin_std: float | None = None

    @property
    def margin(self) -> float | None:
        """score(chosen) - score(rejected); None: unscored."""
        return None if self.chosen is None or self.rejected is None else self.chosen - self.rejected

    @property
    def group(self) -> str | Dyad:
        """The cluster that the pair belongs to."""
        return self.pair.cluster


@dataclass(frozen=True)
class JudgedPairs:
    """All pairs of a folder, in its order, with one reward's scores.

    Attributes:
        pairs: each pair, scored or not.
        judge: the reward, id and version.
        criterion: what the scores are of.
        sha256: hash of the judgements.
    """

    pairs: Sequence[JudgedPair]
    judge: str
    criterion: str
    sha256: str

    @property
    def groups(self) -> list[str | Dyad]:
        """The cluster of each pair."""
        return [judged.group for judged in self.pairs]

    @property
    def n_groups(self) -> int:
        """How many different groups there are; a role-swapped pair belongs to two."""
        return len({name for group in self.groups for name in (group if isinstance(group, Dyad) else (group,))})


def read_judged_pairs(
    pairs: RecordFolder[Preference],
    judged: str | Path,
    *,
    own_labels: Collection[str] = (),
    allow_self_grading: Collection[str] = (),
) -> JudgedPairs:
    """Join pairs with the judgements that `vlmalign score --pairs` made of them.

    Args:
        pairs: folder of preferences.
        judged: folder of judgements with candidate ids `<pair id>/chosen` and `<pair id>/rejected`.
        own_labels: judges, by name, that may be evaluated on pairs that they decided themselves.
        allow_self_grading: experts, by name, whose findings may be behind both the pairs and the judgements.

    Raises:
        DataError: the judgements are of other pairs, or of none of these; or their judge decided some of the
            pairs itself, or the same expert's findings are behind both, which would measure only that they
            agree with themselves.

    Example:
        >>> read_judged_pairs(RecordFolder("/no/such", Preference), "/none")
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: /no/such: no such folder. Check the path.
    """
    scores = read_scores(judged, of=pairs.sha256, made_from="pairs")
    records = list(pairs)
    names = [side_id(pair.id, side) for pair in records for side in SIDES]
    if records and not any(name in scores.judgements for name in names):
        raise DataError(
            "no judgement is of a side of these pairs (candidate ids are <pair id>/chosen and <pair id>/rejected)",
            "Score the pairs: `vlmalign score REWARD --pairs PAIRS --out JUDGED`.",
            file=scores.source,
            field="candidate_ids",
        )
    own = sum(scores.judge in pair.judge_ids for pair in records)
    if own and scores.judge not in own_labels and scores.judge.partition("@")[0] not in own_labels:
        raise DataError(
            f"{scores.judge} decided {own} of these {len(records)} pairs itself: that is its own word",
            f"Give pairs that others decided, or say so by name: --own-labels {scores.judge}.",
            file=pairs.path,
            field="judge_ids",
        )
    experts = scores.config.get("experts")
    if isinstance(experts, list):
        taught = experts_of(records)
        refuse_self_grading(taught, experts, allowed=allow_self_grading, what="pairs", file=pairs.path)
    return JudgedPairs(
        [join_pair(pair, scores) for pair in records], scores.judge, scores.criterion, scores.sha256
    )


def join_pair(pair: Preference, scores: Scores) -> JudgedPair:
    """One pair with the scores of its sides."""
    chosen, rejected = (side_id(pair.id, side) for side in SIDES)
    return JudgedPair(
        pair,
        scores.score(chosen),
        scores.score(rejected),
        scores.std(chosen),
        scores.std(rejected),
        scores.reason(chosen) or scores.reason(rejected),
        scores.margin_std(chosen, rejected),
    )
