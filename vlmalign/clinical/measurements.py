"""From an expert's findings to answers: categories, presence, and measurements through their bands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from vlmalign.clinical.evidence import Evidence, gather, used_findings
from vlmalign.clinical.paths import derive, holds
from vlmalign.clinical.rules import Condition
from vlmalign.clinical.schema import Logic
from vlmalign.clinical.shares import Share
from vlmalign.records.finding import Finding


@dataclass(frozen=True)
class FoundAnswers:
    """What findings say in the terms of a logic.

    Attributes:
        answers: concepts settled with enough probability, and derived concepts that they determine.
        uncertain: concepts that the findings speak of but do not settle, with the probability of their best
            value (one in the number of values where the findings leave it fully open).
        probabilities: every concept spoken of, value to probability.
        unused: names of findings that no concept of the logic uses, once each.
        not_assessed: concepts that findings speak of but that cannot be judged from them, with the reason:
            what a measurement needs does not hold or is not known, too few images, nothing counted.
        shares: what was counted for concepts that are shares; `Share.wilson` gives the interval.
    """

    answers: dict[str, str]
    uncertain: dict[str, float]
    probabilities: dict[str, dict[str, float]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    not_assessed: dict[str, str] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)


def check_min_probability(min_probability: float) -> None:
    """Refuse a probability by which two values could both be sure, for a build to ask before it writes.

    Raises:
        ValueError: it is not in (0.5, 1].

    Example:
        >>> check_min_probability(0.5)
        Traceback (most recent call last):
        ...
        ValueError: min_probability is 0.5: it must lie above 0.5 and at most at 1
    """
    if not 0.5 < min_probability <= 1:
        raise ValueError(f"min_probability is {min_probability}: it must lie above 0.5 and at most at 1")


def answers_from_findings(
    logic: Logic, findings: Iterable[Finding], *, min_probability: float = 0.8
) -> FoundAnswers:
    """Answers that findings of one case support.

    A category finding gives its value. A measurement x with standard deviation s gives each band [a, b) the
    probability Phi((b - x) / s) - Phi((a - x) / s); for counts a and b are moved down to half-integers, and
    a probability that the count is not zero, where the finding has one, replaces the mass of the zero band.
    Without a standard deviation the value is taken as exact. Several findings of one concept are averaged.
    Findings that are `not_assessed` say nothing; an `uncertain` one never settles its concept.

    A share (`of`) has the band probabilities of Beta(k + 1/2, n - k + 1/2), k and n summed over the images; a
    measurement with `min_images` is the mean over the distinct images, of which there must be so many. A
    measurement whose `needs` do not hold, or are not known to hold, says nothing. Where nothing else speaks of
    such a concept it is not assessed.

    Args:
        logic: the domain.
        findings: of one case, that is of one image or of several.
        min_probability: what the best value needs to become an answer; above 0.5.

    Raises:
        ValueError: min_probability is not in (0.5, 1].
        DataError: a category or unit that the logic does not have, a measurement that is not a number, or a
            finding that denies its own denial.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> from vlmalign.records import Finding, ImageRef
        >>> cover = Finding(id="f", image=ImageRef(path="images/x.png", sha256="0" * 64), expert="cells@1",
        ...                 concept="red_cell_cover", status="present", value=0.42, unit="1", std=0.02)
        >>> answers_from_findings(load_logic("peripheral_smear"), [cover], min_probability=0.8).answers
        {'crowding': 'crowded', 'impression': 'thick_area'}
    """
    check_min_probability(min_probability)
    given = list(findings)
    used = used_findings(logic)
    unused = dict.fromkeys(f.concept for f in given if f.status != "not_assessed" and f.concept not in used)
    evidence = {name: gather(name, logic.concepts[name], given) for name in logic.order}
    found = FoundAnswers({}, {}, unused=tuple(unused))
    waiting = [name for name in logic.order if evidence[name].spoken_of]
    progress = True
    while progress:  # what one measurement needs to be known may follow from another one
        progress = False
        known = derive(logic, found.answers)
        for name in tuple(waiting):
            measurement = logic.concepts[name].measurement
            needs = measurement.needs if measurement is not None and evidence[name].measured else None
            if needs is None or holds(needs, known):
                _settle(found, name, evidence[name], min_probability)
                waiting.remove(name)
                progress = True
    for name in waiting:
        measured = logic.concepts[name].measurement
        assert measured is not None and measured.needs is not None
        reason = _unmet(measured.needs, derive(logic, found.answers))
        _settle(found, name, evidence[name].without_measurement(reason), min_probability)
    in_order = {name: found.answers[name] for name in logic.order if name in found.answers}
    return replace(found, answers=derive(logic, in_order))


def _settle(found: FoundAnswers, name: str, evidence: Evidence, min_probability: float) -> None:
    """Enter what is known of one concept."""
    if evidence.share is not None:
        found.shares[name] = evidence.share
    masses = evidence.measured + evidence.stated
    if not masses:
        found.not_assessed[name] = "; ".join(dict.fromkeys(evidence.reasons))
        return
    pooled = found.probabilities[name] = _mean(masses)
    best = max(pooled, key=pooled.__getitem__)
    if not evidence.doubtful and pooled[best] >= min_probability:
        found.answers[name] = best
    else:
        found.uncertain[name] = pooled[best]


def _unmet(needs: Condition, answers: Mapping[str, str]) -> str:
    known = ", ".join(f"{name} is {answers.get(name, 'not known')}" for name in sorted(needs.concepts))
    return f"what the measurement needs does not hold: {known}"


def _mean(masses: list[dict[str, float]]) -> dict[str, float]:
    return {value: sum(m[value] for m in masses) / len(masses) for value in masses[0]}


def measured_concepts(logic: Logic) -> Mapping[str, str]:
    """Concepts that a measurement can answer, with the name of the measurement.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> measured_concepts(load_logic("peripheral_smear"))["platelets"]
        'platelet_count'
    """
    return {name: c.measurement.name for name, c in logic.concepts.items() if c.measurement is not None}
