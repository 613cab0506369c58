"""Superior, not inferior, equivalent: what a paired difference shows against a margin that was stated before."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vlmalign.evaluation.conclusion import OF_NO_INTEREST, check_margin
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import paired_difference

Question = Literal["superiority", "non-inferiority", "equivalence"]


@dataclass(frozen=True)
class MarginVerdict:
    """An answer to one question.

    Attributes:
        question: which.
        shown: whether it is shown; None where there is no interval to go by.
        difference: first - second, in the direction in which more is better, with the interval that decides.
        level: of that interval.
        margin: the largest difference of no interest, in the units of the score.
        sentence: the verdict in words.
    """

    question: Question
    shown: bool | None
    difference: Estimate
    level: float
    margin: float
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {**vars(self), "difference": self.difference.to_dict()}


def judge_against_margin(
    a: Sequence[float | None],
    b: Sequence[float | None],
    groups: Sequence[Hashable],
    question: Question,
    *,
    margin: float,
    less_is_better: bool = False,
    alpha: float = 0.05,
    excluded: int = 0,
    names: tuple[str, str] = ("the first", "the second"),
    share: bool = True,
) -> MarginVerdict:
    """Answer one question about two models on the same items.

    * superiority: the whole two-sided 1 - alpha interval of first - second lies above 0;
    * non-inferiority: it lies above -margin (one-sided alpha / 2, as is usual in trials);
    * equivalence: the 1 - 2 alpha interval lies within +-margin, which is two one-sided tests at alpha (Schuirmann
      1987, J. Pharmacokinet. Biopharm. 15:657).

    "Not shown" is never "the contrary is shown": where the contrary is, the sentence says so.

    Args:
        a: (n,) scores of the first model.
        b: (n,) of the second, item by item.
        groups: (n,) cluster of each item.
        question: which.
        margin: stated before the data were seen, in the units of the score (0.02: two points of a share).
        less_is_better: of the score.
        alpha: see above.
        excluded: further items that were excluded before this call.
        names: of the two models.
        share: the score lies between 0 and 1, and is told in points of 100.

    Raises:
        ValueError: the margin is no positive number, alpha not in (0, 0.5), or the question another one.

    Example:
        >>> right = [1, 0] * 100
        >>> found = judge_against_margin(right, right, range(200), "equivalence", margin=0.05)
        >>> found.shown, found.sentence[:55]
        (True, 'the first is equivalent to the second within 5 points: ')
    """
    check_margin(margin, OF_NO_INTEREST)
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha}: expected more than 0 and less than 0.5, e.g. 0.05")
    if question not in ("superiority", "non-inferiority", "equivalence"):
        raise ValueError(f"question is {question!r}: choose superiority, non-inferiority or equivalence")
    level = 1 - 2 * alpha if question == "equivalence" else 1 - alpha
    first, second = (b, a) if less_is_better else (a, b)
    difference = paired_difference(first, second, groups, excluded=excluded, level=level)
    shown = _shown(question, difference, margin)
    return MarginVerdict(
        question,
        shown,
        difference,
        level,
        margin,
        _sentence(question, shown, difference, level, margin, names, share),
    )


def _shown(question: Question, difference: Estimate, margin: float) -> bool | None:
    if difference.low is None or difference.high is None:
        return None
    if question == "superiority":
        return difference.low > 0
    if question == "non-inferiority":
        return difference.low > -margin
    return -margin < difference.low and difference.high < margin


def _sentence(
    question: Question,
    shown: bool | None,
    found: Estimate,
    level: float,
    margin: float,
    names: tuple[str, str],
    share: bool,
) -> str:
    first, second = names
    scale, form, unit = (100, "+.1f", " points") if share else (1, "+.3g", "")
    most = f"{scale * margin:g}{unit}"
    claims = {
        "superiority": f"better than {second}",
        "non-inferiority": f"not worse than {second} by {most} or more",
        "equivalence": f"equivalent to {second} within {most}",
    }
    claim = claims[question]
    if found.low is None or found.high is None or found.mean is None:
        return f"whether {first} is {claim} cannot be said: {found.method}, {found.excluded} items excluded."
    figures = (
        f"{scale * found.mean:{form}}{unit}, {100 * level:g}% interval "
        f"{scale * found.low:{form}} to {scale * found.high:{form}}"
        f" (n {found.n}, {found.n_groups} groups, {found.excluded} excluded)"
    )
    if shown:
        return f"{first} is {claim}: {figures}."
    contrary = ""
    if question == "superiority" and found.high < 0:
        contrary = f"; {first} is worse"
    elif question == "non-inferiority" and found.high < -margin:
        contrary = f"; {first} is worse by more than the margin"
    elif question == "equivalence" and (found.low > margin or found.high < -margin):
        contrary = "; they differ by more than the margin"
    return f"it is not shown that {first} is {claim}: {figures}{contrary}."
