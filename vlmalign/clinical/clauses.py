"""Reading the clauses of one sentence: which value each mention gets, under denial and doubt."""

from __future__ import annotations

from dataclasses import dataclass

from vlmalign.clinical.lexicon import Entry, Match, as_number
from vlmalign.clinical.schema import NOT_ASSESSED, UNCERTAIN, Logic
from vlmalign.clinical.splitting import PREDICATES, SUBJECTS, split_clauses

_ADVERBS = frozenset({"not", "cannot", "never"})
_FUNCTION_WORDS = frozenset({"and", "or", "in", "on", "at", "of", "with", "but", "here", "as", "for"})
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
    for clause in split_clauses(matches, tokens):
        mentions = [m for m in clause if m.entry.kind == "mention"]
        inherited = [] if mentions else before
        readings += _Clause(logic, tokens, clause, mentions, inherited, asked).read()
        if mentions:
            denied = any(m.entry.kind in ("deny_before", "deny_after") for m in clause)
            before = [] if denied else mentions
    return readings


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
        self.used: set[Match] = set()  # nouns that a wording has given a value
        self.qualified: set[Match] = set()  # nouns that only have a quality of another concept, such as a side

    def read(self) -> list[Reading]:
        """All readings, in order of the words."""
        found: list[tuple[int, Reading]] = []
        for match in self.matches:
            if match.entry.kind in ("phrase", "term", "number"):
                found += [(match.start, reading) for reading in self._value(match)]
        for mention in self.mentions:
            if mention not in self.used and not (mention in self.qualified and self._denied(mention)):
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
        if self.tokens[cue.start] in ("neither", "nor"):  # deny the predicate that their nouns share
            return range(cue.end, len(self.tokens))
        adverb = self.tokens[cue.start] in _ADVERBS
        subject_before = any(m.entry.kind in SUBJECTS for m in self.matches[:index])
        subject_between = False
        for match in self.matches[index + 1 :]:
            kind = match.entry.kind
            if kind in SUBJECTS:
                subject_between = True
            elif kind in PREDICATES and subject_between:
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
        opened = any(m.entry.kind == "uncertain_after" and not self._in_scope(m) for m in self.matches)
        if opened or "uncertain" in kinds:
            return UNCERTAIN
        if self.matches and self.matches[-1].entry.kind == "uncertain_next":
            return UNCERTAIN  # "effusions suspected": no noun follows
        doubted = False  # "possible small left effusion": it reaches through qualities to the noun
        for other in self.matches:
            if other == match:
                return UNCERTAIN if doubted else None
            doubted = other.entry.kind == "uncertain_next" or doubted and other.entry.kind == "term"
        return UNCERTAIN if match.start < 0 and "uncertain_next" in kinds else None

    # -- readings ---------------------------------------------------------------------------------

    def _value(self, match: Match) -> list[Reading]:
        """What a phrase, a term with its subjects, or a number says."""
        if match.entry.kind == "number":
            return self._number(match)
        subject, values = self._bind(match)
        doubt, denied = self._doubt(match), self._denied(match)
        if subject is not None and match.entry.kind == "term" and subject.start < match.start:
            denied = denied or self._is_denied_noun(subject)
        found: list[Reading] = []
        for concept, value in values:
            opposite = self.logic.concepts[concept].values[value].opposite
            said = doubt or (opposite if denied else value)
            if said is not None:
                found.append(Reading(concept, said))
        return found

    def _is_denied_noun(self, noun: Match) -> bool:
        """Whether a denial stands before a noun, and so denies what is said of it ("no blasts are increased")."""
        scopes = [scope for scope, _ in self.scopes if noun.start in scope]
        return any(not any(m.start in range(scope.start, noun.start) for m in self.mentions) for scope in scopes)

    def _bind(self, match: Match) -> tuple[Match | None, list[tuple[str, str]]]:
        """The nearest mention that gives a wording a subject, and what it says of it; a phrase needs none."""
        if match.entry.kind == "term" and self._is_of_another(match):
            return None, []
        best: tuple[int, int, Match] | None = None
        nouns = self.mentions + self.inherited + ([self.implied] if self.implied else [])
        if match.entry.kind == "term":  # "mild cardiomegaly" grades what a phrase names
            nouns = nouns + [m for m in self.matches if m.entry.kind == "phrase" and self._affirms(m)]
        for noun in nouns:
            if self._subject_readings(match, noun) and not self._is_parted(match, noun):
                after = noun.start >= match.end
                gap = noun.start - match.end if after else match.start - noun.end
                candidate = (gap, 0 if after else 1, noun)
                if best is None or candidate[:2] < best[:2]:
                    best = candidate
        if best is None:
            return None, [match.entry.readings[0]] if match.entry.kind == "phrase" else []
        found: dict[tuple[str, str], None] = {}
        for noun in [best[2], *self._listed_before(best[2], match)]:
            readings = self._subject_readings(match, noun)
            found.update(dict.fromkeys(readings))
            self._mark(match, noun, readings)
        return best[2], list(found)

    def _affirms(self, phrase: Match) -> bool:
        """Whether a phrase names something that can have a size or a side; "lungs are clear" does not."""
        concept, value = phrase.entry.readings[0]
        presence = self.logic.concepts[concept].presence
        return presence is None or value != presence.denied

    def _subject_readings(self, match: Match, noun: Match) -> list[tuple[str, str]]:
        """The reading of a wording to which the noun gives a subject, if one does; its own concept comes first."""
        named = noun.entry.concept
        readings = match.entry.readings
        own = [(concept, value) for concept, value in readings if concept == named]
        if own and noun.entry.kind == "mention":
            return own
        return [(concept, value) for concept, value in readings if named in self.logic.concepts[concept].about][:1]

    def _is_parted(self, match: Match, noun: Match) -> bool:
        """Whether the wording cannot reach a noun of its clause.

        Another noun, which it does not fit, stands between ("left opacity and effusion"); or a denial or `with`,
        before the noun ("both lungs without opacity"); or it starts a new item ("normal heart size, large aorta").
        """
        if noun not in self.mentions:
            return False
        low, high = sorted((match, noun), key=lambda m: m.start)
        between = [m for m in self.matches if low.end <= m.start and m.end <= high.start]
        if high is noun:
            ends = any(m.entry.kind == "deny_before" or self.tokens[m.start] == "with" for m in between)
        else:
            stated = any(m.entry.kind in PREDICATES for m in between)
            ends = not stated and "," in self.tokens[low.end : high.start] and self._goes_on_with_a_word(match)
        return ends or any(m.entry.kind == "mention" and not self._subject_readings(match, m) for m in between)

    def _goes_on_with_a_word(self, match: Match) -> bool:
        """Whether a word that the lexicon does not know follows at once: the wording may be said of that."""
        following = self.tokens[match.end : match.end + 1]
        known = any(m.start == match.end for m in self.matches)
        return bool(following) and following[0].isalpha() and following[0] not in _FUNCTION_WORDS and not known

    def _is_of_another(self, match: Match) -> bool:
        """Whether the noun that directly follows a term is one that it does not fit: "small edema"."""
        place = match.end
        for other in self.matches:
            if other.start != place:
                continue
            if other.entry.kind == "mention":
                return not self._subject_readings(match, other)
            if other.entry.kind not in ("term", "uncertain_next"):
                return False
            place = other.end
        return False

    def _listed_before(self, noun: Match, match: Match) -> list[Match]:
        """Nouns in one list with the subject of a predicate: "heart and mediastinum are normal"."""
        if noun not in self.mentions or noun.start > match.start:
            return []
        found: list[Match] = []
        for other in reversed(self.matches[: self.matches.index(noun)]):
            if other.entry.kind != "mention" or not self._subject_readings(match, other):
                break
            found.append(other)
        return found

    def _mark(self, match: Match, noun: Match, readings: list[tuple[str, str]]) -> None:
        """Keep whether the noun's presence may still be read: "a left effusion" says it, "it is left" does not."""
        presence = self.logic.concepts[noun.entry.concept].presence
        own = any(concept == noun.entry.concept for concept, _ in readings)
        low, high = sorted((match, noun), key=lambda m: m.start)
        predicate = any(m.entry.kind == "verb" and low.end <= m.start < high.start for m in self.matches)
        if not own and not predicate and presence is not None and presence.bare:
            self.qualified.add(noun)
        elif noun not in self.qualified:
            self.used.add(noun)

    def _number(self, match: Match) -> list[Reading]:
        concept = match.entry.concept
        doubt = self._doubt(match)
        if doubt is not None:
            return [Reading(concept, doubt)]
        reading = None if self._denied(match) else self._as_number(concept, match)
        return [] if reading is None else [reading]

    def _as_number(self, concept: str, match: Match) -> Reading | None:
        """The band of a number, unless it is a bound, or a count where a share is meant."""
        measurement, number = self.logic.concepts[concept].measurement, match.number
        if measurement is None or number is None or self._is_bound(match):
            return None
        if _PERCENT & {*self.tokens[match.start : match.end + 1]}:
            if measurement.count:
                return None  # a share is no count
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
