"""The harmoniser's risk of an answer as a reward: 1 - the mean POLAR score of its claims.

One harmoniser for each concept learns what is likely in a picture from the policy's own claims and from weak
sources (`weak_sources`; Zhao et al. 2023, arXiv:2306.16564). No answer is scored by one that saw its own group.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmalign.clinical import load_logic
from vlmalign.records import Candidate, Case, read_manifest
from vlmalign.records.hashing import config_hash
from vlmalign.records.leakage import check_no_leakage
from vlmalign.rewards.calibration_items import deal_folds
from vlmalign.rewards.case_features import PIXELS, CaseFeatures
from vlmalign.rewards.protocol import RewardOutput, check_aligned
from vlmalign.rewards.risk_sources import (
    AnsweredCases,
    expert_sources,
    findings_by_expert,
    model_sources,
    read_answered,
    refuse_shared_pictures,
)
from vlmalign.rewards.weak_sources import ABSTAINS, Harmoniser, Scalariser, Votes, votes_of

NO_CLAIM = "no claim parsed"
OTHER_CONCEPTS = "no claim about the chosen concepts"
SILENT = "every source abstains on what it claims"
UNLEARNT = "no source says anything of what it claims in the groups that are learnt from"
#: prefix of the components in which a judgement holds the risk of each claim
RISK = "risk."


@dataclass(frozen=True)
class ClaimRisk:
    """One claim of an answer, and how risky it is; all three figures are None where it has none.

    Attributes:
        candidate_id: whose claim it is.
        case_id: what it answers.
        group: of the case.
        fold: which harmoniser scored it; claims of different ones are not on one scale.
        concept: what it is about.
        value: what it says.
        risk: the harmoniser's POLAR score.
        majority: null baseline: share of the sources that speak of it here and say otherwise.
        frequency: null baseline: share of the policy's claims of the concept, in the groups that were learnt from,
            that say otherwise; None where there is none.
        reason: why there is no risk, else None.
    """

    candidate_id: str
    case_id: str
    group: str
    fold: int
    concept: str
    value: str
    risk: float | None
    majority: float | None
    frequency: float | None
    reason: str | None


class HarmonisedRisk:
    """Risk of the claims of a policy's answers by weak sources and pictures; the score is 1 - its mean.

    With one folder of cases, harmonisers are cross-fitted by group: each answer is scored by those of the other
    folds. With `fit_cases` they learn from those only. A claim on which every source abstains in its case has no
    risk, and an answer without a claim that has one is invalid.

    Args:
        logic: name or path of a clinical logic.
        cases: folder of cases whose answers are scored.
        candidates: folder of the policy's answers to them; what the token limit cut is neither scored nor learnt.
        findings: folders of findings. Each expert in them is one source.
        claims: folders of other models' answers to the cases. Each policy in them is one source: what most of its
            answers to a case claim.
        fit_cases: folder of other cases to learn from.
        fit_candidates: folder of the policy's answers to them.
        features: of the pictures, see `CaseFeatures`.
        concepts: only these; default all that the answers claim.
        folds: of cross-fitting.
        seed: of the folds.
        scalariser: see `Harmoniser.fit`.
        l2: see `Harmoniser.fit`.
        min_probability: what a finding's best value needs to settle a concept.
        device: where a model of features runs.

    Attributes:
        experts: behind the sources, by id and version.
        votes_by_expert: how many findings each of them has.

    Raises:
        ValueError: no source, one of two folders to learn from, an unknown concept, or fewer groups than folds.
        DataError: groups or pictures that are learnt from and scored, a source that is the policy itself, a
            candidate to a case that is not there, or a folder that cannot be used.
    """

    needs_images = False

    def __init__(
        self,
        logic: str,
        cases: str | Path,
        candidates: str | Path,
        *,
        findings: Sequence[str | Path] = (),
        claims: Sequence[str | Path] = (),
        fit_cases: str | Path | None = None,
        fit_candidates: str | Path | None = None,
        features: str | Path = PIXELS,
        concepts: Sequence[str] | None = None,
        folds: int = 5,
        seed: int = 0,
        scalariser: Scalariser = "quadratic",
        l2: float = 1e-2,
        min_probability: float = 0.8,
        device: str = "auto",
    ) -> None:
        if not findings and not claims:
            raise ValueError("there is no weak source: give findings of experts, or claims of other models")
        if (fit_cases is None) != (fit_candidates is None):
            raise ValueError("fit_cases and fit_candidates belong together: give both, or none to cross-fit")
        if not 0 < l2 < math.inf:
            raise ValueError(f"l2 is {l2}: give a penalty above 0")
        self.logic = load_logic(logic)
        self._concepts = None if concepts is None else tuple(concepts)
        for concept in self._concepts or ():
            self.logic.concept(concept)
        self._scalariser: Scalariser = scalariser
        self._l2 = l2
        self._scored = read_answered(self.logic, cases, candidates)
        self._learnt = self._scored
        if fit_cases is not None and fit_candidates is not None:
            check_no_leakage([fit_cases], [cases])
            self._learnt = read_answered(self.logic, fit_cases, fit_candidates)
            self._fold = np.zeros(len(self._scored.cases), dtype=np.int64)
        else:
            refuse_shared_pictures(self._scored.folder)
            groups = [case.group_id for case in self._scored.cases]
            self._fold = deal_folds(groups, min(folds, max(2, len(set(groups)))), seed)
        asked = [self._scored, *([] if self._learnt is self._scored else [self._learnt])]
        by_expert = findings_by_expert(findings)
        self.votes_by_expert = {expert: len(found) for expert, found in by_expert.items()}
        self.experts = tuple(by_expert)
        self._sources = [
            *expert_sources(self.logic, asked, by_expert, min_probability=min_probability),
            *model_sources(self.logic, asked, claims),
        ]
        if not self._sources:
            raise ValueError("findings and claims name folders without a record: there is no weak source")
        self._features = CaseFeatures(features, device=device)
        folders = [cases, candidates, *findings, *claims, *(f for f in (fit_cases, fit_candidates) if f)]
        settings = [
            self.logic.fingerprint, [read_manifest(folder).records_sha256 for folder in folders], len(findings),
            fit_cases is not None, self._features.digest, self._concepts, folds, seed, scalariser, l2,
            min_probability,
        ]  # fmt: skip
        self.name = f"harmonised_risk@{config_hash(settings)[:8]}"

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N of the candidates that it was made for; see `Reward.score`. Images are not looked at again."""
        check_aligned(cases, candidates, images)
        scores: list[float | None] = []
        reasons: list[str | None] = []
        components = []
        for candidate in candidates:
            claims = self._by_candidate.get(candidate.id, [])
            risks = {claim.concept: claim.risk for claim in claims if claim.risk is not None}
            scores.append(1 - sum(risks.values()) / len(risks) if risks else None)
            reasons.append(None if risks else self._why_none(candidate, claims))
            counts = {"claims_scored": float(len(risks)), "claims_unscored": float(len(claims) - len(risks))}
            components.append({**counts, **{RISK + concept: risk for concept, risk in risks.items()}})
        return RewardOutput.of(scores, reasons=reasons, components=components)

    @cached_property
    def claims(self) -> list[ClaimRisk]:
        """Every claim of every whole candidate; harmonisers are fitted on first use."""
        ours = _Table(self._scored, self._features)
        theirs = ours if self._learnt is self._scored else _Table(self._learnt, self._features)
        named = (name for answer in self._scored.said for name in answer)
        wanted = dict.fromkeys(self._concepts or named)
        return [claim for concept in wanted for claim in self._of_concept(concept, ours, theirs)]

    def _of_concept(self, concept: str, ours: _Table, theirs: _Table) -> Iterator[ClaimRisk]:
        values = list(self.logic.concept(concept).values)
        own, sources = self._votes(concept, ours)
        fit_own, fit_sources = (own, sources) if theirs is ours else self._votes(concept, theirs)
        spoken = np.asarray((sources >= 0).any(axis=1))
        for k in np.unique(self._fold):
            here = np.flatnonzero((self._fold == k) & (own >= 0))
            among = self._fold != k if theirs is ours else np.ones(len(fit_own), dtype=bool)
            heard = (fit_sources[among] >= 0).any(0)
            risk = np.full(len(here), np.nan)
            if heard.any() and len(here):
                fitted = Harmoniser.fit(
                    theirs.features[among], fit_own[among], fit_sources[among][:, heard], len(values),
                    scalariser=self._scalariser, l2=self._l2,
                )  # fmt: skip
                risk = fitted.risk(ours.features[here], own[here])
            frequent = fit_own[among]
            for i, found in zip(here, risk, strict=True):
                reason = SILENT if not spoken[i] else UNLEARNT if math.isnan(found) else None
                known = reason is None
                case = ours.cases[i]
                yield ClaimRisk(
                    ours.candidates[i].id, case.id, case.group_id, int(k), concept, values[own[i]],
                    risk=float(found) if known else None,
                    majority=_share_against(int(own[i]), sources[i]) if known else None,
                    frequency=_share_against(int(own[i]), frequent) if known else None,
                    reason=reason,
                )  # fmt: skip

    def _votes(self, concept: str, table: _Table) -> tuple[Votes, Votes]:
        """What answers claim of a concept, (N,), and what each source says of their cases, (N, M)."""
        said = [[source.get(case.id, {}) for case in table.cases] for source in self._sources]
        sources = np.stack([votes_of(self.logic, concept, each) for each in said], axis=1)
        return votes_of(self.logic, concept, table.said), sources

    @cached_property
    def _by_candidate(self) -> dict[str, list[ClaimRisk]]:
        found: dict[str, list[ClaimRisk]] = defaultdict(list)
        for claim in self.claims:
            found[claim.candidate_id].append(claim)
        return found

    def _why_none(self, candidate: Candidate, claims: Sequence[ClaimRisk]) -> str:
        if claims:
            return "; ".join(sorted({str(claim.reason) for claim in claims}))
        return OTHER_CONCEPTS if self._claiming[candidate.id] else NO_CLAIM

    @cached_property
    def _claiming(self) -> dict[str, bool]:
        """Whether each candidate claims anything."""
        return {c.id: bool(said) for c, said in zip(self._scored.candidates, self._scored.said, strict=True)}


class _Table:
    """Answers with the features of their cases, (N, D)."""

    def __init__(self, answered: AnsweredCases, features: CaseFeatures) -> None:
        self.cases, self.candidates, self.said = answered.cases, answered.candidates, answered.said
        distinct = list({case.id: case for case in answered.cases}.values())
        row = {case.id: i for i, case in enumerate(distinct)}
        found = features.of(answered.folder, distinct)
        self.features: NDArray[np.float64] = found[[row[case.id] for case in answered.cases]]


def _share_against(value: int, votes: Iterable[int]) -> float | None:
    """Share of the votes that are for another value, abstentions aside; None: nobody voted."""
    heard = [int(vote) for vote in votes if vote != ABSTAINS]
    return sum(vote != value for vote in heard) / len(heard) if heard else None
