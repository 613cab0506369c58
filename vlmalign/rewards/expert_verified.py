"""A reward from an expert: claims against what its findings settle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from vlmalign.clinical import FoundAnswers, Verification, answers_from_findings, load_logic, verify
from vlmalign.records import Candidate, Case, Finding, RecordFolder
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.claims import ClaimWeights, claim_counts, claim_score, claim_weights, known_concepts
from vlmalign.rewards.protocol import RewardOutput, check_aligned
from vlmalign.rewards.symbolic import parse_candidate


class ExpertVerifiedReward:
    """Claims of an answer against an expert's findings on the images of its case.

    Only concepts that the findings settle are compared: uncertain findings, and concepts outside the
    expert's scope, count neither for nor against. An answer of which nothing could be checked is invalid.

    The standard deviation carries the expert's own doubt: a settled concept is wrong with probability
    1 - p, which would move its claim by `1 + wrong`; concepts are taken as independent, derived ones as
    certain given the others.

    Args:
        logic: name or path of a clinical logic.
        findings: folder of the expert's findings.
        weights: what claims are worth; names and numbers, or None for the defaults.
        concepts: only these are compared; default all that the findings settle.
        min_probability: what a finding's best value needs to settle its concept.
    """

    needs_images = False

    def __init__(
        self,
        logic: str,
        findings: str | Path,
        *,
        weights: ClaimWeights | Mapping[str, float] | None = None,
        concepts: Sequence[str] | None = None,
        min_probability: float = 0.8,
    ) -> None:
        self.logic = load_logic(logic)
        self.weights = claim_weights(weights)
        self.concepts = None if concepts is None else tuple(concepts)
        self.min_probability = min_probability
        folder = RecordFolder(findings, Finding)
        self._findings = by_image(folder)
        self.experts = tuple(sorted({f.expert for found in self._findings.values() for f in found}))
        settings = [self.logic.domain, folder.sha256, vars(self.weights), self.concepts, min_probability]
        self.name = f"expert_verified@{config_hash(settings)[:8]}"

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`. The expert has looked at the images already."""
        check_aligned(cases, candidates, images)
        scores: list[float | None] = []
        stds: list[float] = []
        reasons: list[str | None] = []
        components = []
        for case, candidate in zip(cases, candidates, strict=True):
            findings = [f for ref in case.images for f in self._findings.get(ref.sha256, [])]
            known = answers_from_findings(self.logic, findings, min_probability=self.min_probability)
            parsed = parse_candidate(self.logic, case, candidate)
            found = verify(self.logic, parsed, known.answers, concepts=self.concepts)
            k = known_concepts(known.answers, self.concepts)
            score = claim_score(found, self.weights, k)
            scores.append(score)
            stds.append(math.nan if score is None else self._doubt(found, known, k))
            reasons.append(None if score is not None else _why(found.parsed, bool(findings)))
            components.append(claim_counts(found))
        return RewardOutput.of(scores, std=stds, reasons=reasons, components=components)

    def _doubt(self, found: Verification, known: FoundAnswers, k: int) -> float:
        swing = 1.0 + self.weights.wrong
        variance = 0.0
        for concept in (*found.correct, *found.wrong):
            p = known.probabilities.get(concept, {}).get(known.answers[concept], 1.0)
            variance += swing**2 * p * (1.0 - p)
        return math.sqrt(variance) / k


def by_image(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings by the SHA-256 of their image."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.image.sha256, []).append(finding)
    return found


def _why(parsed: bool, seen: bool) -> str:
    if not parsed:
        return "no claim parsed"
    return (
        "no claim about a concept that the expert settles" if seen else "the expert has no finding on these images"
    )
