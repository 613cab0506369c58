import math

import numpy as np
import pytest

from vlmalign.rewards.calibration_items import ScoredItems
from vlmalign.rewards.conformal import Abstention, is_wrong


def answers(labels, groups=None):
    groups = groups or [f"g{i}" for i in range(len(labels))]
    return ScoredItems.of("answer", [0.0] * len(labels), labels, groups)


def drawn(rng, n_groups, largest=8):
    """Answers of groups that differ in size and in how right they are, with miscalibrated probabilities."""
    p, labels, groups = [], [], []
    for g in range(n_groups):
        shift = rng.normal(0, 1)
        for _ in range(rng.integers(1, largest + 1)):
            logit = rng.normal(0.7, 1.5)
            p.append(1 / (1 + np.exp(-2 * logit)))
            labels.append(float(rng.random() < 1 / (1 + np.exp(-logit - shift))))
            groups.append(f"g{g}")
    return np.array(p), answers(labels, groups)


def group_mean(losses, groups):
    names = sorted(set(groups))
    return np.mean([np.nanmean([x for x, g in zip(losses, groups, strict=True) if g == name]) for name in names])


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.23, 0.5])
def test_with_one_item_per_group_the_coverage_threshold_is_the_conformal_quantile(alpha):
    rng = np.random.default_rng(0)
    p, labels = rng.random(39), (rng.random(39) < 0.6).astype(float)
    rank = math.ceil(40 * (1 - alpha) - 1e-9)
    expected = np.sort(np.where(labels == 1, 1 - p, p))[rank - 1]
    assert Abstention.fit("coverage", p, answers(labels), alpha=alpha).threshold == pytest.approx(expected)


def test_the_risk_threshold_by_hand():
    """Nine groups, alpha 0.3: (errors + 1) / 10 <= 0.3, so two errors may be kept, and the third may not."""
    p = [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.9, 0.9, 0.9]
    rule = Abstention.fit("risk", p, answers([0, 0, 0, 0, 1, 1, 1, 1, 1]), alpha=0.3)
    assert rule.threshold == pytest.approx(0.85) and rule.n == 9
    assert rule.keeps([0.95, 0.85, 0.8, 0.1]).tolist() == [True, False, False, True]
    assert rule.reason(0.8) == "abstained: confidence 0.800 is not above 0.850 (kept and wrong <= 0.3)"


def test_a_large_group_of_errors_weighs_no_more_than_a_small_one():
    labels, groups = [0] * 20 + [1] * 8, ["large"] * 20 + [f"g{i}" for i in range(8)]
    rule = Abstention.fit("risk", [0.9] * 28, answers(labels, groups), alpha=0.2)  # one of 9 groups: (1 + 1) / 10
    assert rule.n == 9 and rule.keeps([0.9]).all() and not rule.keeps([0.5]).any()
    assert not Abstention.fit("risk", [0.9] * 28, answers(labels, groups), alpha=0.15).keeps([0.9]).any()


@pytest.mark.parametrize("rule", ["coverage", "risk"])
def test_the_promise_holds_on_average_over_calibration_sets_although_probabilities_are_wrong(rule):
    rng = np.random.default_rng(1)
    lost = []
    for _ in range(150):
        fitted = Abstention.fit(rule, *drawn(rng, 20), alpha=0.25)
        p, items = drawn(rng, 40)
        lost.append(group_mean(fitted.losses(p, items.labels), items.groups))
    assert 0.17 < np.mean(lost) < 0.25 + 2 * np.std(lost) / math.sqrt(150)


def test_the_selective_rule_bounds_what_is_wrong_among_the_kept():
    rng = np.random.default_rng(2)
    wrong = []
    for seed in range(40):
        fitted = Abstention.fit("selective", *drawn(rng, 150), alpha=0.42, delta=0.2, seed=seed)
        p, items = drawn(rng, 300, largest=1)
        wrong.append(np.nanmean(fitted.losses(p, items.labels)))
    assert np.mean(np.array(wrong) > 0.42) <= 0.2 and np.mean(wrong) > 0.2
    assert fitted.n == 150 and "with probability 0.8" in fitted.guarantee


def test_items_with_both_labels_in_the_set_or_none_are_not_kept():
    wide = Abstention(rule="coverage", alpha=0.1, threshold=0.7, n=9)
    assert wide.label_sets([0.5, 0.9]).tolist() == [[True, True], [False, True]]
    assert wide.keeps([0.5, 0.9, 0.1]).tolist() == [False, True, True] and "both labels are" in wide.reason(0.5)
    narrow = Abstention(rule="coverage", alpha=0.1, threshold=0.2, n=9)
    assert narrow.keeps([0.5, 0.9]).tolist() == [False, True] and "neither label is" in narrow.reason(0.5)
    assert narrow.losses([0.5, 0.9, 0.9], [1, 1, 0]).tolist() == [1, 0, 1]


@pytest.mark.parametrize("rule", ["coverage", "risk"])
def test_an_alpha_that_the_groups_cannot_promise_is_refused_with_the_smallest_one(rule):
    with pytest.raises(ValueError, match="with 9 groups no less than 0.1 can be promised.* on 19 groups or more"):
        Abstention.fit(rule, [0.9] * 18, answers([1] * 18, list("abcdefghi") * 2), alpha=0.05)
    assert Abstention.fit(rule, [0.9] * 9, answers([1] * 9), alpha=0.1).alpha == 0.1


def test_a_selective_promise_out_of_reach_is_refused_with_the_smallest_one():
    with pytest.raises(
        ValueError, match="with 10 groups the smallest alpha is 0.411"
    ):  # 1 - (0.1 / 20) ** (1 / 10)
        Abstention.fit("selective", [0.99] * 10, answers([1] * 10), alpha=0.1)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1])
def test_an_alpha_outside_0_and_1_is_refused(alpha):
    with pytest.raises(ValueError, match="give numbers between 0 and 1"):
        Abstention.fit("risk", [0.9], answers([1]), alpha=alpha)


def test_at_one_half_no_label_is_likelier_which_is_wrong_whatever_is_true():
    assert is_wrong([0.5, 0.5, 0.6, 0.6], [0, 1, 0, 1]).tolist() == [True, True, True, False]
