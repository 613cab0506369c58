"""What a reward's judgements say of pairs and demonstrations: margins, and how sure they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vlmalign.records import Preference
from vlmalign.records.scores import SIDES, Scores, side_id


@dataclass(frozen=True)
class Margin:
    """The reward's margin of one pair.

    Attributes:
        value: score(chosen) - score(rejected); None: unscored.
        std: of the margin, see `vlmalign.records.scores.margin_std`; None: not known.
        reason: why it is unscored; None where it is scored.
    """

    value: float | None
    std: float | None
    reason: str | None = None

    @property
    def certainty(self) -> float | None:
        """|margin| / std, infinite where the std is zero and the margin is not; None: unscored or no std."""
        if self.value is None or self.std is None:
            return None
        if self.std == 0:
            return 0.0 if self.value == 0 else math.inf
        return abs(self.value) / self.std


def margin_of(pair: Preference, scores: Scores, *, std_for: str | None = None) -> Margin:
    """The reward's margin of a pair.

    Args:
        pair: the pair.
        scores: judgements with candidate ids `<pair id>/chosen` and `<pair id>/rejected`.
        std_for: what needs the standard deviation, if anything does: then a scored side without one is refused.

    Raises:
        DataError: see `std_for`.
    """
    chosen, rejected = (side_id(pair.id, side) for side in SIDES)
    a, b = scores.score(chosen), scores.score(rejected)
    if a is None or b is None:
        return Margin(None, None, scores.reason(chosen) or scores.reason(rejected))
    std = scores.margin_std(chosen, rejected)
    if std is None and std_for is not None:
        scores.known_std(chosen, std_for)
        scores.known_std(rejected, std_for)
    return Margin(a - b, std)
