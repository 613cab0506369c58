"""Conditions on answers, ordered rules, constraints, and the bands of a measurement."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from vlmalign.records.base import Part

CONDITION_KEYS = frozenset({"answers", "all", "any", "not", "negated"})


class Condition(Part):
    """A statement about answers; every part that is given must hold.

    In YAML `{crowding: crowded, platelets: [few, many]}` is short for `answers`; `any`, `all` and `not`
    combine further conditions.
    """

    answers: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="concept -> allowed values")
    all: tuple[Condition, ...] = ()
    any: tuple[Condition, ...] = ()
    negated: Condition | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not data:
            raise ValueError("a condition is a mapping such as {crowding: crowded, platelets: [few, many]}")
        empty = [
            key for key, part in data.items() if key not in ("answers", "negated") and part in ("", [], {}, ())
        ]
        if empty and "answers" not in data:
            raise ValueError(f"{empty[0]!r} of a condition is empty: give it at least one part, or delete it")
        full = {("negated" if key == "not" else key): data[key] for key in data if key in CONDITION_KEYS}
        short = {key: data[key] for key in data if key not in CONDITION_KEYS}
        answers = {**full.pop("answers", {}), **short}
        return {**full, "answers": {k: (v,) if isinstance(v, str) else v for k, v in answers.items()}}

    @property
    def concepts(self) -> frozenset[str]:
        """Every concept that it mentions."""
        parts = (*self.all, *self.any, *((self.negated,) if self.negated else ()))
        return frozenset(self.answers).union(*(part.concepts for part in parts))


class Rule(Part):
    """One line of an ordered decision: the first rule that holds gives the value."""

    when: Condition | None = Field(None, description="absent: otherwise")
    value: str


class Constraint(Part):
    """A condition that every valid path obeys: `require`, `if` + `then`, or `iff` of two conditions."""

    name: str
    require: Condition | None = None
    if_: Condition | None = Field(None, alias="if")
    then: Condition | None = None
    iff: tuple[Condition, Condition] | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Constraint:
        forms = (self.require is not None, self.if_ is not None and self.then is not None, self.iff is not None)
        if sum(forms) != 1 or (self.if_ is None) != (self.then is None):
            raise ValueError(f"constraint {self.name!r} must have exactly one of: require; if and then; iff")
        return self


class Band(Part):
    """Values of a measurement below `below` (and not below the band before) give `value`."""

    value: str
    below: float | None = Field(None, description="absent in the last band")


class Measurement(Part):
    """How a measured number becomes an answer."""

    name: str = Field(description="concept name of the finding that holds the number")
    unit: str = Field(description="UCUM-like unit in which the bands are given; 1 for counts and fractions")
    count: bool = Field(False, description="whole numbers: bands meet at half-integers under uncertainty")
    bands: tuple[Band, ...] = Field(min_length=2)
    of: str | None = Field(None, description="finding that holds the total n: the number is then k of n, a share")
    needs: Condition | None = Field(
        None, description="answers under which the number means anything; else the concept is not assessed"
    )
    min_images: int = Field(
        1, ge=1, description="from 2 on: the mean over at least so many images, else no answer"
    )
    source: str | None = None

    def band(self, number: float) -> str:
        """The value whose band holds the number; counts that are not whole go to the nearest one."""
        shift = 0.5 if self.count else 0.0
        for band in self.bands:
            if band.below is None or number < band.below - shift:
                return band.value
        raise AssertionError("the last band is open")
