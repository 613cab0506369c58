import pytest

from vlmalign.evaluation.claim_risk import claim_risk_figures
from vlmalign.rewards.harmonised_risk import ClaimRisk


def claim(i, risk, concept="stain", value="pale", *, majority=0.5, frequency=0.5, fold=0):
    figures = (None, None, None) if risk is None else (risk, majority, frequency)
    reason = "every source abstains" if risk is None else None
    return ClaimRisk(f"c{i}/{concept}", f"c{i}", f"g{i}", fold, concept, value, *figures, reason)


def test_wrong_claims_are_compared_with_right_ones_of_their_own_concept_and_fold():
    """Fold 0: wrong 0.6 against right 0.5, 0.7; fold 1: wrong 0.2 against right 0.1: 2 of 3 pairs are in order."""
    claims = [claim(0, 0.6), claim(1, 0.5), claim(2, 0.7), claim(3, 0.2, fold=1), claim(4, 0.1, fold=1)]
    claims += [claim(5, 0.99, "focus", "sharp"), claim(6, None), claim(7, 0.4)]
    truths = {f"c{i}": {"stain": "dark" if i in (0, 3) else "pale", "focus": "sharp"} for i in range(7)}
    truths["c7"] = {"stain": "uncertain"}
    found = claim_risk_figures(claims, truths)
    assert list(found) == ["all", "focus", "stain"]
    stain, focus = found["stain"], found["focus"]
    assert stain["risk"]["mean"] == found["all"]["risk"]["mean"] == pytest.approx(2 / 3)
    assert stain["majority_vote"]["mean"] == stain["own_frequency"]["mean"] == 0.5
    assert stain["risk_minus_majority_vote"]["mean"] == pytest.approx(2 / 3 - 1 / 2)
    counts = {key: stain[key] for key in ("claims", "wrong", "unscored", "truth_unknown")}
    assert counts == {"claims": 5, "wrong": 2, "unscored": 1, "truth_unknown": 1}
    assert (focus["claims"], focus["wrong"], focus["risk"]["mean"]) == (1, 0, None)


def test_without_any_known_truth_there_is_no_figure():
    found = claim_risk_figures([claim(0, 0.6)], {})
    assert found["all"]["truth_unknown"] == 1 and found["all"]["risk"]["mean"] is None
