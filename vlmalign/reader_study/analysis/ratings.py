"""Ratings from 1 to 5: how each arm was rated, and one arm against another by the same reader on the same case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlmalign.evaluation.paired_tests import holm
from vlmalign.evaluation.readers_and_cases import Estimand
from vlmalign.reader_study.analysis.mixed_models import MixedFit, fit_mixed
from vlmalign.reader_study.analysis.rated_texts import (
    OTHER_READERS,
    Paired,
    Rated,
    paired_difference,
    paired_values,
    rated_text,
)
from vlmalign.reader_study.analysis.reported import Reported, report
from vlmalign.reader_study.collecting import Collected, Unblinded

SCALE = (1.0, 5.0)
AGREE = 4  # "agree" and "strongly agree"


@dataclass(frozen=True)
class ArmRatings:
    """One arm on one scale, first readings only.

    Attributes:
        counts: how often each of 1 to 5 was given.
        missing: texts shown and not rated.
        mean: over readers and cases.
        agreed: share of 4 and 5.
    """

    counts: tuple[int, ...]
    missing: int
    mean: Reported
    agreed: Reported


@dataclass(frozen=True)
class RatingDifference:
    """`arm` less `against` on one scale.

    Attributes:
        paired: what makes a pair: the same screen, the same reader and case, or the same case read by others.
        difference: tested against 0.
        mixed: a mixed model of the same.
        p_holm: for all scales and pairs of arms together.
    """

    criterion: str
    arm: str
    against: str
    paired: str
    difference: Reported
    mixed: MixedFit
    p_holm: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {
            "criterion": self.criterion,
            "arm": self.arm,
            "against": self.against,
            "paired": self.paired,
            "difference": self.difference.to_dict(),
            "mixed_model": self.mixed.to_dict(),
            "p_holm": self.p_holm,
        }


def read_ratings(found: Collected, criterion: str) -> list[Rated]:
    """Every text that was shown for rating, with what it was given."""
    return [
        rated_text(row, place, _given(row, criterion, place))
        for row in found.rows
        if row.kind == "rate"
        for place in range(len(row.arms))
    ]


def _given(row: Unblinded, criterion: str, place: int) -> float | None:
    values = row.answer.ratings.get(criterion, ()) if row.answer else ()
    value = values[place] if place < len(values) else None
    return None if value is None else float(value)


def arm_ratings(
    rated: Sequence[Rated], arms: Iterable[str], *, estimand: Estimand | None = None, seed: int = 0
) -> dict[str, ArmRatings]:
    """Distribution, mean and share of agreement of each arm."""
    result = {}
    for arm in arms:
        own = [one for one in rated if one.arm == arm and not one.repeat]
        values = [one.value for one in own]
        who, what = [one.reader for one in own], [one.case for one in own]
        agreed = [None if value is None else float(value >= AGREE) for value in values]
        counts = Counter(value for value in values if value is not None)
        result[arm] = ArmRatings(
            tuple(counts[float(k)] for k in range(1, 6)),
            values.count(None),
            report(values, who, what, bounds=SCALE, estimand=estimand, seed=seed),
            report(agreed, who, what, estimand=estimand, seed=seed),
        )
    return result


def rating_differences(
    by_criterion: dict[str, list[Rated]],
    pairs: Sequence[tuple[str, str]],
    *,
    estimand: Estimand | None = None,
    seed: int = 0,
) -> list[RatingDifference]:
    """Each pair of arms on each scale, with Holm's adjustment over all of them."""
    found = [
        _difference(criterion, rated, pair, estimand, seed)
        for criterion, rated in by_criterion.items()
        for pair in pairs
    ]
    adjusted = holm([one.difference.p for one in found])
    return [replace(one, p_holm=p) for one, p in zip(found, adjusted, strict=True)]


def _difference(
    criterion: str, rated: Sequence[Rated], pair: tuple[str, str], estimand: Estimand | None, seed: int
) -> RatingDifference:
    paired = paired_values(rated, pair)
    difference = paired_difference(paired, (SCALE[0] - SCALE[1], SCALE[1] - SCALE[0]), estimand, seed)
    return RatingDifference(criterion, *pair, paired.how, difference, _mixed(rated, pair, paired))


def _mixed(rated: Sequence[Rated], pair: tuple[str, str], paired: Paired) -> MixedFit:
    """A mixed model of the same difference; where no reader rated both arms, of the ratings themselves."""
    values = paired.differences
    effects, levels = {"difference": [1.0] * len(values)}, {"reader": paired.readers, "case": paired.cases}
    if paired.how == OTHER_READERS:
        own = [one for one in rated if not one.repeat and one.arm in pair]
        values = [one.value for one in own]
        effects = {"mean": [1.0] * len(own), "difference": [float(one.arm == pair[0]) for one in own]}
        levels = {"reader": [one.reader for one in own], "case": [one.case for one in own]}
    if not values:
        return MixedFit("none", {}, {}, None, 0, reason="no text was rated")
    return fit_mixed(values, effects, levels)
