"""Preference pairs by symbolic grounding: correctness against the reference, and path consistency."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from data_builders.candidate_pairs import Grounding, load_inputs, write_pairs
from data_builders.knowledge import ReferenceKnowledge
from data_builders.pairing import PairingConfig
from data_builders.scoring import ScoreWeights
from vlmalign.clinical import Logic

JUDGE = "symbolic@2"


def build_symbolic_pairs(
    cases: str | Path,
    candidates: str | Path,
    out: str | Path,
    *,
    logic: Logic,
    pairing: PairingConfig | None = None,
    weights: ScoreWeights | None = None,
    concepts: Collection[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Pair the candidates of cases whose reference findings are known.

    Args:
        cases: Case folder; cases without reference findings are counted, not guessed.
        candidates: Candidate folder sampled from these cases.
        out: the Preference folder (`source="symbolic"`).
        logic: the domain's clinical logic.
        pairing: which pairs are kept.
        weights: how correctness, consistency and the rest add up.
        concepts: check only these; None checks all that the reference knows.
        overwrite: replace a folder built with other settings.

    Returns:
        The folder. Its manifest counts ties, invalid candidates, duplicates and cases left out.

    Raises:
        DataError: a folder is missing or of another kind, or a candidate's case is not there.

    Example:
        >>> from vlmalign.clinical import load_logic
        >>> build_symbolic_pairs("/no/cases", "/no/candidates", "/no/out", logic=load_logic("peripheral_smear"))
        Traceback (most recent call last):
        ...
        vlmalign.records.errors.DataError: /no/cases: no such folder. Check the path.
    """
    pairing, weights = pairing or PairingConfig(), weights or ScoreWeights()
    case_folder, candidate_folder = load_inputs(cases, candidates)
    config = {
        "builder": JUDGE,
        "cases": case_folder.sha256,
        "candidates": candidate_folder.sha256,
        "logic": logic.fingerprint,
        "pairing": pairing.model_dump(),
        "weights": weights.model_dump(),
        "concepts": None if concepts is None else sorted(concepts),
    }
    known = ReferenceKnowledge(logic)
    grounding = Grounding(logic, "symbolic", JUDGE, known, weights, pairing, concepts)
    return write_pairs(case_folder, candidate_folder, out, grounding, config=config, overwrite=overwrite)
