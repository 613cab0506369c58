"""What rewards that check claims share: their settings, and the way from a candidate to its score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from vlmalign.clinical import Logic, ParsedText, Verification, load_logic, parse_conversation, verify
from vlmalign.data.encode import candidate_prompt
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.claims import (
    ClaimWeights,
    claim_counts,
    claim_score,
    claim_steps,
    claim_weights,
    known_concepts,
)
from vlmalign.rewards.protocol import RewardOutput, check_aligned


def parse_candidate(logic: Logic, case: Case, candidate: Candidate) -> ParsedText:
    """What a candidate says, each turn read as an answer to the question before it."""
    return parse_conversation(logic, (*candidate_prompt(case, candidate), *candidate.messages))


@dataclass(frozen=True)
class KnownAnswers:
    """What claims about one case are held against.

    Attributes:
        answers: concept -> value; states such as `uncertain` are not known.
        unmet: why an answer is invalid whose claims are about nothing that is known.
        probabilities: concept -> value -> probability; a concept that is missing is certain.
    """

    answers: Mapping[str, str]
    unmet: str
    probabilities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class ClaimReward:
    """A reward that holds the claims of an answer against what is known of its case.

    A subclass says what is known (`known`), gives itself a `name`, and may say how sure a score is (`doubt`).
    An answer of which nothing could be checked is invalid.
    """

    name: str
    needs_images = False

    def __init__(
        self,
        logic: str,
        weights: ClaimWeights | Mapping[str, float] | None,
        concepts: Sequence[str] | None,
        min_probability: float,
    ) -> None:
        self.logic = load_logic(logic)
        self.weights = claim_weights(weights)
        self.concepts = None if concepts is None else tuple(concepts)
        self.min_probability = min_probability

    def name_by_settings(self, kind: str, *source: str) -> str:
        """The reward's name: its kind, and a hash of all that decides its scores.

        Args:
            kind: what reward it is.
            source: hashes of what the known answers are read from, if not from the case.
        """
        settings = [self.logic.fingerprint, *source, vars(self.weights), self.concepts, self.min_probability]
        return f"{kind}@{config_hash(settings)[:8]}"

    def known(self, case: Case) -> KnownAnswers:
        """What the claims of answers to a case are held against."""
        raise NotImplementedError

    def doubt(self, found: Verification, known: KnownAnswers, k: int) -> float:
        """Standard deviation of the score of an answer to a case with K known concepts; NaN: not known."""
        return math.nan

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`. Images are not looked at."""
        check_aligned(cases, candidates, images)
        scores: list[float | None] = []
        stds: list[float] = []
        reasons: list[str | None] = []
        components = []
        steps = []
        for case, candidate in zip(cases, candidates, strict=True):
            known = self.known(case)
            parsed = parse_candidate(self.logic, case, candidate)
            found = verify(self.logic, parsed, known.answers, concepts=self.concepts)
            k = known_concepts(known.answers, self.concepts)
            score = claim_score(found, self.weights, k)
            scores.append(score)
            stds.append(math.nan if score is None else self.doubt(found, known, k))
            why = known.unmet if found.parsed else "no claim parsed"
            reasons.append(why if score is None else None)
            components.append(claim_counts(found))
            before = "\n".join(m.text for m in candidate_prompt(case, candidate) if m.role == "assistant")
            steps.append(
                None
                if score is None
                else claim_steps(parsed, found, self.weights, k, candidate.text, before=before)
            )
        return RewardOutput.of(scores, std=stds, reasons=reasons, components=components, steps=steps)
