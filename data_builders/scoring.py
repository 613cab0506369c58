"""One candidate's text against known answers: a score with its parts, or a reason why there is none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from data_builders.reading import Reading
from vlmalign.clinical import Logic, verify

UNFINISHED = "unfinished"
NOTHING_PARSED = "nothing_parsed"
NOTHING_KNOWN = "nothing_known"
NOTHING_CHECKABLE = "nothing_checkable"


class ScoreWeights(BaseModel):
    """How the parts of a score add up: `score = sum over parts of weight * part`.

    With the defaults a right claim among n checkable ones is worth 1/n, an omission nothing and a wrong
    claim -1/n, so that silence never pays as much as a right claim and always more than a wrong one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    correctness: float = Field(1.0, ge=0, description="(right - wrong) / checkable concepts, in [-1, 1]")
    consistency: float = Field(0.5, ge=0, description="-1 if no valid path holds all claims, else 0")
    unsupported: float = Field(0.25, ge=0, description="-(number of statements that no image supports)")
    unrecognised: float = Field(0.0, ge=0, description="-(number of sentences that the logic cannot read)")
    length: float = Field(0.0, ge=0, description="-(words beyond `free_words`) / `free_words`")
    free_words: int = Field(60, gt=0, description="words that cost nothing")


@dataclass(frozen=True)
class Score:
    """What scoring one candidate gave.

    Attributes:
        value: the score, or None when the candidate is invalid.
        reason: why it is invalid; None when it is valid.
        components: the unweighted parts (`correctness`, `consistency`, `unsupported`, `unrecognised`,
            `length`) and the counts behind them; empty when invalid.
        right: concepts that the text states as known.
        wrong: concepts that it states otherwise, or two ways at once.
        omitted: known concepts of which it says nothing.
        hedged: concepts that it calls uncertain or not assessed; worth as much as an omission.
        unverified: its claims about concepts of which nothing is known, as concept -> value.
    """

    value: float | None
    reason: str | None = None
    components: Mapping[str, float] = field(default_factory=dict)
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()
    hedged: tuple[str, ...] = ()
    unverified: Mapping[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether there is a number."""
        return self.value is not None


def score_reading(
    logic: Logic,
    reading: Reading,
    answers: Mapping[str, str],
    *,
    weights: ScoreWeights | None = None,
    concepts: Collection[str] | None = None,
    finished: bool = True,
) -> Score:
    """Score what a candidate says against what is known.

    Args:
        logic: the domain's clinical logic.
        reading: the candidate, read by `read_answer`.
        answers: what is known, concept -> value. A concept that is not in it is not checked.
        weights: how the parts add up.
        concepts: the only concepts to check; None checks all of `answers`. For a conversation these are
            the concepts that were asked about.
        finished: False where the token limit cut the answer.

    Returns:
        A Score. It is invalid, with no number, when the answer is not whole (`unfinished`: what it leaves
        out or ends on was not its choice), when nothing in the text could be read
        (`nothing_parsed`), when nothing is known of the case (`nothing_known`), or when the text claims
        nothing that is known (`nothing_checkable`): none of these is a zero.
    """
    weights = weights or ScoreWeights()
    parsed = reading.parsed
    if not parsed.claims:
        return Score(None, NOTHING_PARSED if finished else UNFINISHED)
    known = {c: v for c, v in answers.items() if concepts is None or c in concepts}
    found = verify(logic, parsed, known, concepts=tuple(known))
    unverified = {c: v for c, v in parsed.answers.items() if c not in known}
    sides: dict[str, Any] = {
        "right": found.correct,
        "wrong": found.wrong,
        "omitted": found.omitted,
        "hedged": found.hedged,
    }
    sides["unverified"] = unverified
    if not finished:
        return Score(None, UNFINISHED, **sides)
    if not known:
        return Score(None, NOTHING_KNOWN, **sides)
    if not found.correct and not found.wrong:
        return Score(None, NOTHING_CHECKABLE, **sides)
    parts = {
        "correctness": (len(found.correct) - len(found.wrong)) / len(known),
        "consistency": 0.0 if found.consistent else -1.0,
        "unsupported": -float(len(found.unsupported)),
        "unrecognised": -float(found.unrecognised),
        "length": -max(0, reading.words - weights.free_words) / weights.free_words,
    }
    value = sum(getattr(weights, name) * part for name, part in parts.items())
    counts = {
        "checkable": len(known),
        "right": len(found.correct),
        "wrong": len(found.wrong),
        "omitted": len(found.omitted),
        "hedged": len(found.hedged),
        "words": reading.words,
    }
    return Score(value, None, {**parts, **{k: float(n) for k, n in counts.items()}}, **sides)
