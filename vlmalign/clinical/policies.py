"""Policies: named variants of a logic's rules, for where sources differ."""

from __future__ import annotations

from pydantic import Field, model_validator

from vlmalign.clinical.rules import Band, Condition, Constraint, Rule
from vlmalign.records.base import Part


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
