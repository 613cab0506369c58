import pytest

from vlmalign.evaluation import CaseTruth, ItemScore, aggregate, balanced_accuracy, compare
from vlmalign.evaluation.baselines import majority_answers, majority_baseline, random_baseline


def item(i, value, *, metric="whole_report_accuracy", seed=None, predicted=None, truth=None):
    return ItemScore(f"c{i}", f"g{i % 5}", "report", {metric: value}, predicted or {}, truth or {}, 0, seed)


def test_each_metric_is_averaged_over_the_items_that_have_it():
    items = [item(0, 1.0), item(1, None), item(2, 0.0), item(3, 7.0, metric="answer_tokens")]
    found = aggregate(items)
    assert found["whole_report_accuracy"].mean == 0.5
    assert found["whole_report_accuracy"].excluded == 1
    assert found["answer_tokens"].mean == 7.0
    assert found["answer_tokens"].n == 1


def test_the_interval_of_a_share_ends_at_one_and_that_of_a_count_does_not():
    for metric, ends_at_one in (("in_scope_accuracy", True), ("answer_tokens", False)):
        found = aggregate([item(i, 0.9 if i else 0.1, metric=metric) for i in range(5)])[metric]
        assert (found.high == 1.0) == ends_at_one and found.high >= 1


def test_an_item_given_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        aggregate([item(0, 1.0), item(0, 1.0)])


def test_arms_are_compared_item_by_item_whatever_their_order():
    a = [item(i, float(i % 2)) for i in range(20)]
    b = [item(i, 0.0) for i in reversed(range(20))]
    difference = compare(a, b, "whole_report_accuracy")
    assert difference.mean == 0.5
    assert difference.low > 0


def test_arms_on_different_cases_are_refused():
    with pytest.raises(ValueError, match="same cases"):
        compare([item(0, 1.0), item(1, 1.0)], [item(0, 1.0)], "whole_report_accuracy")
    with pytest.raises(ValueError, match="check its name"):
        compare([item(0, 1.0)], [item(0, 1.0)], "accuracy_of_everything")


def test_the_same_cases_under_several_seeds_are_different_items():
    a = [item(i, 0.5 + 0.1 * s, seed=s) for s in range(5) for i in range(4)]
    b = [item(i, 0.5, seed=s) for s in range(5) for i in range(4)]
    difference = compare(a, b, "whole_report_accuracy")
    assert difference.mean == pytest.approx(0.2)
    assert "5 seeds" in difference.method
    assert difference.n_groups == 20


def classed(i, said, true):
    return item(i, None, predicted={} if said is None else {"platelets": said}, truth={"platelets": true})


def test_balanced_accuracy_is_the_mean_recall_of_the_classes():
    # few: 3 of 4; none: 1 of 2; many: 0 of 1 (omitted) -> (0.75 + 0.5 + 0) / 3
    pairs = [("few", "few")] * 3 + [("none", "few"), ("none", "none"), ("few", "none"), (None, "many")]
    estimate = balanced_accuracy([classed(i, said, true) for i, (said, true) in enumerate(pairs)])
    assert estimate.mean == pytest.approx(1.25 / 3)
    assert estimate.n == 7


def test_a_majority_class_earns_one_over_k_of_balanced_accuracy_in_every_resample():
    items = [classed(i, "few", true) for i, true in enumerate(["few"] * 60 + ["none"] * 20 + ["many"] * 20)]
    estimate = balanced_accuracy(items)
    assert estimate.mean == pytest.approx(1 / 3)
    assert estimate.low == pytest.approx(1 / 3)


def test_balanced_accuracy_excludes_items_without_truth():
    estimate = balanced_accuracy([classed(0, "few", "few"), classed(1, "few", "none"), item(2, 1.0)])
    assert (estimate.n, estimate.excluded) == (2, 1)
    assert balanced_accuracy([item(0, 1.0)]).mean is None


def test_a_perfect_balanced_accuracy_still_has_an_interval():
    estimate = balanced_accuracy([classed(i, "few", "few") for i in range(10)])
    assert estimate.high == 1.0
    assert estimate.low == pytest.approx(0.025 ** (1 / 5))


def test_a_tie_of_labels_goes_to_the_first_in_the_alphabet():
    assert majority_answers([{"stain": "pale"}, {"stain": "normal"}]) == {"stain": "normal"}


def test_the_majority_baseline_goes_through_the_same_scoring(logic, truth):
    other = CaseTruth("c2", "slide-2", {**truth.answers, "platelets": "many"})
    found = aggregate(majority_baseline(logic, [truth.answers], [truth, other], ("leukocyte", "platelets")))
    assert found["whole_report_accuracy"].mean == 0.5
    assert found["question_accuracy"].mean == pytest.approx((1 + 6 / 7) / 2)
    assert found["conversation_accuracy"].mean == 0.5


def test_random_answers_are_right_at_the_rate_of_their_values(logic, truth):
    truths = [CaseTruth(f"c{i}", f"g{i % 10}", truth.answers) for i in range(60)]
    items = random_baseline(logic, truths, ("platelets",), draws=10)
    found = aggregate(items)
    assert found["in_scope_accuracy"].mean == pytest.approx(1 / 3, abs=0.06)
    assert items == random_baseline(logic, truths, ("platelets",), draws=10)
