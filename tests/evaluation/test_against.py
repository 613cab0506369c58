import numpy as np
import pytest

from vlmalign.evaluation import ItemScore, balanced_accuracy, compare
from vlmalign.evaluation.against import against_view, compare_metrics, template_sentence, verdict_on
from vlmalign.evaluation.estimate import Estimate


def items(right, metrics=lambda ok: {}):
    """A report per entry, three to a group, on whether there are platelets; said rightly or not."""
    found = []
    for i, ok in enumerate(right):
        truth = "few" if i % 2 else "none"
        said = truth if ok else {"few": "none", "none": "few"}[truth]
        shares = metrics(ok)
        found.append(ItemScore(f"c{i}", f"g{i // 3}", "report", shares, {"platelets": said}, {"platelets": truth}))
    return found


@pytest.mark.parametrize(
    ("metric", "mean", "said"),
    [
        ("in_scope_accuracy", 0.1, "better"),
        ("in_scope_accuracy", -0.1, "worse"),
        ("omissions", 0.1, "worse"),
        ("invalid_rate", -0.1, "better"),
        ("answer_tokens", 0.1, "more"),
        ("answer_tokens", -0.1, "less"),
        ("omissions", 0.01, "no difference shown"),
    ],
)
def test_the_verdict_follows_the_interval_and_the_direction_of_the_metric(metric, mean, said):
    assert verdict_on(Estimate(mean, mean - 0.05, mean + 0.05, 100, 20, 0, "t"), metric) == said


def test_without_an_interval_nothing_is_called_better_or_worse():
    assert verdict_on(Estimate.nothing(9), "omissions") == "not compared"


def test_a_balanced_difference_is_that_of_the_two_balanced_accuracies():
    rng = np.random.default_rng(0)
    a, b = items(rng.random(120) < 0.9), items(rng.random(120) < 0.6)
    difference = compare(a, b, "balanced_accuracy")
    assert difference.mean == pytest.approx(balanced_accuracy(a).mean - balanced_accuracy(b).mean)
    assert difference.low > 0 and difference.n == 120 and difference.n_groups == 40
    back = compare(b, a, "balanced_accuracy")
    assert (back.low, back.high) == pytest.approx((-difference.high, -difference.low))


@pytest.mark.parametrize("n_groups", [12, 40])
def test_arms_that_never_differ_are_not_known_to_be_equal_in_balanced_accuracy(n_groups):
    a = items(np.random.default_rng(0).random(3 * n_groups) < 0.7)
    difference = compare(a, a, "balanced_accuracy")
    assert difference.mean == 0
    assert difference.high == -difference.low == pytest.approx(1 - 0.025 ** (1 / n_groups))


def test_every_metric_that_the_items_have_is_compared_and_judged():
    def metrics(ok):
        return {"in_scope_accuracy": float(ok), "omissions": 0.0 if ok else 0.5, "answer_tokens": 40.0}

    rng = np.random.default_rng(1)
    found = compare_metrics(items(rng.random(120) < 0.9, metrics), items(rng.random(120) < 0.5, metrics))
    assert {name: score["verdict"] for name, score in found.items()} == {
        "balanced_accuracy": "better", "in_scope_accuracy": "better", "omissions": "better",
        "answer_tokens": "no difference shown",
    }  # fmt: skip


def test_what_is_worse_and_where_the_template_is_better_is_said_in_words(results):
    results["arms"]["expert_only"]["whole_report_accuracy"]["mean"] = 0.45
    worse, better, template = against_view(results).sentences
    assert worse == "Worse: Omitted; Consistent path."
    assert better == "Better: Whole report right."
    assert template.startswith(
        "expert_only (a template filled from the expert's findings, no model) is better than"
    )
    assert "Whole report right (45.0 against 41.0)" in template


def test_nothing_is_said_of_a_template_that_is_nowhere_better(results):
    results["arms"]["expert_only"] = {}
    results["dpo_against_sft_more"] = {"omissions": results["dpo_against_sft_more"]["invalid_rate"]}
    assert against_view(results).sentences == ["Worse: no metric beyond its interval.",
                                               "Better: no metric beyond its interval."]  # fmt: skip


def test_results_without_the_section_have_no_table():
    assert against_view({"arms": {}}) is None


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.2), (-0.2, 0.0)])
def test_an_interval_that_ends_at_nothing_shows_no_difference(low, high):
    assert verdict_on(Estimate((low + high) / 2, low, high, 9, 9, 0, "t"), "omissions") == "no difference shown"


def test_a_template_that_omits_less_is_better_and_one_that_omits_more_is_not():
    def arms(own, template):
        return {name: {"omissions": {"mean": mean}} for name, mean in (("dpo", own), ("expert_only", template))}

    assert template_sentence(arms(0.4, 0.6)) == []
    assert "Omitted (40.0 against 60.0)" in template_sentence(arms(0.6, 0.4))[0]
