"""What a clinical logic is: concepts, their values and wording, questions and rules."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field

from vlmalign.clinical.policies import Policy
from vlmalign.clinical.rules import Constraint, Measurement, Rule
from vlmalign.records.base import Part
from vlmalign.records.hashing import config_hash

BankName = Literal["train", "test"]
Aspect = Literal[
    "finding", "laterality", "severity", "stage", "number", "kind", "quality", "diagnosis", "action"
]  # fmt: skip

UNCERTAIN = "uncertain"
NOT_ASSESSED = "not_assessed"
CONTRADICTORY = "contradictory"
HEDGED = frozenset({UNCERTAIN, NOT_ASSESSED})
RESERVED = HEDGED | {CONTRADICTORY}

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


class Numbers(Part):
    """How a number is said of a concept; `{n}` is the number, `{mention}` any mention of the concept."""

    forms: Phrases = Field((), description="what the parser reads as this number")
    sentences: Bank | None = Field(None, description="for two and more")
    singular: Bank | None = Field(None, description="for exactly one")
    decimals: int = Field(0, ge=0, le=4)
    percent: bool = Field(False, description="{n} is a fraction, said as `25 %`")


class Presence(Part):
    """What it means that the concept is affirmed or denied as such ("no leukocyte")."""

    affirmed: str | None = Field(None, description="absent: an affirmation alone does not settle the value")
    denied: str
    bare: bool = Field(False, description="a mention without any verb affirms (telegraphic reports)")


class Value(Part):
    """One answer to a concept's question."""

    sentences: Bank = Field(description="sentences of a report; each can stand alone")
    answers: Bank | None = Field(None, description="answers to the question, where they differ")
    phrases: Phrases = Field(
        (), description="wording that means this value wherever it stands; with a full stop: as a whole sentence"
    )
    terms: Phrases = Field((), description="wording that means it beside a mention of the concept")
    opposite: str | None = Field(None, description="the value that the negated wording means, if any")


class Concept(Part):
    """One thing that is asked and reported."""

    name: str = Field(description="noun phrase for readers and for sentences that hedge")
    note: str | None = None
    aspect: Aspect = Field("finding", description="what sort of claim it is; corruptions choose by it")
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
    policies: dict[str, Policy] = Field(default_factory=dict, description="variants, where sources differ")
    default_policy: str | None = Field(None, description="absent: the first of `policies`")
    policy: str | None = Field(None, description="the policy that is resolved in it; set by `load_logic` alone")
    unsupported: dict[str, UnsupportedKind] = Field(default_factory=dict)
    hedges: Hedges
    cues: Cues = Cues()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content that is in force, for provenance and caches; other policies do not count."""
        return config_hash(self.model_dump(mode="json", exclude={"policies", "default_policy"}))

    @property
    def name(self) -> str:
        """What `load_logic` knows it by: the domain, with its policy where there is one (`amd_oct@beckman`)."""
        return self.domain if self.policy is None else f"{self.domain}@{self.policy}"

    def __eq__(self, other: object) -> bool:
        # logics are keys of caches: comparing them field by field would cost more than the caches save
        return isinstance(other, Logic) and (self is other or self.fingerprint == other.fingerprint)

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

    @property
    def observed_concepts(self) -> tuple[str, ...]:
        """Concepts that are seen, and follow from no others, in canonical order."""
        return tuple(name for name in self.order if not self.concepts[name].derived)

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
