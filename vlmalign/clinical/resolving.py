"""A logic under one of its policies."""

from __future__ import annotations

from vlmalign.clinical.schema import Logic
from vlmalign.records.errors import DataError


def resolve(logic: Logic, name: str) -> Logic:
    """A logic as its file writes it, with the rules of one of its policies in force.

    Raises:
        ValueError: a policy is in force already.
        DataError: the policy speaks of a concept, measurement, rule or constraint that the logic does not
            have.
    """
    if logic.policy is not None:
        raise ValueError(f"{logic.name} has a policy in force: resolve the logic as its file writes it")
    policy = logic.policies[name]
    concepts = dict(logic.concepts)
    for key, override in policy.concepts.items():
        place = f"policies.{name}.concepts.{key}"
        if key not in concepts:
            raise DataError(f"unknown concept {key!r}", f"Use one of {list(concepts)}.", field=place)
        concept = concepts[key]
        if override.derived is not None:
            if not concept.derived:
                raise DataError(f"{key!r} is observed", "Only derived concepts have rules.", field=place)
            concept = concept.model_copy(update={"derived": override.derived})
        changed = {n: v for n in ("bands", "needs", "min_images") if (v := getattr(override, n)) is not None}
        if changed:
            if concept.measurement is None:
                raise DataError(f"{key!r} has no measurement", f"Leave {[*changed]} out.", field=place)
            concept = concept.model_copy(update={"measurement": concept.measurement.model_copy(update=changed)})
        concepts[key] = concept
    constraints = {constraint.name: constraint for constraint in logic.constraints}
    for gone in policy.without:
        if gone not in constraints:
            rule = f"no constraint is named {gone!r}"
            raise DataError(rule, f"Use one of {list(constraints)}.", field=f"policies.{name}.without")
        del constraints[gone]
    constraints |= {constraint.name: constraint for constraint in policy.constraints}
    resolved = logic.model_copy(
        update={"concepts": concepts, "constraints": tuple(constraints.values()), "policy": name}
    )
    resolved.__dict__.pop("fingerprint", None)  # a copy keeps what the original has cached
    return resolved
