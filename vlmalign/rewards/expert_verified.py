"""A reward from an expert: claims against what its findings settle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vlmalign.clinical import Verification, answers_from_findings
from vlmalign.records import Case, Finding, RecordFolder
from vlmalign.rewards.claim_reward import ClaimReward, KnownAnswers
from vlmalign.rewards.claims import ClaimWeights


class ExpertVerifiedReward(ClaimReward):
    """Claims of an answer against an expert's findings on the images of its case.

    Only concepts that the findings settle are compared: uncertain findings, and concepts outside the
    expert's scope, count neither for nor against. An answer of which nothing could be checked is invalid.

    The standard deviation carries the expert's own doubt: a settled concept is wrong with probability
    1 - p, which would move its claim by `1 + wrong`; concepts are taken as independent, derived ones as
    certain given the others.

    Args:
        logic: name or path of a clinical logic.
        findings: folder of the expert's findings, or several: the first that has some on an image decides.
        weights: what claims are worth; names and numbers, or None for the defaults.
        concepts: only these are compared; default all that the findings settle.
        min_probability: what a finding's best value needs to settle its concept.
    """

    def __init__(
        self,
        logic: str,
        findings: str | Path | Sequence[str | Path],
        *,
        weights: ClaimWeights | Mapping[str, float] | None = None,
        concepts: Sequence[str] | None = None,
        min_probability: float = 0.8,
    ) -> None:
        super().__init__(logic, weights, concepts, min_probability)
        paths = [findings] if isinstance(findings, (str, Path)) else list(findings)
        if not paths:
            raise ValueError("findings names no folder: give the expert's findings")
        folders = [RecordFolder(path, Finding) for path in paths]
        self._findings: dict[str, list[Finding]] = {}
        for folder in reversed(folders):
            self._findings |= by_image(folder)
        self.experts = tuple(sorted({f.expert for found in self._findings.values() for f in found}))
        self.name = self.name_by_settings("expert_verified", *(folder.sha256 for folder in folders))

    def known(self, case: Case) -> KnownAnswers:
        """What the findings on the case's images settle; the expert has looked at the images already."""
        findings = [f for ref in case.images for f in self._findings.get(ref.sha256, [])]
        found = answers_from_findings(self.logic, findings, min_probability=self.min_probability)
        unmet = "no claim about a concept that the expert settles"
        if not findings:
            unmet = "the expert has no finding on these images"
        return KnownAnswers(found.answers, unmet, found.probabilities)

    def doubt(self, found: Verification, known: KnownAnswers, k: int) -> float:
        """The expert's own doubt in the concepts of correct and wrong claims."""
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
