"""Reading the clauses of one sentence: which value each mention gets, under denial and doubt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vlmalign.clinical.lexicon import Entry, Match, as_number
from vlmalign.clinical.schema import NOT_ASSESSED, UNCERTAIN, Logic

_SUBJECTS = frozenset({"mention", "phrase", "term", "number"})
_PREDICATES = frozenset({"verb", "have", "affirm", "deny_after"})
_ADVERBS = frozenset({"not", "cannot", "never"})
# a number after one of these is a bound or a range, not a count
_BOUNDS = frozenset({"than", "over", "under", "least", "most", "below", "above", "to", "or"})
_PERCENT = frozenset({"%", "percent"})


@dataclass(frozen=True)
class Reading:
    """A value read for a concept, with the number that was said, if one was."""

    concept: str
    value: str
    number: float | None = None


def read_clauses(logic: Logic, tokens: list[str], matches: list[Match], asked: str | None) -> list[Reading]:
    """Read one sentence.

    Args:
        logic: the domain.
        tokens: its words.
        matches: what the lexicon found in them.
        asked: the concept that the sentence answers, if it is an answer: it then is the subject of clauses
            that name none.
    """
    readings: list[Reading] = []
    before: list[Match] = []
    for clause in _split(matches, tokens):
        mentions = [m for m in clause if m.entry.kind == "mention"]
        inherited = [] if mentions else before
        readings += _Clause(logic, tokens, clause, mentions, inherited, asked).read()
        if mentions:
            denied = any(m.entry.kind in ("deny_before", "deny_after") for m in clause)
            before = [] if denied else mentions
    return readings


def _split(matches: list[Match], tokens: list[str]) -> Iterator[list[Match]]:
    """Clauses of a sentence: at a break always, at a comma or `and` only where a new statement begins."""
    clause: list[Match] = []
    for index, match in enumerate(matches):
        kind = match.entry.kind
        nor = kind == "deny_before" and tokens[match.start] == "nor"
        if (
            kind == "break"
            or nor
            or kind == "and"
            and _begins_anew(clause, matches[index + 1 :], comma=tokens[match.start] == ",")
        ):
            yield clause
            clause = [match] if nor else []
        elif kind != "and":
            clause.append(match)
    yield clause


def _begins_anew(left: list[Match], rest: list[Match], *, comma: bool) -> bool:
    right: list[Match] = []
    for match in rest:
        if match.entry.kind in ("and", "break"):
            break
        right.append(match)
    subject = next((i for i, m in enumerate(left) if m.entry.kind in _SUBJECTS), None)
    if subject is None:
        return False
    if any(m.entry.kind in _PREDICATES for m in left[subject + 1 :]):
        return True
    if not any(m.entry.kind in _SUBJECTS for m in right):
        return False
    right_states = any(m.entry.kind in _PREDICATES for m in right)
    left_states = any(m.entry.kind in _PREDICATES or m.entry.kind == "exist" for m in left)
    # "no leukocyte, many platelets": the quality is said of the new noun, so the denial has ended
    listed = comma and {"mention", "term"} <= {m.entry.kind for m in right}
    return right[0].entry.kind == "deny_before" or left_states and right_states or listed


class _Clause:
    """One clause: its matches, and who denies and doubts what in it."""

    def __init__(
        self,
        logic: Logic,
        tokens: list[str],
        matches: list[Match],
        mentions: list[Match],
        inherited: list[Match],
        asked: str | None,
    ) -> None:
        self.logic = logic
        self.tokens = tokens
        self.matches = matches
        self.mentions = mentions
        self.inherited = inherited
        self.scopes = [
            (self._scope(i), tokens[m.start] in _ADVERBS)
            for i, m in enumerate(matches)
            if m.entry.kind == "deny_before"
        ]
        named = {m.entry.concept for m in mentions}
        self.asked = asked if asked not in named else None
        others = any(m.entry.kind in ("mention", "phrase", "number") for m in matches)
        self.asked_alone = self.asked is not None and not others
        self.implied = Match(-1, -1, Entry("mention", ((self.asked, ""),))) if self.asked else None
        self.used: set[Match] = set()

    def read(self) -> list[Reading]:
        """All readings, in order of the words."""
        found: list[tuple[int, Reading]] = []
        for match in self.matches:
            if match.entry.kind in ("phrase", "term", "number"):
                reading = self._value(match)
                if reading is not None:
                    found.append((match.start, reading))
        for mention in self.mentions:
            if mention not in self.used:
                reading = self._presence(mention)
                if reading is not None:
                    found.append((mention.start, reading))
        if self.asked_alone and self.implied not in self.used:
            found += [(-1, reading) for reading in self._implied()]
        return [reading for _, reading in sorted(found, key=lambda pair: pair[0])]

    # -- denial and doubt -------------------------------------------------------------------------

    def _scope(self, index: int) -> range:
        """Words that a denial reaches: up to the predicate of the noun that it denies."""
        cue = self.matches[index]
        adverb = self.tokens[cue.start] in _ADVERBS
        subject_before = any(m.entry.kind in _SUBJECTS for m in self.matches[:index])
        subject_between = False
        for match in self.matches[index + 1 :]:
            kind = match.entry.kind
            if kind in _SUBJECTS:
                subject_between = True
            elif kind in _PREDICATES and subject_between:
                return range(cue.end, match.start)
            elif kind == "affirm" and adverb and subject_before:
                return range(cue.end, match.end)
        return range(cue.end, len(self.tokens))

    def _in_scope(self, match: Match) -> bool:
        return any(match.start in scope for scope, _ in self.scopes)

    def _denied(self, match: Match) -> bool:
        if self._in_scope(match):
            return True
        for other in self.matches:
            kind = other.entry.kind
            if kind == "deny_after" and (other.start >= match.end or other.end == match.start):
                return True
            if kind == "affirm" and other.start >= match.end and self._not(other):
                return True
        return False

    def _not(self, match: Match) -> bool:
        """Whether an adverb denies a word: "not seen" denies its subject, "no visible ..." does not."""
        return any(match.start in scope for scope, adverb in self.scopes if adverb)

    def _doubt(self, match: Match) -> str | None:
        kinds = {m.entry.kind for m in self.matches}
        if "not_assessed" in kinds:
            return NOT_ASSESSED
        if "uncertain" in kinds:
            return UNCERTAIN
        previous: Match | None = None
        for other in self.matches:
            if other == match and previous is not None and previous.entry.kind == "uncertain_next":
                return UNCERTAIN
            previous = other
        return UNCERTAIN if match.start < 0 and "uncertain_next" in kinds else None

    # -- readings ---------------------------------------------------------------------------------

    def _value(self, match: Match) -> Reading | None:
        """A phrase, a term with its subject, or a number."""
        if match.entry.kind == "number":
            return self._number(match)
        bound = self._bind(match)
        if bound is None:
            return None
        concept, value = bound
        doubt = self._doubt(match)
        if doubt is not None:
            return Reading(concept, doubt)
        if self._denied(match):
            opposite = self.logic.concepts[concept].values[value].opposite
            return Reading(concept, opposite) if opposite else None
        return Reading(concept, value)

    def _bind(self, match: Match) -> tuple[str, str] | None:
        """The nearest mention that gives the wording a subject; a phrase needs none."""
        best: tuple[int, int, Match, tuple[str, str]] | None = None
        nouns = self.mentions + self.inherited + ([self.implied] if self.implied else [])
        for concept, value in match.entry.readings:
            subjects = {concept, *self.logic.concepts[concept].about}
            for noun in nouns:
                if noun.entry.concept in subjects:
                    after = noun.start >= match.end
                    gap = noun.start - match.end if after else match.start - noun.end
                    candidate = (gap, 0 if after else 1, noun, (concept, value))
                    if best is None or candidate[:2] < best[:2]:
                        best = candidate
        if best is not None:
            self.used.add(best[2])
            return best[3]
        return match.entry.readings[0] if match.entry.kind == "phrase" else None

    def _number(self, match: Match) -> Reading | None:
        concept = match.entry.concept
        doubt = self._doubt(match)
        if doubt is not None:
            return Reading(concept, doubt)
        return None if self._denied(match) else self._as_number(concept, match)

    def _as_number(self, concept: str, match: Match) -> Reading | None:
        """The band of a number, unless it is a bound, or a count where a share is meant."""
        measurement, number = self.logic.concepts[concept].measurement, match.number
        if measurement is None or number is None or self._is_bound(match):
            return None
        if _PERCENT & {*self.tokens[match.start : match.end + 1]}:
            number /= 100
        elif measurement.of is not None and number > 1:
            return None
        return Reading(concept, measurement.band(number), number)

    def _is_bound(self, match: Match) -> bool:
        previous = self.tokens[match.start - 1] if match.start > 0 else ""
        return previous in _BOUNDS or as_number(previous) is not None

    def _presence(self, mention: Match) -> Reading | None:
        concept = mention.entry.concept
        doubt = self._doubt(mention)
        if doubt is not None:
            return Reading(concept, doubt)
        presence = self.logic.concepts[concept].presence
        if presence is None:
            return None
        if self._denied(mention):
            return Reading(concept, presence.denied)
        affirmed = presence.bare or any(
            m.entry.kind == "affirm"
            and (m.start >= mention.end or m.end == mention.start)
            or m.entry.kind in ("exist", "have")
            and m.end <= mention.start
            for m in self.matches
        )
        return Reading(concept, presence.affirmed) if affirmed and presence.affirmed else None

    def _implied(self) -> list[Reading]:
        """An answer without a subject: "Two are seen.", "None.", "It cannot be assessed."."""
        assert self.asked is not None and self.implied is not None
        concept = self.logic.concepts[self.asked]
        doubt = self._doubt(self.implied)
        if doubt is not None:
            return [Reading(self.asked, doubt)]
        numbers = [m for m in self.matches if m.entry.kind == "loose_number"]
        kinds = [m.entry.kind for m in self.matches]
        denied = "deny_after" in kinds or any(m.entry.kind == "affirm" and self._not(m) for m in self.matches)
        if concept.presence and denied:
            return [Reading(self.asked, concept.presence.denied)]
        if concept.measurement and concept.numbers and len(numbers) == 1 and not self.scopes:
            reading = self._as_number(self.asked, numbers[0])
            if reading is not None:
                return [reading]
        if concept.presence and concept.presence.affirmed and not self.scopes and "affirm" in kinds:
            return [Reading(self.asked, concept.presence.affirmed)]
        return []
