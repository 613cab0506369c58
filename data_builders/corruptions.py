"""Hard negatives: a true answer in which one named claim was changed, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from data_builders.rewording import number_in_band, other_numbers, swapped_words
from data_builders.statements import (
    Statement,
    difference,
    inserted,
    replaced,
    statements_of,
    without,
)
from data_builders.wrong_values import followed_by, place_of
from vlmalign.clinical import Logic, is_consistent, render_answer, render_sentence
from vlmalign.clinical.paths import forced_values
from vlmalign.clinical.schema import CONTRADICTORY, HEDGED, RESERVED, BankName
from vlmalign.records import ChangedClaim, Message
from vlmalign.records.hashing import derive_seed

CorruptionKind = Literal["flip", "laterality", "severity", "number", "stage", "add", "drop", "contradict"]
Wording = Literal["bank", "in_place"]
KINDS: tuple[CorruptionKind, ...] = get_args(CorruptionKind)
#: which aspects of a concept each change of a value is for
ASPECTS: Mapping[str, frozenset[str]] = {
    "flip": frozenset({"finding", "kind", "quality", "diagnosis", "action"}),
    **{kind: frozenset({kind}) for kind in ("laterality", "severity", "number", "stage")},
}
#: the side or severity of something that is absent would be another corruption: a finding that is not there
OF_WHAT_IS_THERE: frozenset[CorruptionKind] = frozenset({"laterality", "severity"})
Outcome = Literal["not_applicable", "not_readable"]


@dataclass(frozen=True)
class Corruption:
    """A corrupted answer and what was changed in it.

    Attributes:
        kind: what was done.
        concept: the concept whose claim was changed.
        before: its value in the true answer; None: it was not spoken of.
        after: its value now, `contradictory` beside the true sentence; None: it is not spoken of any more.
        messages: the corrupted answer.
        turn: place of the changed turn in the answer.
        sentence: the sentence that was written; None where one was cut.
        followed: further concepts that were changed so that they agree: (before, after).
        numbers: the number that was said, and the one that is said now.
    """

    kind: CorruptionKind
    concept: str
    before: str | None
    after: str | None
    messages: tuple[Message, ...]
    turn: int
    sentence: str | None
    followed: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    numbers: tuple[float, float] | None = None

    @property
    def changed_claim(self) -> ChangedClaim:
        """For a record whose chosen side is the true answer."""
        return ChangedClaim(concept=self.concept, chosen=self.before, rejected=self.after)


def corrupt(
    logic: Logic,
    prompt: Sequence[Message],
    messages: tuple[Message, ...],
    kind: CorruptionKind,
    *,
    seed: int,
    known: Mapping[str, str] | None = None,
    concepts: Collection[str] | None = None,
    bank: BankName = "train",
    wording: Wording = "bank",
    propagate: bool = False,
    but: Collection[tuple[Message, ...]] = (),
) -> Corruption | Outcome:
    """Corrupt a true answer in one way.

    `flip` changes the value of a finding, kind, quality, diagnosis or action; `laterality`, `severity` and
    `stage` that of a concept of this aspect; `number` that of a concept of this aspect, or a number that is said,
    into one of another band; a side or severity only into one that could stand beside the other findings, never
    that of something absent; `add` states a concept wrongly that the answer leaves out and whose value is known;
    `drop` cuts the sentence of a concept; `contradict` says another value after the true one, in a later turn
    where there is one. `add` and `drop` are for reports: a turn of a conversation owes its own answer.

    Of the other values those come first that could stand beside the findings of the answer: `right` for `left`
    rather than `not_applicable`. What was made is read back, and given only where exactly the named claim (and
    what followed it) is read otherwise. All other characters are as they were.

    Args:
        logic: the domain's clinical logic.
        prompt: what was asked.
        messages: the true answer.
        kind: what to do.
        seed: of concept, value and wording.
        known: what is true beyond the answer; only `add` needs it.
        concepts: only claims about these are changed; default all.
        bank: which paraphrases.
        wording: `bank`: a new sentence takes the place of the old one; `in_place`: the answer's own sentence with
            the words of the value changed. Where one cannot be, the other is tried; a sentence with several claims
            is changed in place or not at all.
        propagate: let the claims that contradict the changed one follow it (derived concepts, hierarchy).
        but: corrupted answers that were made already.

    Returns:
        The corruption, or why there is none: the answer has no such claim (`not_applicable`), or no change reads
        back as intended (`not_readable`).

    Raises:
        ValueError: an unknown kind or wording.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> from vlmalign.records import assistant, user
        >>> said = (assistant("Unremarkable. No leukocyte is seen in the field."),)
        >>> found = corrupt(load_logic("peripheral_smear"), (user("Describe it."),), said, "drop", seed=0)
        >>> found.messages[0].text, found.changed_claim
        ('Unremarkable.', ChangedClaim(concept='leukocyte', chosen='absent', rejected=None))
    """
    if kind not in KINDS or wording not in get_args(Wording):
        raise ValueError(f"kind is {kind!r} and wording {wording!r}: choose of {KINDS} and {get_args(Wording)}")
    work = _Work(logic, tuple(prompt), messages, kind, seed, bank, wording, known or {}, concepts)
    tried = False
    for attempt in work.attempts():
        tried = True
        if attempt.messages in but:
            continue
        done = work.with_followers(attempt) if propagate else attempt
        if done is not None and done.messages not in but and work.reads_back(done):
            return done
    return "not_readable" if tried else "not_applicable"


def _definite(said: Sequence[Statement]) -> dict[str, str]:
    """Concepts that sentences state with one definite value."""
    return {c: v[0] for s in said for c, v in s.claims.items() if len(v) == 1 and v[0] not in RESERVED}


@dataclass(frozen=True)
class _Work:
    """One answer to be corrupted in one way."""

    logic: Logic
    prompt: tuple[Message, ...]
    messages: tuple[Message, ...]
    kind: CorruptionKind
    seed: int
    bank: BankName
    wording: Wording
    known: Mapping[str, str]
    concepts: Collection[str] | None

    def attempts(self) -> Iterator[Corruption]:
        """Every change of the kind in a drawn order."""
        said = statements_of(self.logic, self.prompt, self.messages)
        if self.kind == "add":
            yield from self._additions(said)
            return
        definite = _definite(said)
        sites = self._sites(said)
        random.Random(derive_seed(self.seed, "site")).shuffle(sites)
        for concept, statement in sites:
            if self.kind == "drop":
                yield from self._drop(concept, statement)
                continue
            before = statement.claims[concept][0]
            values = self._shuffled([v for v in self.logic.concepts[concept].values if v != before], concept)
            # the other side rather than "no side to name": what could stand beside the other findings comes first
            values.sort(key=lambda value: not self._possible(definite, concept, value))
            if self.kind in OF_WHAT_IS_THERE and concept not in self.logic.derived_concepts:
                values = [value for value in values if self._possible(definite, concept, value)]
            if self.kind == "number" and concept in statement.numbers:  # a number rather than a word like `none`
                values.sort(key=lambda value: self._number(concept, value) is None)
            for after in values:
                if self.kind == "contradict":
                    yield self._contradiction(concept, statement, before, after)
                else:
                    yield from self._changes(concept, statement, before, after)

    def _sites(self, said: Sequence[Statement]) -> list[tuple[str, Statement]]:
        """Concepts that one sentence alone states, with one definite value, and that the kind is for."""
        places: dict[str, list[Statement]] = {}
        for statement in said:
            for concept in statement.claims:
                places.setdefault(concept, []).append(statement)
        found = []
        for concept, (first, *more) in places.items():
            values = first.claims[concept]
            if more or len(values) > 1 or values[0] in RESERVED or not self._allowed(concept):
                continue
            aspects = ASPECTS.get(self.kind)
            says_number = self.kind == "number" and concept in first.numbers
            if aspects is None or says_number or self.logic.concepts[concept].aspect in aspects:
                found.append((concept, first))
        return found

    def _possible(self, said: Mapping[str, str], concept: str, value: str) -> bool:
        """Whether a value could stand beside the findings that are stated; conclusions would follow."""
        derived = self.logic.derived_concepts
        return is_consistent(self.logic, {**{c: v for c, v in said.items() if c not in derived}, concept: value})

    def _allowed(self, concept: str) -> bool:
        return self.concepts is None or concept in self.concepts

    def _shuffled(self, values: list[str], *parts: str) -> list[str]:
        random.Random(derive_seed(self.seed, *parts)).shuffle(values)
        return values

    def _say(self, concept: str, value: str, *, asked: str | None = None, number: float | None = None) -> str:
        render = render_answer if asked == concept else render_sentence
        seed = derive_seed(self.seed, concept)
        return render(self.logic, concept, value, seed=seed, bank=self.bank, number=number)

    def _number(self, concept: str, value: str) -> float | None:
        """A number that means the value, if the concept is measured."""
        described = self.logic.concepts[concept]
        if described.measurement is None:
            return None
        decimals = described.numbers.decimals if described.numbers else 0
        return number_in_band(described.measurement, value, derive_seed(self.seed, concept, value), decimals)

    # -- the kinds ----------------------------------------------------------------------------------

    def _changes(self, concept: str, statement: Statement, before: str, after: str) -> Iterator[Corruption]:
        """The sentence with another value: from the bank, and in its own words."""
        number, numbers = None, None
        described = self.logic.concepts[concept]
        if concept in statement.numbers:
            number = self._number(concept, after)
            numbers = None if number is None else (statement.numbers[concept], number)
        elif self.kind == "number" and described.aspect != "number":
            return
        own_words = [
            *(other_numbers(statement.text, *numbers) if numbers else ()),
            *swapped_words(described, statement.text, before, after, derive_seed(self.seed, concept)),
        ]
        alone = set(statement.claims) == {concept}
        new = [self._say(concept, after, asked=statement.asked, number=number)] if alone else []
        for text in own_words + new if self.wording == "in_place" else new + own_words:
            messages = replaced(self.messages, statement, text)
            yield Corruption(self.kind, concept, before, after, messages, statement.turn, text, numbers=numbers)

    def _drop(self, concept: str, statement: Statement) -> Iterator[Corruption]:
        if set(statement.claims) == {concept} and statement.asked is None:
            messages = without(self.messages, statement)
            if messages[statement.turn].text.strip():
                before = statement.claims[concept][0]
                yield Corruption("drop", concept, before, None, messages, statement.turn, None)

    def _contradiction(self, concept: str, statement: Statement, before: str, after: str) -> Corruption:
        later = [t for t in range(statement.turn + 1, len(self.messages)) if self.messages[t].role == "assistant"]
        turn = random.Random(derive_seed(self.seed, "turn", concept)).choice(later or [statement.turn])
        sentence = self._say(concept, after)
        messages = inserted(self.messages, turn, None, sentence)
        return Corruption("contradict", concept, before, CONTRADICTORY, messages, turn, sentence)

    def _additions(self, said: Sequence[Statement]) -> Iterator[Corruption]:
        """Wrong values of concepts that a report leaves out and whose value is known, or follows."""
        if not said or any(s.asked is not None for s in said):
            return
        stated = {concept for s in said for concept in s.claims}
        truth = {**forced_values(self.logic, _definite(said)), **self.known}
        absent = [c for c in truth if c not in stated and truth[c] not in HEDGED and self._allowed(c)]
        for concept in self._shuffled(absent, "add"):
            presence = self.logic.concepts[concept].presence
            wrong = [v for v in self.logic.concepts[concept].values if v != truth[concept]]
            if presence is not None and truth[concept] == presence.denied and presence.affirmed in wrong:
                wrong = [str(presence.affirmed)]
            for after in self._shuffled(wrong, "add", concept):
                sentence = self._say(concept, after)
                turn, place = place_of(self.logic, concept, said)
                messages = inserted(self.messages, turn, place, sentence)
                yield Corruption("add", concept, None, after, messages, turn, sentence)

    # -- what follows, and reading back ---------------------------------------------------------------

    def with_followers(self, made: Corruption) -> Corruption | None:
        """The corruption with the other claims that cannot stand beside it changed too; None: one cannot be."""
        if made.after is None or made.after == CONTRADICTORY:
            return made
        messages, followed = made.messages, {}
        changes = followed_by(self.logic, self.prompt, messages, {made.concept: made.after})
        for concept, (before, after) in changes.items():
            said = statements_of(self.logic, self.prompt, messages)
            places = [s for s in said if concept in s.claims]
            if len(places) != 1 or set(places[0].claims) != {concept}:
                return None
            if after is None and places[0].asked is not None:
                return None
            text = None if after is None else self._say(concept, after, asked=places[0].asked)
            messages = without(messages, places[0]) if text is None else replaced(messages, places[0], text)
            followed[concept] = (before, after)
        return Corruption(**{**vars(made), "messages": messages, "followed": followed})

    def reads_back(self, made: Corruption) -> bool:
        """Whether exactly the recorded claims are read otherwise, and nothing else."""
        found = difference(self.logic, self.prompt, self.messages, made.messages)
        return found.only_claims and found.claims == {
            made.concept: (made.before, made.after),
            **made.followed,
        }
