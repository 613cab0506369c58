"""General English cue words: denial, affirmation, doubt. A logic adds its own under `cues`."""

from __future__ import annotations

from typing import Literal

CueKind = Literal[
    "deny_before", "deny_after", "affirm", "exist", "have", "uncertain", "uncertain_after", "uncertain_next",
    "not_assessed", "neutral", "verb", "and", "break",
]  # fmt: skip

CUES: dict[CueKind, tuple[str, ...]] = {
    # deny what follows in the clause
    "deny_before": (
        "no", "not", "cannot", "without", "never", "neither", "nor", "free of", "free from", "devoid of",
        "absence of", "lack of", "lacks", "lacking", "lack", "negative for", "rather than", "instead of", "zero",
        "fails to show", "rules out", "excludes",
    ),
    # deny what precedes in the clause
    "deny_after": (
        "absent", "missing", "none", "nil", "negative", "ruled out", "excluded",
        "cannot be seen", "cannot be found", "cannot be identified", "cannot see any", "not see any", "not any",
    ),
    # affirm what the clause mentions; after a "not" they deny it
    "affirm": (
        "present", "seen", "visible", "found", "identified", "detected", "evident", "noted", "observed", "shown",
        "visualised", "visualized", "recognised", "recognized", "demonstrated", "not absent", "not missing",
        "apparent",
    ),
    # say that there is something, without being a predicate of their own
    "exist": (
        "there is", "there are", "there was", "there were", "a", "an", "with", "containing", "showing",
        "presence of", "evidence of",
    ),
    # affirm what follows them, and are predicates
    "have": (
        "contains", "contain", "contained", "shows", "show", "showed", "has", "have", "had", "includes", "include",
        "reveals", "reveal", "revealed", "displays", "display", "demonstrates", "demonstrate",
    ),
    # doubt about the whole clause
    "uncertain": (
        "may", "might", "could be", "uncertain", "unclear", "equivocal",
        "perhaps", "maybe", "cannot be excluded", "cannot be ruled out", "cannot exclude", "not excluded",
        "not certain", "not clear", "not sure", "unsure", "not clearly", "difficult to say", "hard to say",
        "no definite", "not definite", "not definitely", "indeterminate", "doubtful", "suspicion of",
        "suspicion for", "question of", "difficult to exclude", "differential", "could include", "consideration", 
        "whether", "versus", "vs", "is possible", "are possible", "is probable",
        "are probable", "is questionable", "are questionable",
    ),
    # doubt about what follows, where a noun stands before ("an opacity, likely atelectasis"); else as above
    "uncertain_after": (
        "likely", "probably", "possibly", "suspicious for", "suggest", "suggests", "suggesting", "suggestive of",
        "may represent", "may reflect", "might represent", "could represent", "could reflect", "may be related to",
        "possibly representing", "probably representing", "likely representing", "likely represents",
        "likely related to", "representing", "concerning for", "worrisome for", "compatible with",
        "most likely", "which may be",
    ),
    # doubt about the next noun only
    "uncertain_next": ("possible", "probable", "suspected", "questionable"),
    "not_assessed": (
        "cannot be assessed", "cannot be judged", "cannot be evaluated", "cannot be determined", "cannot be told",
        "could not be assessed", "could not be judged", "could not be evaluated", "could not be determined",
        "not assessed", "not evaluated", "not judged", "not assessable", "not evaluable", "not interpretable",
        "not determined", "cannot assess", "cannot judge", "cannot determine", "unassessable", "not examined",
        "not possible to assess", "not possible to judge",
    ),
    # look like a denial and are none
    "neutral": ("no doubt", "without doubt", "without a doubt", "not only", "not just"),
    "verb": (
        ":",
        "is", "are", "was", "were", "appears", "appear", "looks", "look", "lies", "lie", "seems", "seem", "be",
        "remains", "remain", "overlap", "overlaps", "touch", "touches", "cover", "covers", "form", "forms",
    ),
    "and": ("and", "or", ",", "as well as", "plus"),
    "break": (
        ";", "(", ")", "but", "however", "although", "though", "while", "whereas", "except", "yet", "so",
        "because", "since", "therefore",
    ),
}  # fmt: skip

NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
