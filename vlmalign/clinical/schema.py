"""What a clinical logic is: concepts, their values and wording, questions, bands and rules."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import Field, model_validator

from vlmalign.records.base import Part
from vlmalign.records.hashing import config_hash

BankName = Literal["train", "test"]

UNCERTAIN = "uncertain"
NOT_ASSESSED = "not_assessed"
CONTRADICTORY = "contradictory"
HEDGED = frozenset({UNCERTAIN, NOT_ASSESSED})
RESERVED = HEDGED | {CONTRADICTORY}
CONDITION_KEYS = frozenset({"answers", "all", "any", "not", "negated"})

Phrases = tuple[str, ...]


class Bank(Part):
    """Paraphrases of one thing: `train` for building data, `test` held out of it."""

    train: tuple[str, ...] = Field(min_length=1)
    test: tuple[str, ...] = Field(min_length=1)

    def of(self, name: BankName) -> tuple[str, ...]:
        """The sentences of one side."""
        if name not in ("train", "test"):
            raise ValueError(f"bank is {name!r}: choose 'train' or 'test'")
        return self.train if name == "train" else self.test

    @property
    def all(self) -> tuple[str, ...]:
        """Both sides, train first."""
        return self.train + self.test


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
    source: str | None = None

    def band(self, number: float) -> str:
        """The value whose band holds the number; counts that are not whole go to the nearest one."""
        shift = 0.5 if self.count else 0.0
        for band in self.bands:
            if band.below is None or number < band.below - shift:
                return band.value
        raise AssertionError("the last band is open")


class Numbers(Part):
    """How a number is said of a concept; `{n}` is the number, `{mention}` any mention of the concept."""

    forms: Phrases = Field((), description="what the parser reads as this number")
    sentences: Bank | None = Field(None, description="for two and more")
    singular: Bank | None = Field(None, description="for exactly one")
    decimals: int = Field(0, ge=0, le=4)


class Presence(Part):
    """What it means that the concept is affirmed or denied as such ("no leukocyte")."""

    affirmed: str | None = Field(None, description="absent: an affirmation alone does not settle the value")
    denied: str
    bare: bool = Field(False, description="a mention without any verb affirms (telegraphic reports)")


class Value(Part):
    """One answer to a concept's question."""

    sentences: Bank = Field(description="sentences of a report; each can stand alone")
    answers: Bank | None = Field(None, description="answers to the question, where they differ")
    phrases: Phrases = Field((), description="wording that means this value wherever it stands")
    terms: Phrases = Field((), description="wording that means it beside a mention of the concept")
    opposite: str | None = Field(None, description="the value that the negated wording means, if any")


class Concept(Part):
    """One thing that is asked and reported."""

    name: str = Field(description="noun phrase for readers and for sentences that hedge")
    note: str | None = None
    mentions: Phrases = Field(min_length=1, description="nouns that name it; a plural in -s is understood")
    about: tuple[str, ...] = Field((), description="concepts whose mention also gives its terms a subject")
    presence: Presence | None = None
    yes: str | None = Field(None, description="what the answer `yes` to its question means")
    no: str | None = Field(None, description="what the answer `no` to its question means")
    values: dict[str, Value] = Field(min_length=2)
    measurement: Measurement | None = None
    numbers: Numbers | None = None
    derived: tuple[Rule, ...] = Field((), description="ordered rules; absent for observed concepts")


class Question(Part):
    """The question that asks a concept."""

    concept: str
    train: tuple[str, ...] = Field(min_length=1)
    test: tuple[str, ...] = Field(min_length=1)

    @property
    def bank(self) -> Bank:
        """Its wording as a bank."""
        return Bank(train=self.train, test=self.test)


class UnsupportedKind(Part):
    """Statements that no image of this domain can support."""

    patterns: tuple[str, ...] = Field(min_length=1, description="regular expressions on the lower-case sentence")
    examples: Bank


class Cues(Part):
    """Additions to the general English cue words of `vlmalign.clinical.english`."""

    deny_before: Phrases = ()
    deny_after: Phrases = ()
    affirm: Phrases = ()
    uncertain: Phrases = ()
    uncertain_next: Phrases = ()
    not_assessed: Phrases = ()
    neutral: Phrases = ()


class Hedges(Part):
    """Sentences that hedge, with `{name}` for the concept's name."""

    uncertain: Bank
    not_assessed: Bank


class Source(Part):
    """Where a rule comes from."""

    title: str
    supports: str


class Logic(Part):
    """One domain's clinical logic: the single source for generator, parser, reward and metrics.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> load_logic("peripheral_smear").concepts["crowding"].measurement.band(0.5)
        'crowded'
    """

    schema_version: Literal[1]
    domain: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    sources: tuple[Source, ...] = ()
    report_prompts: Bank
    concepts: dict[str, Concept] = Field(min_length=1)
    questions: tuple[Question, ...] = Field(min_length=1, description="in canonical order; also of reports")
    constraints: tuple[Constraint, ...] = ()
    unsupported: dict[str, UnsupportedKind] = Field(default_factory=dict)
    hedges: Hedges
    cues: Cues = Cues()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the whole content, for provenance and caches."""
        return config_hash(self.model_dump(mode="json"))

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def order(self) -> tuple[str, ...]:
        """Concept names in canonical order."""
        return tuple(question.concept for question in self.questions)

    @property
    def derived_concepts(self) -> tuple[str, ...]:
        """Concepts that follow from others, in canonical order."""
        return tuple(name for name in self.order if self.concepts[name].derived)

    def concept(self, name: str) -> Concept:
        """The concept of that name.

        Raises:
            ValueError: the logic has none.
        """
        if name not in self.concepts:
            raise ValueError(f"concept {name!r} is not in {self.domain}: choose one of {list(self.concepts)}")
        return self.concepts[name]

    def check_value(self, concept: str, value: str, *, reserved: bool = False) -> None:
        """Raise ValueError unless `value` is a value of `concept` (or, if allowed, a reserved state)."""
        values = self.concept(concept).values
        if value not in values and not (reserved and value in RESERVED):
            raise ValueError(f"{concept} = {value!r} is not in {self.domain}: choose one of {list(values)}")
