"""Errors that readers marked on sentences: how many, of which weight, and in which arm more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.paired_tests import holm
from vlmalign.evaluation.rare_events import one_sided_bound, widen_if_rare
from vlmalign.evaluation.ratio_of_sums import ratio_of_sums
from vlmalign.evaluation.readers_and_cases import Estimand
from vlmalign.reader_study.analysis.rated_texts import Rated, paired_difference, paired_values, rated_text
from vlmalign.reader_study.analysis.reported import Reported, report
from vlmalign.reader_study.collecting import Collected

MINOR, MAJOR = 1, 2


@dataclass(frozen=True)
class Marked:
    """One text as one reader marked it; without the statement that all errors are marked, nothing is known."""

    text: Rated  # value: marks of any weight; None where the reader did not state that all are marked
    minor: int | None
    major: int | None
    sentences: int


@dataclass(frozen=True)
class ArmErrors:
    """One arm, first readings only; texts of which the reader did not state that all is marked are excluded.

    Attributes:
        minor: marks in all.
        major: marks in all.
        texts: texts that were checked.
        unchecked: texts that were not.
        per_sentence: marked sentences by all sentences, over cases.
        any_error: share of texts with an error.
        any_major: share of texts with a major one.
    """

    minor: int
    major: int
    texts: int
    unchecked: int
    per_sentence: Estimate
    any_error: Reported
    any_major: Reported


@dataclass(frozen=True)
class ErrorDifference:
    """Marks in a text of `arm` less those in the text of `against`; tested against 0."""

    arm: str
    against: str
    paired: str
    difference: Reported
    p_holm: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return {**vars(self), "difference": self.difference.to_dict()}


def read_marks(found: Collected) -> list[Marked]:
    """Every text that was shown for marking."""
    texts = {reading.id: reading.texts for form in found.public.forms for reading in form.readings}
    marked = []
    for row in found.rows:
        if row.kind != "rate" or not found.public.questions.mark_errors:
            continue
        checked = row.answer is not None and row.answer.checked
        for place, sentences in enumerate(texts[row.reading]):
            marks = row.answer.errors[place] if row.answer is not None and row.answer.errors else ()
            minor, major = (marks.count(level) if checked else None for level in (MINOR, MAJOR))
            total = None if minor is None or major is None else float(minor + major)
            marked.append(Marked(rated_text(row, place, total), minor, major, len(sentences)))
    return marked


def arm_errors(
    marked: Sequence[Marked], arms: Iterable[str], *, estimand: Estimand | None = None, seed: int = 0
) -> dict[str, ArmErrors]:
    """Rates of each arm."""
    result = {}
    for arm in arms:
        own = [one for one in marked if one.text.arm == arm and not one.text.repeat]
        known = [one for one in own if one.text.value is not None]
        who, what = [one.text.reader for one in own], [one.text.case for one in own]
        some = [None if one.text.value is None else float(one.text.value > 0) for one in own]
        major = [None if one.major is None else float(one.major > 0) for one in own]
        result[arm] = ArmErrors(
            sum(one.minor or 0 for one in known),
            sum(one.major or 0 for one in known),
            len(known),
            len(own) - len(known),
            _per_sentence(known, len(own) - len(known)),
            report(some, who, what, estimand=estimand, seed=seed),
            report(major, who, what, estimand=estimand, seed=seed),
        )
    return result


def _per_sentence(known: Sequence[Marked], excluded: int) -> Estimate:
    if not known:
        return Estimate.nothing(excluded)
    sums = [one.text.value or 0.0 for one in known]
    cases = [one.text.case for one in known]
    found = ratio_of_sums(sums, [float(one.sentences) for one in known], cases, excluded=excluded)
    if found.low is None or found.high is None:
        return found
    with_marks = {case for case, value in zip(cases, sums, strict=True) if value}
    found = replace(found, low=max(0.0, found.low), high=min(1.0, found.high))
    if not with_marks:
        bound, method = one_sided_bound(found.n_groups), f"Clopper-Pearson, {found.n_groups} groups"
        return replace(found, high=bound, method=method)
    return widen_if_rare(found, len(with_marks), found.n_groups, 0.95)


def error_differences(
    marked: Sequence[Marked],
    pairs: Sequence[tuple[str, str]],
    *,
    estimand: Estimand | None = None,
    seed: int = 0,
) -> list[ErrorDifference]:
    """Marks per text, each pair of arms, with Holm's adjustment over the pairs."""
    most = float(max((one.sentences for one in marked), default=1))
    found = []
    for pair in pairs:
        paired = paired_values([one.text for one in marked], pair)
        difference = paired_difference(paired, (-most, most), estimand, seed)
        found.append(ErrorDifference(*pair, paired.how, difference))
    adjusted = holm([one.difference.p for one in found])
    return [replace(one, p_holm=p) for one, p in zip(found, adjusted, strict=True)]
