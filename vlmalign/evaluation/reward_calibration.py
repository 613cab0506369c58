"""Are a reward's margins what they say: as probabilities, and as signs of its own errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from vlmalign.evaluation.calibration import calibration_figures
from vlmalign.evaluation.error_detection import error_auroc, std_gain
from vlmalign.evaluation.judged_pairs import JudgedPairs
from vlmalign.evaluation.risk_coverage import risk_coverage

#: figure -> (title, what it says)
CALIBRATION_TITLES = {
    "ece": ("Calibration error", "of sigmoid(margin), bins of equal width; less is better"),
    "ece_mass": ("Calibration error, equal bins", "the same in bins of equally many pairs"),
    "brier": ("Brier score", "of sigmoid(margin); less is better, a coin has 0.25"),
    "error_auroc": ("Small margins find errors", "AUROC; 0.5: they tell nothing of the reward's own errors"),
    "risk_coverage_area": ("Risk over coverage", "mean share of errors when small margins are left out first"),
}


def margin_calibration(judged: JudgedPairs) -> dict[str, Any]:
    """Calibration of a reward's margins as they are, before any calibrator.

    The probability that the chosen answer is better is taken as sigmoid(margin), the Bradley-Terry model that
    rewards are trained with; a reward in units of its own (a share, a count) claims no such thing, and needs
    `vlmalign calibrate` first. A tie is a probability of one half, and left out of the figures on errors.

    Args:
        judged: pairs with scores; those without are left out and counted.

    Returns:
        The figures of `CALIBRATION_TITLES`; `bins`, the reliability table; `risk_coverage`, the curve's points;
        `std_gain` where all scored pairs have a standard deviation, else `std_gain_missing` says why not;
        `counts`. Empty where no pair is scored.

    Example:
        >>> margin_calibration(JudgedPairs([], "r@1", "r", ""))
        {}
    """
    scored = [pair for pair in judged.pairs if pair.margin is not None]
    if not scored:
        return {}
    margins = np.array([pair.margin for pair in scored], dtype=np.float64)
    groups = [pair.group for pair in scored]
    found = calibration_figures(expit(margins), np.ones(len(margins)), groups, pairs=True).to_dict()
    decided = np.flatnonzero(margins != 0)
    counts = {"unscored": len(judged.pairs) - len(scored), "ties": len(scored) - len(decided)}
    result: dict[str, Any] = {**found, "counts": counts}
    if len(decided):
        small, wrong = -np.abs(margins[decided]), (margins[decided] < 0).astype(float)
        of_decided = [groups[i] for i in decided]
        curve = risk_coverage(small, wrong, of_decided).to_dict()
        result["error_auroc"] = error_auroc(small, wrong, of_decided).to_dict()
        result["risk_coverage_area"], result["risk_coverage"] = curve["area"], curve["points"]
    stds = [pair.margin_std for pair in scored if pair.margin_std is not None]
    if len(stds) < len(scored):
        result["std_gain_missing"] = f"{len(scored) - len(stds)} pairs have no standard deviation"
        return result
    try:
        result["std_gain"] = std_gain(margins, stds, groups).to_dict()
    except ValueError as error:  # too few groups, or no errors to tell apart
        result["std_gain_missing"] = str(error)
    return result
