"""Could readers tell an arm? Their guesses at the end, against chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.length_bias import difference_of_means
from vlmalign.evaluation.readers_and_cases import Estimand
from vlmalign.reader_study.analysis.reported import Reported, report
from vlmalign.reader_study.collecting import Collected, Unblinded


@dataclass(frozen=True)
class Blinding:
    """Readers' guesses of `arm`.

    Attributes:
        arm: which was to be guessed.
        right: guesses.
        wrong: guesses.
        cannot_tell: readers who said so.
        unanswered: readings without an answer.
        share_right: of those who guessed and those who cannot tell, the latter one half; chance is one half.
        of_guesses: of those who guessed.
        told_apart: one text at a time: share of 'yes' on texts of the arm less that on others; chance is 0.
        sentence: in words.
    """

    arm: str
    right: int
    wrong: int
    cannot_tell: int
    unanswered: int
    share_right: Reported | None
    of_guesses: Reported | None
    told_apart: Estimate | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {
            name: value.to_dict() if isinstance(value, (Reported, Estimate)) else value
            for name, value in vars(self).items()
        }


def blinding(found: Collected, *, estimand: Estimand | None = None, seed: int = 0) -> Blinding | None:
    """The blinding check; None where nothing was to be guessed."""
    rows = [row for row in found.rows if row.kind == "guess"]
    arm = found.key.guess_arm
    if not rows or arm is None:
        return None
    right = [_right(row, arm) for row in rows]
    wins, losses, unsure = (right.count(value) for value in (1.0, 0.0, 0.5))
    counts = (wins, losses, unsure, right.count(None))
    who, what = [row.reader for row in rows], [row.group_id for row in rows]
    if found.public.questions.texts == 1:
        apart = _told_apart(rows, arm, right)
        return Blinding(arm, *counts, None, None, apart, _sentence(arm, counts, apart, 0.0))
    share = report(right, who, what, null=0.5, estimand=estimand, seed=seed)
    guesses = report(
        [None if value == 0.5 else value for value in right], who, what, null=0.5, estimand=estimand, seed=seed
    )
    return Blinding(arm, *counts, share, guesses, None, _sentence(arm, counts, share.estimate, 0.5))


def _right(row: Unblinded, arm: str) -> float | None:
    guess = row.answer.guess if row.answer else None
    if guess is None:
        return None
    if guess == "cannot_tell":
        return 0.5
    if guess in ("yes", "no"):
        return float((guess == "yes") == (row.arms[0] == arm))
    return float(row.arms[0 if guess == "left" else 1] == arm)


def _told_apart(rows: Sequence[Unblinded], arm: str, right: Sequence[float | None]) -> Estimate:
    """P(yes | the arm) - P(yes | another): what guessing 'yes' always, or by the arm's share, cannot raise."""
    said_yes = [
        None if v is None else v if row.arms[0] == arm else 1 - v for row, v in zip(rows, right, strict=True)
    ]
    own, other = (
        [value if (row.arms[0] == arm) == of_arm else None for row, value in zip(rows, said_yes, strict=True)]
        for of_arm in (True, False)
    )
    return difference_of_means(own, other, [row.group_id for row in rows])


def _sentence(arm: str, counts: tuple[int, int, int, int], figure: Estimate, chance: float) -> str:
    right, wrong, unsure, unanswered = counts
    told = f"{right} of {right + wrong} guesses of {arm} were right, {unsure} could not tell"
    told += f", {unanswered} unanswered" if unanswered else ""
    if figure.mean is None or figure.low is None or figure.high is None:
        return f"{told}: too few to say whether readers were blind ({figure.method})."
    interval = f"{100 * figure.mean:.0f} % (95 % interval {100 * figure.low:.0f} to {100 * figure.high:.0f})"
    if figure.low > chance:
        return f"{told}; {interval} lies above chance ({100 * chance:.0f} %): readers could tell the arms apart."
    if figure.high < chance:
        return (
            f"{told}; {interval} lies below chance ({100 * chance:.0f} %): readers told them apart the wrong way."
        )
    return f"{told}; {interval} includes chance ({100 * chance:.0f} %): it is not shown that readers could tell."
