"""A reward before and after its calibration: how far off its probabilities are, and what its rule keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy.special import expit

from vlmalign.evaluation.calibration import (
    CalibrationFigures,
    calibration_difference,
    calibration_figures,
    confidences,
)
from vlmalign.evaluation.error_detection import StdGain, std_gain
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import (
    Array,
    cluster_estimate,
    estimate_statistic,
    number_cells,
    ratio_statistic,
)
from vlmalign.evaluation.rare_events import widen_if_rare
from vlmalign.evaluation.risk_coverage import RiskCoverage, risk_coverage
from vlmalign.rewards.calibration_file import Calibration, CrossFitted
from vlmalign.rewards.calibration_items import ScoredItems

NO_GUARANTEE = "no guarantee there"


@dataclass(frozen=True)
class CalibrationReport:
    """Figures of one set of items.

    Attributes:
        standing: what the promises are worth on these items.
        before: of the scores as they are (see `uncalibrated`).
        after: of the calibrated probabilities.
        difference: after - before, paired: `brier` and `ece`; less is better.
        curve_before: risk over coverage by |score| as it is; of pairs that is the margin's.
        curve_after: by the calibrated confidence; of pairs it keeps another order with intervals or std only.
        width: mean of p1 - p0.
        kept: share that the rule keeps; None without a rule.
        promised: mean over groups of what the rule bounds: share not covered, kept and wrong, or wrong among kept.
        wrong_kept: share of wrong ones among the kept.
        std_gain: what the margin's standard deviation tells of errors.
        no_std_gain: why that is not known.
        counts: items that were left out, by reason.
    """

    standing: str
    before: CalibrationFigures
    after: CalibrationFigures
    difference: dict[str, Estimate]
    curve_before: RiskCoverage
    curve_after: RiskCoverage
    width: Estimate
    kept: Estimate | None
    promised: Estimate | None
    wrong_kept: Estimate | None
    std_gain: StdGain | None
    no_std_gain: str | None
    counts: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        found: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            found[each.name] = value.to_dict() if hasattr(value, "to_dict") else value
        found["difference"] = {name: estimate.to_dict() for name, estimate in self.difference.items()}
        return found


def uncalibrated(items: ScoredItems) -> Array:
    """Probabilities (N,) that the scores claim by themselves.

    Of pairs sigmoid(margin), the Bradley-Terry model that rewards are trained with. Of answers the score, if all
    lie in [0, 1], else its sigmoid.

    Example:
        >>> uncalibrated(ScoredItems.of("answer", [0.2, 1.0], [0, 1], ["a", "b"])).tolist()
        [0.2, 1.0]
    """
    if items.target == "answer" and ((items.scores >= 0) & (items.scores <= 1)).all():
        return items.scores
    return np.asarray(expit(items.scores))


def report_calibration(
    items: ScoredItems, found: CrossFitted, *, has_rule: bool, standing: str
) -> CalibrationReport:
    """Figures of items whose probabilities come from a calibration that did not see their groups.

    Args:
        items: scores and labels.
        found: their probabilities: `cross_fit`, or `apply_calibration` on other items.
        has_rule: whether `found` comes with a rule of abstention.
        standing: what the promises are worth here.

    Raises:
        ValueError: no items.
    """
    before = uncalibrated(items)
    groups, pairs = items.groups, items.target == "pair"
    sureness = [-np.maximum(p, 1 - p) for p in (found.p, before)]
    if pairs:
        sureness[1] = -np.abs(items.scores)  # the sigmoid of a large margin is 1, and would tie with others
    gain, no_gain = _std_gain(items)
    kept = promised = wrong_kept = None
    if has_rule:
        kept = cluster_estimate(found.kept.astype(float).tolist(), groups, proportion=True)
        promised = promised_loss(found.losses, groups)
        wrong = _wrong(found.p, items.labels).tolist()
        of_kept = [w if k else None for w, k in zip(wrong, found.kept, strict=True)]
        wrong_kept = cluster_estimate(of_kept, groups, proportion=True)
    return CalibrationReport(
        standing=standing,
        before=calibration_figures(before, items.labels, groups, pairs=pairs),
        after=calibration_figures(found.p, items.labels, groups, pairs=pairs),
        difference=calibration_difference(found.p, before, items.labels, groups, pairs=pairs),
        curve_before=risk_coverage(sureness[1], _wrong(before, items.labels), groups),
        curve_after=risk_coverage(sureness[0], _wrong(found.p, items.labels), groups),
        width=cluster_estimate((found.p1 - found.p0).tolist(), groups, proportion=False),
        kept=kept,
        promised=promised,
        wrong_kept=wrong_kept,
        std_gain=gain,
        no_std_gain=no_gain,
        counts=dict(items.counts),
    )


def apply_calibration(items: ScoredItems, calibration: Calibration) -> CrossFitted:
    """Probabilities of items that the calibration was not fitted to.

    Raises:
        ValueError: items of another reward, or of another target.
    """
    calibration.check_judge(items.judge)
    if items.target != calibration.target:
        raise ValueError(f"the items are of {items.target}s, the calibration of {calibration.target}s")
    p, p0, p1 = calibration.predict(items.scores, items.stds)
    rule = calibration.abstention
    losses = np.full(len(items), np.nan) if rule is None else rule.losses(p, items.labels)
    return CrossFitted(p, p0, p1, calibration.keeps(p), losses)


def promised_loss(losses: Array, groups: Sequence[str]) -> Estimate:
    """Mean loss of a random item of a random group, among those of which there is one; for held-out items.

    Args:
        losses: (N,) 0 or 1, NaN where there is none.
        groups: (N,).

    Example:
        >>> promised_loss(np.array([1.0, 0.0, 0.0]), ["a", "a", "b"]).mean
        0.25
    """
    known = ~np.isnan(losses)
    if not known.any():
        return Estimate.nothing(len(losses))
    cells, cell_seeds, cell_groups = number_cells(groups, None, False)
    sizes = np.bincount(cells).astype(np.float64)
    lost = np.bincount(cells, np.where(known, losses, 0.0)) / sizes
    counted = np.bincount(cells, known.astype(np.float64)) / sizes
    n, excluded = int(known.sum()), int((~known).sum())
    statistic = ratio_statistic(lost, counted)
    found = estimate_statistic(statistic, cell_seeds, cell_groups, n=n, excluded=excluded)
    if found.low is None or found.high is None:
        return found
    found = replace(found, low=max(0.0, found.low), high=min(1.0, found.high))
    events, others = int((lost > 0).sum()), int((counted > lost).sum())
    if not events or not others:
        bound = cluster_estimate(
            [float(not others)] * int((counted > 0).sum()), list(range(int((counted > 0).sum())))
        )
        return replace(found, low=bound.low, high=bound.high, method=bound.method)
    return widen_if_rare(found, events, others, 0.95)


def _wrong(p: Array, labels: Array) -> Array:
    """Whether the likelier label is wrong; one half where neither is likelier."""
    return 1 - confidences(p, labels)[1]


def _std_gain(items: ScoredItems) -> tuple[StdGain | None, str | None]:
    """The gain, or why there is none."""
    if items.target != "pair":
        return None, "single answers have no margin"
    if not (items.stds > 0).any():
        return None, "the reward gives no standard deviation"
    margins = np.where(items.labels == 1, items.scores, -items.scores)
    try:
        return std_gain(margins, items.stds, items.groups), None
    except ValueError as error:
        return None, str(error)
