"""What findings say of one concept: probabilities of its values, from numbers, shares, categories and presence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vlmalign.clinical.rules import Measurement
from vlmalign.clinical.schema import Concept, Logic
from vlmalign.clinical.shares import Share
from vlmalign.records.errors import DataError
from vlmalign.records.finding import Finding


@dataclass
class Evidence:
    """What findings say of one concept.

    Attributes:
        measured: value to probability, one for each measured number (one for all where numbers are pooled).
        stated: the same for each category or presence.
        doubtful: some finding says that it is uncertain.
        share: what was counted, of a share.
        reasons: why there is no more.
    """

    measured: list[dict[str, float]] = field(default_factory=list)
    stated: list[dict[str, float]] = field(default_factory=list)
    doubtful: bool = False
    share: Share | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def spoken_of(self) -> bool:
        """Whether any finding is about the concept."""
        return bool(self.measured or self.stated or self.reasons)

    def without_measurement(self, reason: str) -> Evidence:
        """The same without the numbers, and why."""
        return replace(self, measured=[], share=None, reasons=[reason, *self.reasons])


def used_findings(logic: Logic) -> frozenset[str]:
    """Names of the findings that some concept of the logic reads.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> "platelet_count" in used_findings(load_logic("peripheral_smear"))
        True
    """
    measurements = [c.measurement for c in logic.concepts.values() if c.measurement is not None]
    totals = {m.of for m in measurements if m.of is not None}
    return frozenset({*logic.concepts, *(m.name for m in measurements), *totals})


def gather(name: str, concept: Concept, findings: Sequence[Finding]) -> Evidence:
    """Everything that findings say of a concept.

    Raises:
        DataError: a finding that does not fit the concept.
    """
    evidence = Evidence()
    measurement = concept.measurement
    own = [f for f in findings if f.concept == name or measurement is not None and f.concept == measurement.name]
    numbers: list[Finding] = []
    for finding in own:
        if finding.status == "not_assessed":
            evidence.reasons.append(f"{finding.expert} did not assess {finding.concept}")
            continue
        evidence.doubtful |= finding.status == "uncertain"
        pooled = measurement is not None and (measurement.of is not None or measurement.min_images > 1)
        if measurement is not None and finding.concept == measurement.name and pooled:
            numbers.append(finding)
        elif measurement is not None and finding.concept == measurement.name:
            evidence.measured.append(_measured(concept, measurement, finding))
        else:
            evidence.stated.append(_stated(name, concept, finding))
    if measurement is not None and numbers:
        if measurement.of is not None:
            _add_shares(evidence, measurement, measurement.of, numbers, findings)
        else:
            _add_means(evidence, measurement, numbers)
        filled = dict.fromkeys(concept.values, 0.0)
        evidence.measured = [{**filled, **masses} for masses in evidence.measured]
    return evidence


def _image(finding: Finding) -> tuple[str, int | None]:
    return finding.image.sha256, finding.image.frame


def _by_expert(findings: Sequence[Finding]) -> dict[str, dict[tuple[str, int | None], Finding]]:
    """Expert -> image -> the one finding that it has of the image."""
    found: dict[str, dict[tuple[str, int | None], Finding]] = {}
    for finding in findings:
        images = found.setdefault(finding.expert, {})
        if _image(finding) in images:
            rule = f"{finding.expert} measures {finding.concept} twice in one image"
            raise DataError(rule, "Keep one of the findings.", record=finding.id)
        images[_image(finding)] = finding
    return found


def _add_shares(
    evidence: Evidence, measurement: Measurement, of: str, numbers: Sequence[Finding], findings: Sequence[Finding]
) -> None:
    """K of n, both summed over the images of each expert; experts are averaged as findings are."""
    totals = _by_expert([f for f in findings if f.concept == of and f.status != "not_assessed"])
    for expert, counted in _by_expert(numbers).items():
        k = n = 0.0
        for image, finding in counted.items():
            total = totals.get(expert, {}).get(image)
            if total is None:
                evidence.reasons.append(
                    f"{expert} gives no {of} for an image in which it counts {measurement.name}"
                )
                break
            here, all_here = _number(finding, measurement.unit), _number(total, measurement.unit)
            if here is None or all_here is None:
                evidence.reasons.append(f"{expert} gives no number of {measurement.name} or of {of}")
                break
            if not 0 <= here <= all_here:
                rule = f"{measurement.name} is {here:g} of {all_here:g} {of}, expected 0 to {all_here:g}"
                raise _error(finding, rule, "Correct the counts")
            k, n = k + here, n + all_here
        else:
            if n == 0:
                evidence.reasons.append(f"{expert} counts no {of}, so there is no share of them")
                continue
            share = Share(k, n)
            evidence.measured.append(share.band_probabilities(measurement.bands))
            if evidence.share is None or n > evidence.share.total:
                evidence.share = share


def _add_means(evidence: Evidence, measurement: Measurement, numbers: Sequence[Finding]) -> None:
    """The mean of each expert's numbers over its images, where they are enough.

    Its standard deviation is the larger of two: sqrt(sum of s_i^2) / m from the experts' own, and the standard
    error s / sqrt(m) of the m images.
    """
    for expert, counted in _by_expert(numbers).items():
        values = [(_number(f, measurement.unit), f.std or 0.0) for f in counted.values()]
        known = [(value, std) for value, std in values if value is not None]
        m = len(known)
        if m < measurement.min_images:
            evidence.reasons.append(
                f"{expert} gives {measurement.name} of {m} image{'s' * (m != 1)}, "
                f"and {measurement.min_images} are needed"
            )
            continue
        mean = sum(value for value, _ in known) / m
        own = math.sqrt(sum(std**2 for _, std in known)) / m
        between = math.sqrt(sum((value - mean) ** 2 for value, _ in known) / (m - 1) / m)
        # a mean of counts is not whole: its bands meet at their edges
        smooth = measurement.model_copy(update={"count": False})
        evidence.measured.append(band_probabilities(smooth, mean, std=max(own, between)))


def _number(finding: Finding, unit: str) -> float | None:
    """The number of a finding; an absent one without a number is zero."""
    if finding.unit is not None and finding.unit != unit:
        rule = f"unit is {finding.unit!r}, the bands are in {unit!r}"
        raise _error(finding, rule, "Convert the measurement")
    value = finding.value
    if isinstance(value, str) or value is not None and not math.isfinite(value):
        raise _error(finding, f"value is {value!r}, expected a finite number", "Correct the finding")
    return 0.0 if value is None and finding.status == "absent" else value


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


def _stated(name: str, concept: Concept, finding: Finding) -> dict[str, float]:
    """Probability of each value of the concept according to a finding that is no measurement."""
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
    value = _number(finding, measurement.unit)
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


def _error(finding: Finding, rule: str, remedy: str) -> DataError:
    return DataError(rule, remedy + ".", record=finding.id, field="value")
