"""Preference pairs by expert verification: claims checked against what an expert found in the picture."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import get_args

from data_builders.candidate_pairs import Grounding, Uncertain, load_inputs, write_pairs
from data_builders.knowledge import ExpertKnowledge, FindingFolders
from data_builders.pairing import PairingConfig
from data_builders.scoring import ScoreWeights
from vlmalign.clinical import Logic

JUDGE = "expert_verified@2"


def build_expert_pairs(
    cases: str | Path,
    candidates: str | Path,
    findings: FindingFolders,
    out: str | Path,
    *,
    logic: Logic,
    pairing: PairingConfig | None = None,
    weights: ScoreWeights | None = None,
    concepts: Collection[str] | None = None,
    min_probability: float = 0.8,
    uncertain: Uncertain = "drop",
    overwrite: bool = False,
) -> Path:
    """Pair the candidates by an expert's findings; the cases' own references are never read.

    A finding that is less sure than `min_probability` is not used: neither side gains or loses by it. With
    `uncertain` "weigh" each claim counts by the expert's probability instead, 2 p - 1 where a sure one counts 1
    or -1 (see `expected_score`); derived concepts still follow from sure findings alone.
    Claims outside what the expert sees are not checked (`PairingConfig.match_unverified` keeps them from
    being preferred by chance).

    Args:
        cases: Case folder; references in it are ignored.
        candidates: Candidate folder sampled from these cases.
        findings: Finding folder of the expert, or several; the first that has findings of a case decides.
        out: the Preference folder (`source="expert"`, `expert_ids` set).
        logic: the domain's clinical logic.
        pairing: which pairs are kept.
        weights: how correctness, consistency and the rest add up.
        concepts: check only these; None checks all that the expert is sure of.
        min_probability: how sure a finding must be; with "weigh" only for what is derived from it.
        uncertain: `drop` claims of which the expert is not sure, or `weigh` all by its probability.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts ties, invalid candidates, duplicates, uncertain concepts and cases
        left out.

    Raises:
        ValueError: an unknown rule for what is uncertain.
        DataError: a folder is missing or of another kind, or a candidate's case is not there.
    """
    if uncertain not in get_args(Uncertain):
        raise ValueError(f"uncertain is {uncertain!r}: choose one of {get_args(Uncertain)}")
    pairing, weights = pairing or PairingConfig(), weights or ScoreWeights()
    case_folder, candidate_folder = load_inputs(cases, candidates)
    known = ExpertKnowledge(logic, findings, min_probability=min_probability)
    config = {
        "builder": JUDGE,
        "cases": case_folder.sha256,
        "candidates": candidate_folder.sha256,
        "findings": known.identity,
        "logic": logic.fingerprint,
        "pairing": pairing.model_dump(),
        "weights": weights.model_dump(),
        "concepts": None if concepts is None else sorted(concepts),
        "min_probability": min_probability,
        **({} if uncertain == "drop" else {"uncertain": uncertain}),
    }
    grounding = Grounding(logic, "expert", JUDGE, known, weights, pairing, concepts, uncertain)
    return write_pairs(case_folder, candidate_folder, out, grounding, config=config, overwrite=overwrite)
