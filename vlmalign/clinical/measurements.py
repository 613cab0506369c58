"""From an expert's findings to answers: categories, presence, and measurements through their bands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vlmalign.clinical.paths import derive
from vlmalign.clinical.schema import Concept, Logic, Measurement
from vlmalign.records.errors import DataError
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
    """

    answers: dict[str, str]
    uncertain: dict[str, float]
    probabilities: dict[str, dict[str, float]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


def answers_from_findings(
    logic: Logic, findings: Iterable[Finding], *, min_probability: float = 0.8
) -> FoundAnswers:
    """Answers that findings of one image support.

    A category finding gives its value. A measurement x with standard deviation s gives each band [a, b) the
    probability Phi((b - x) / s) - Phi((a - x) / s); for counts a and b are moved down to half-integers, and
    a probability that the count is not zero, where the finding has one, replaces the mass of the zero band.
    Without a standard deviation the value is taken as exact. Several findings of one concept are averaged.
    Findings that are `not_assessed` say nothing; an `uncertain` one never settles its concept.

    Args:
        logic: the domain.
        findings: of one image.
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
    if not 0.5 < min_probability <= 1:
        raise ValueError(f"min_probability is {min_probability}: it must lie above 0.5 and at most at 1")
    users: dict[str, list[str]] = {}
    for name, concept in logic.concepts.items():
        for key in {name, *((concept.measurement.name,) if concept.measurement else ())}:
            users.setdefault(key, []).append(name)
    masses: dict[str, list[dict[str, float]]] = {}
    doubtful: set[str] = set()
    unused: dict[str, None] = {}
    for finding in findings:
        if finding.status == "not_assessed":
            continue
        if finding.concept not in users:
            unused[finding.concept] = None
        for name in users.get(finding.concept, ()):
            masses.setdefault(name, []).append(_masses(name, logic.concepts[name], finding))
            if finding.status == "uncertain":
                doubtful.add(name)
    answers: dict[str, str] = {}
    uncertain: dict[str, float] = {}
    probabilities: dict[str, dict[str, float]] = {}
    for name in (n for n in logic.order if n in masses):
        pooled = probabilities[name] = _mean(masses[name])
        best = max(pooled, key=pooled.__getitem__)
        if name not in doubtful and pooled[best] >= min_probability:
            answers[name] = best
        else:
            uncertain[name] = pooled[best]
    return FoundAnswers(derive(logic, answers), uncertain, probabilities, tuple(unused))


def band_probabilities(
    measurement: Measurement, value: float, *, std: float | None = None, probability: float | None = None
) -> dict[str, float]:
    """Probability of each band for a measured value.

    Args:
        measurement: the bands.
        value: what was measured.
        std: its standard deviation; None or 0 means exact.
        probability: that a count is not zero; used when the first band is zero alone.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> bands = load_logic("peripheral_smear").concepts["platelets"].measurement
        >>> {k: round(p, 3) for k, p in band_probabilities(bands, 2.0, std=1.0).items()}
        {'none': 0.067, 'few': 0.625, 'many': 0.309}
    """
    masses = dict.fromkeys((band.value for band in measurement.bands), 0.0)
    if std:
        below = 0.0
        shift = 0.5 if measurement.count else 0.0
        for band in measurement.bands:
            upto = 1.0 if band.below is None else _normal_cdf((band.below - shift - value) / std)
            masses[band.value] += upto - below
            below = upto
    else:
        masses[measurement.band(value)] = 1.0
    zero = measurement.bands[0]
    if probability is None or not measurement.count or zero.below != 1:
        return masses
    rest = 1.0 - masses[zero.value]
    if rest <= 0:  # the count says zero, the probability does not: the smallest count is the nearest reading
        masses[measurement.bands[1].value] = rest = 1.0
    scaled = {name: probability * mass / rest for name, mass in masses.items()}
    scaled[zero.value] = 1.0 - probability
    return scaled


def _normal_cdf(z: float) -> float:
    return 0.5 * (1.0 + math.erf(z / math.sqrt(2.0)))


def _masses(name: str, concept: Concept, finding: Finding) -> dict[str, float]:
    """Probability of each value of the concept according to one finding."""
    measurement = concept.measurement
    if measurement is not None and finding.concept == measurement.name:
        return _measured(concept, measurement, finding)
    if isinstance(finding.value, str):
        return _category(name, concept, finding, finding.value)
    if concept.presence is None:
        if finding.status == "uncertain" and finding.value is None:
            return dict.fromkeys(concept.values, 1.0 / len(concept.values))
        raise _error(
            finding, f"a finding of {name} needs a category as its value", f"Use one of {[*concept.values]}"
        )
    return _present(concept, finding)


def _measured(concept: Concept, measurement: Measurement, finding: Finding) -> dict[str, float]:
    if finding.unit is not None and finding.unit != measurement.unit:
        raise _error(
            finding, f"unit is {finding.unit!r}, the bands are in {measurement.unit!r}", "Convert the measurement"
        )
    value = finding.value
    if isinstance(value, str) or value is not None and not math.isfinite(value):
        raise _error(finding, f"value is {value!r}, expected a finite number", "Correct the finding")
    if value is None and finding.status == "absent":
        value = 0.0
    if value is None:
        return _present(concept, finding)
    masses = dict.fromkeys(concept.values, 0.0)
    masses.update(band_probabilities(measurement, value, std=finding.std, probability=finding.probability))
    return masses


def _category(name: str, concept: Concept, finding: Finding, value: str) -> dict[str, float]:
    if value not in concept.values:
        raise _error(finding, f"{name} has no value {value!r}", f"Use one of {[*concept.values]}")
    if finding.status == "absent" and concept.presence is not None and value == concept.presence.denied:
        raise _error(
            finding,
            f"status 'absent' and value {value!r} deny each other, and would be read as present",
            f"Leave the value out, or give {value!r} the status 'present'",
        )
    chance = 1.0 / len(concept.values)
    probability = finding.probability
    if probability is None:
        probability = {"present": 1.0, "absent": 0.0}.get(finding.status, chance)
    others = (1.0 - probability) / (len(concept.values) - 1)
    return {v: probability if v == value else others for v in concept.values}


def _present(concept: Concept, finding: Finding) -> dict[str, float]:
    """A finding that only says present or absent; what presence leaves open is shared evenly."""
    if concept.presence is None:
        return dict.fromkeys(concept.values, 1.0 / len(concept.values))
    denied = concept.presence.denied
    default = {"present": 1.0, "absent": 0.0}.get(finding.status, 0.5)
    probability = default if finding.probability is None else finding.probability
    affirmed = concept.presence.affirmed
    rest = [affirmed] if affirmed else [v for v in concept.values if v != denied]
    return {
        v: 1.0 - probability if v == denied else probability / len(rest) if v in rest else 0.0
        for v in concept.values
    }


def _mean(masses: list[dict[str, float]]) -> dict[str, float]:
    return {value: sum(m[value] for m in masses) / len(masses) for value in masses[0]}


def _error(finding: Finding, rule: str, remedy: str) -> DataError:
    return DataError(rule, remedy + ".", record=finding.id, field="value")


def measured_concepts(logic: Logic) -> Mapping[str, str]:
    """Concepts that a measurement can answer, with the name of the measurement.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> measured_concepts(load_logic("peripheral_smear"))["platelets"]
        'platelet_count'
    """
    return {name: c.measurement.name for name, c in logic.concepts.items() if c.measurement is not None}
