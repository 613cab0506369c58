"""Policies: named variants of a logic's rules, for where sources differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from vlmalign.clinical.rules import Band, Condition, Constraint, Rule
from vlmalign.records.base import Part
from vlmalign.records.errors import DataError

if TYPE_CHECKING:
    from vlmalign.clinical.schema import Logic


class Override(Part):
    """What a policy puts in the place of a concept's own rules; what it leaves out stays."""

    derived: tuple[Rule, ...] | None = Field(None, min_length=1)
    bands: tuple[Band, ...] | None = Field(None, min_length=2)
    needs: Condition | None = None
    min_images: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _changes_something(self) -> Override:
        if not self.model_fields_set:
            raise ValueError("an override changes nothing: give it derived, bands, needs or min_images")
        return self


class Policy(Part):
    """One source's reading of the rules; wording and values are the same under every policy."""

    source: str = Field(min_length=1, description="who decides so, and where it is written")
    concepts: dict[str, Override] = Field(default_factory=dict)
    constraints: tuple[Constraint, ...] = Field((), description="one of a known name replaces that one")
    without: tuple[str, ...] = Field((), description="names of constraints that do not hold")
    never: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="concept -> values that this policy never gives"
    )


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
