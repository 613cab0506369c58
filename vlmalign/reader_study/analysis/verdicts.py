"""What readers preferred, told for one arm against another; and what each text was rated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlmalign.reader_study.collecting import Collected, Unblinded


@dataclass(frozen=True)
class Verdict:
    """One comparison of two arms by one reader, on the first reading or on a repeat.

    Attributes:
        reader: who.
        item: which comparison of which case; a repeat is of the same item.
        case: the patient, or whatever the case's cluster is.
        arm: the later-named of the two arms (of `before` and `after`, `after`).
        against: the earlier-named one.
        strength: from 1 (`arm` is better) over 0 (a tie) to -1; None: not answered.
        words: length of the texts of `arm` and `against`.
        left: whether `arm` stood on the left.
        repeat: the reader had answered this item before.
    """

    reader: str
    item: str
    case: str
    arm: str
    against: str
    strength: float | None
    words: tuple[int, int]
    left: bool
    repeat: bool

    @property
    def win(self) -> float | None:
        """1 where `arm` is preferred, 0.5 for a tie, 0 where the other one is; however strongly."""
        if self.strength is None:
            return None
        return 0.5 if self.strength == 0 else float(self.strength > 0)


def read_verdicts(found: Collected) -> list[Verdict]:
    """All comparisons that readers who handed in were shown; none where no preference was asked.

    The sides are undone here: no figure below depends on which text stood left but the one on side bias.
    """
    steps = found.public.questions.preference
    if not steps:
        return []
    return [_verdict(row, steps, found.key.arms) for row in found.rows if row.kind == "rate"]


def _verdict(row: Unblinded, steps: int, arms: Sequence[str]) -> Verdict:
    place = max((0, 1), key=lambda i: arms.index(row.arms[i]))  # of the later-named arm on the screen
    preferred = row.preferred(steps)
    return Verdict(
        reader=row.reader,
        item=row.item,
        case=row.group_id,
        arm=row.arms[place],
        against=row.arms[1 - place],
        strength=None if preferred is None else preferred * (1 if place == 0 else -1) + 0.0,
        words=(row.words[place], row.words[1 - place]),
        left=place == 0,
        repeat=row.repeat,
    )


def arm_pairs(found: Collected) -> list[tuple[str, str]]:
    """The pairs of arms that the study compares, each later-named one against an earlier-named one."""
    arms = found.key.arms
    if found.key.plan.texts_per_item == 2 and found.key.plan.compare == "with_first":
        return [(arm, arms[0]) for arm in arms[1:]]
    return [(arm, arms[j]) for j in range(len(arms)) for arm in arms[j + 1 :]]
