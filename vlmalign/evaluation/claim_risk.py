"""Does the risk of a claim find wrong claims, beside two null baselines that look at no picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmalign.clinical.schema import RESERVED
from vlmalign.evaluation.error_detection import error_auroc
from vlmalign.evaluation.estimate import Estimate
from vlmalign.rewards.harmonised_risk import ClaimRisk

#: null baselines: attribute of `ClaimRisk` -> name of the figure
BASELINES = {"majority": "majority_vote", "frequency": "own_frequency"}


def claim_risk_figures(
    claims: Sequence[ClaimRisk], truths: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    """AUROC of the risk for wrong claims, by concept and over all, with intervals clustered by group.

    A wrong claim is compared with right ones of the same concept and the same fold, as only these are on one
    scale.

    Args:
        claims: of a policy's answers.
        truths: case id -> concept -> value; a state such as `uncertain` is not known.

    Returns:
        By concept, and for `all`: AUROCs `risk`, `majority_vote` (share of the sources that say otherwise) and
        `own_frequency` (how seldom the policy says so elsewhere), paired differences `risk_minus_majority_vote`
        and `risk_minus_own_frequency`, and the counts `claims`, `wrong`, `unscored`, `truth_unknown`. An AUROC of
        nothing wrong, or nothing right, has no mean.
    """
    concepts = sorted({claim.concept for claim in claims})
    parts = {name: [claim for claim in claims if claim.concept == name] for name in concepts}
    return {name: _figures(part, truths) for name, part in {"all": list(claims), **parts}.items()}


def _figures(claims: Sequence[ClaimRisk], truths: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    scored = [claim for claim in claims if claim.risk is not None]
    told = {claim: truths.get(claim.case_id, {}).get(claim.concept) for claim in scored}
    wrong = {
        claim: claim.value != true for claim, true in told.items() if true is not None and true not in RESERVED
    }
    found: dict[str, Any] = {
        "claims": len(wrong),
        "wrong": sum(wrong.values()),
        "unscored": len(claims) - len(scored),
        "truth_unknown": len(scored) - len(wrong),
        "risk": _auroc(wrong, "risk").to_dict(),
    }
    for key, name in BASELINES.items():
        known = {claim: value for claim, value in wrong.items() if getattr(claim, key) is not None}
        found[name] = _auroc(known, key).to_dict()
        found[f"risk_minus_{name}"] = _auroc(known, "risk", minus=key).to_dict()
    return found


def _auroc(wrong: Mapping[ClaimRisk, bool], key: str, minus: str | None = None) -> Estimate:
    if not wrong:
        return Estimate.nothing()
    strata = {name: i for i, name in enumerate(sorted({(claim.concept, claim.fold) for claim in wrong}))}
    return error_auroc(
        [getattr(claim, key) for claim in wrong],
        list(wrong.values()),
        [claim.group for claim in wrong],
        other=None if minus is None else [getattr(claim, minus) for claim in wrong],
        strata=[strata[claim.concept, claim.fold] for claim in wrong],
    )
