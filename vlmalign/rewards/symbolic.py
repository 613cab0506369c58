"""A reward from clinical logic: claims against the case's reference, and whether they fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from vlmalign.clinical import (
    Logic,
    ParsedText,
    answers_from_findings,
    load_logic,
    parse_conversation,
    parse_text,
    verify,
)
from vlmalign.data.encode import candidate_prompt
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.claims import ClaimWeights, claim_counts, claim_score, claim_weights, known_concepts
from vlmalign.rewards.protocol import RewardOutput, check_aligned


def parse_candidate(logic: Logic, case: Case, candidate: Candidate) -> ParsedText:
    """What a candidate says, each turn read as an answer to the question before it."""
    return parse_conversation(logic, (*candidate_prompt(case, candidate), *candidate.messages))


def reference_answers(logic: Logic, case: Case, min_probability: float) -> Mapping[str, str]:
    """What a case's reference tells: its findings, and its text where they say nothing."""
    if case.reference is None:
        return {}
    told = parse_text(logic, case.reference.text).answers if case.reference.text else {}
    found = answers_from_findings(logic, case.reference.findings, min_probability=min_probability).answers
    return {**told, **found}


class SymbolicReward:
    """Claims of an answer against the reference of its case, and their consistency.

    An answer is invalid when none of its claims can be checked: nothing parsed, no reference, or the
    reference says nothing of what the answer speaks of.

    Args:
        logic: name or path of a clinical logic.
        weights: what claims are worth; names and numbers, or None for the defaults.
        concepts: only these are compared; default all.
        min_probability: what a finding's best value needs to count as known.
    """

    needs_images = False

    def __init__(
        self,
        logic: str,
        *,
        weights: ClaimWeights | Mapping[str, float] | None = None,
        concepts: Sequence[str] | None = None,
        min_probability: float = 0.8,
    ) -> None:
        self.logic = load_logic(logic)
        self.weights = claim_weights(weights)
        self.concepts = None if concepts is None else tuple(concepts)
        self.min_probability = min_probability
        settings = [self.logic.domain, vars(self.weights), self.concepts, min_probability]
        self.name = f"symbolic@{config_hash(settings)[:8]}"

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`. Images are not looked at."""
        check_aligned(cases, candidates, images)
        scores: list[float | None] = []
        reasons: list[str | None] = []
        components = []
        for case, candidate in zip(cases, candidates, strict=True):
            answers = reference_answers(self.logic, case, self.min_probability)
            parsed = parse_candidate(self.logic, case, candidate)
            found = verify(self.logic, parsed, answers, concepts=self.concepts)
            score = claim_score(found, self.weights, known_concepts(answers, self.concepts))
            scores.append(score)
            reasons.append(None if score is not None else _why(found.parsed, bool(answers)))
            components.append(claim_counts(found))
        return RewardOutput.of(scores, reasons=reasons, components=components)


def _why(parsed: bool, known: bool) -> str:
    if not parsed:
        return "no claim parsed"
    return "no claim about a known concept" if known else "the case has no reference"
