import json

import numpy as np
import pytest

from vlmalign.evaluation.calibration_plots import reliability_plot, risk_coverage_plot
from vlmalign.evaluation.calibration_report import (
    NO_GUARANTEE,
    apply_calibration,
    promised_loss,
    report_calibration,
    uncalibrated,
)
from vlmalign.rewards.calibration_file import cross_fit, fit_calibration
from vlmalign.rewards.calibration_items import ScoredItems


def overconfident(n_groups=60, seed=0, slope=0.3):
    """Pairs, chosen first, of a reward whose margins promise more than they keep."""
    rng = np.random.default_rng(seed)
    n = 4 * n_groups
    margins = rng.normal(0, 4, n)
    right = rng.random(n) < 1 / (1 + np.exp(-slope * margins))
    groups = [f"g{i // 4}" for i in range(n)]
    return ScoredItems.of(
        "pair", np.where(right, margins, -margins), np.ones(n), groups, stds=rng.random(n) + 0.1, judge="r@1"
    )


SETTINGS = {"method": "temperature", "rule": "risk", "alpha": 0.2}


@pytest.fixture(scope="module")
def report():
    items = overconfident()
    return report_calibration(items, cross_fit(items, **SETTINGS), has_rule=True, standing="held out")


def test_calibration_makes_an_overconfident_reward_better_and_keeps_its_promise_on_other_groups(report):
    assert report.after.brier.mean < report.before.brier.mean and report.difference["brier"].high < 0
    assert report.after.ece.mean < report.before.ece.mean
    assert report.promised.mean <= 0.2 and 0 < report.kept.mean <= 1
    assert report.wrong_kept.mean == pytest.approx(report.promised.mean / report.kept.mean)  # groups of equal size
    assert report.curve_after.area.mean == pytest.approx(report.curve_before.area.mean, abs=0.03)
    assert report.std_gain is not None and report.width.mean == 0


def test_a_report_is_json_and_two_pictures(report):
    assert json.loads(json.dumps(report.to_dict()))["after"]["brier"]["n_groups"] == 60
    assert b"<svg" in reliability_plot({"before": report.before, "after": report.after})
    assert b"<svg" in risk_coverage_plot({"margin": report.curve_before}) and b"<svg" in risk_coverage_plot({})


def test_another_policys_answers_can_break_the_promise_and_are_marked():
    calibration = fit_calibration(overconfident(), **SETTINGS)
    tuned = overconfident(seed=1, slope=-0.3)  # the policy has learned to please the reward
    found = report_calibration(tuned, apply_calibration(tuned, calibration), has_rule=True, standing=NO_GUARANTEE)
    assert found.standing == "no guarantee there" and found.promised.low > 0.2


def test_items_of_another_reward_or_target_are_refused():
    calibration = fit_calibration(overconfident(), **SETTINGS)
    other = overconfident().take([0, 1])
    with pytest.raises(ValueError, match="fitted to 'r@1' and the scores are those of 's@1'"):
        apply_calibration(
            ScoredItems.of("pair", other.scores, other.labels, other.groups, judge="s@1"), calibration
        )
    with pytest.raises(ValueError, match="the items are of answers, the calibration of pairs"):
        apply_calibration(
            ScoredItems.of("answer", other.scores, other.labels, other.groups, judge="r@1"), calibration
        )


def test_probabilities_that_are_scores_are_taken_as_they_are():
    def of(target, scores):
        return uncalibrated(ScoredItems.of(target, scores, [1, 0], ["a", "b"])).tolist()

    assert of("answer", [0.2, 0.9]) == [0.2, 0.9]
    assert of("answer", [0.0, 2.0]) == pytest.approx([0.5, 0.8808], abs=1e-4)
    assert of("pair", [0.0, 1.0]) == pytest.approx([0.5, 0.7311], abs=1e-4)


def test_a_promise_is_checked_group_by_group_and_no_loss_still_has_an_interval():
    large = promised_loss(np.array([1.0] * 9 + [0.0] * 9), ["large"] * 9 + [f"g{i}" for i in range(9)])
    assert large.mean == pytest.approx(1 / 10)
    none = promised_loss(np.zeros(20), [f"g{i}" for i in range(20)])
    assert (none.mean, none.low) == (0, 0) and none.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert promised_loss(np.full(3, np.nan), list("abc")).mean is None
    # of a half is kept, and wrong; of b all, and right: (1/2) / (1/2 + 1)
    assert promised_loss(np.array([1.0, np.nan, 0, 0]), list("aabb")).mean == pytest.approx(1 / 3)


def test_the_order_in_which_a_pair_stands_says_nothing_of_its_standard_deviation(report):
    items = overconfident()
    turned = ScoredItems.of("pair", -items.scores, 1 - items.labels, items.groups, stds=items.stds, judge="r@1")
    found = report_calibration(turned, cross_fit(turned, **SETTINGS), has_rule=True, standing="held out")
    assert found.std_gain == report.std_gain
