import pytest

from vlmalign.evaluation.alignment_tax import Task, alignment_tax, macro_gain
from vlmalign.evaluation.run_items import PairedRuns, RunItem, pair_runs


def runs(after, before, metric="right", groups=None):
    """Items with these values, one cluster each unless told otherwise."""

    def side(values):
        return [RunItem((k,), f"c{k}", (groups or {}).get(k, f"g{k}"), f"r{k}", {metric: value})
                for k, value in enumerate(values)]  # fmt: skip

    return pair_runs(side(after), side(before))


def lost(n=20, down=8):
    """A task on which the first `down` of n items are lost."""
    return runs([0.0] * down + [1.0] * (n - down), [1.0] * n)


def test_a_task_that_lost_items_pays_a_tax_and_a_target_pays_none():
    same = runs([1.0] * 20, [1.0] * 20)
    found = alignment_tax([Task("vqa", lost()), Task("report", lost(), target=True), Task("other", same)])
    vqa, report = found["tasks"]["vqa"], found["tasks"]["report"]
    assert vqa["gain"]["mean"] == pytest.approx(-0.4) and vqa["items"] == {"better": 0, "equal": 12, "worse": 8}
    assert vqa["p"] == pytest.approx(2 / 2**8) and vqa["p_holm"] == pytest.approx(
        2 * 2 / 2**8
    )  # two tasks, not three
    assert report["p_holm"] is None and report["gain"]["mean"] == pytest.approx(-0.4)
    assert found["macro"]["over"] == ["vqa", "other"]
    assert found["macro"]["gain"]["mean"] == pytest.approx(-0.2)
    assert found["verdict"] == "tax" and found["lists"]["worse_after_holm"] == ["vqa"]
    assert "Worse after Holm over 2 tasks: vqa" in found["sentence"]


def test_many_equal_items_show_that_there_is_no_tax_and_few_do_not():
    many, few = runs([1.0] * 200, [1.0] * 200), runs([1.0] * 10, [1.0] * 10)
    assert alignment_tax([Task("a", many)])["verdict"] == "no tax beyond the margin"
    found = alignment_tax([Task("a", many), Task("b", few)])
    assert found["verdict"] == "not shown" and found["lists"]["not_shown_within_margin"] == ["b"]
    assert found["tasks"]["b"]["non_inferior"]["shown"] is False


def test_where_less_is_better_a_rise_is_the_tax():
    found = alignment_tax([Task("a", runs([1.0] * 8 + [0.0] * 12, [0.0] * 20, metric="omissions"))])
    each = found["tasks"]["a"]
    assert each["gain"]["mean"] == pytest.approx(-0.4) and each["difference"]["mean"] == pytest.approx(0.4)
    assert each["items"]["worse"] == 8 and each["non_inferior"]["difference"]["mean"] == pytest.approx(-0.4)
    assert found["macro"]["gain"]["mean"] == pytest.approx(-0.4)


def test_the_overall_gain_weighs_tasks_alike_and_resamples_shared_clusters_together():
    # task one: -1 of one item; task two: +1 on each of three items: the mean of tasks is 0, of items 0.5
    assert macro_gain([[-1.0], [1.0, 1.0, 1.0]], [["a"], ["a", "b", "c"]]).mean == pytest.approx(0.0)
    up, down = [1.0, -1.0] * 5, [-1.0, 1.0] * 5
    groups = [f"g{k}" for k in range(10)]
    together = macro_gain([up, down], [groups, groups])  # what one task gains in a cluster the other loses there
    apart = macro_gain([up, down], [groups, [f"h{k}" for k in range(10)]])
    assert together.high == pytest.approx(0.0) and apart.high > 0.2
    assert macro_gain([[None]], [["a"]]).mean is None


def test_a_rating_is_in_no_overall_share_and_needs_a_margin_of_its_own():
    tasks = [Task("style", runs([3.0, 4.0, 5.0], [4.0, 4.0, 5.0], metric="helpful")), Task("a", lost())]
    found = alignment_tax(tasks)
    assert found["tasks"]["style"]["non_inferior"] is None
    assert found["macro"]["left_out"] == {"style": "its metric is no share"} and found["macro"]["over"] == ["a"]
    own = alignment_tax(tasks, margins={"style": 1.5})["tasks"]["style"]
    assert own["non_inferior"]["shown"] is False and own["margin"] == 1.5  # -1/3 +- 4.303 / 3 goes below -1.5
    assert own["non_inferior"]["difference"]["low"] == pytest.approx(-1 / 3 - 4.302653 / 3, abs=1e-5)


def test_words_are_told_as_a_ratio_of_sums_over_answers_that_have_them_on_both_sides():
    words = [(30, 10), (10, 10), (None, 5)]
    found = alignment_tax([Task("a", runs([1.0] * 3, [1.0] * 3), words)])["tasks"]["a"]["words"]
    assert (found["ratio"]["mean"], found["ratio"]["n"], found["ratio"]["excluded"]) == (2.0, 2, 1)
    assert found["after"]["mean"] == 20 and found["difference"]["mean"] == 10
    assert alignment_tax([Task("a", lost())])["tasks"]["a"]["words"] is None


def test_what_nobody_could_score_is_not_compared_and_makes_no_figure_up():
    found = alignment_tax([Task("a", runs([None, None], [1.0, 0.0]))])
    assert found["lists"]["not_compared"] == ["a"] and found["macro"]["gain"]["mean"] is None
    assert found["macro"]["left_out"] == {"a": "nothing scored"} and found["tasks"]["a"]["gain"]["excluded"] == 2
    assert "nothing can be said" in found["sentence"]


def test_names_that_are_no_task_and_metrics_that_no_item_has_are_refused():
    for wrong in ({"metrics": {"x": "right"}}, {"margins": {"x": 1.0}}):
        with pytest.raises(ValueError, match="no task is called 'x': choose from a"):
            alignment_tax([Task("a", lost())], **wrong)
    with pytest.raises(ValueError, match="has no metric 'harm': choose from right"):
        alignment_tax([Task("a", lost())], metrics={"a": "harm"})
    with pytest.raises(ValueError, match="each with a name of its own"):
        alignment_tax([Task("a", lost()), Task("a", lost())])
    assert alignment_tax([Task("a", lost(), target=True)])["verdict"] == "no other task"


@pytest.mark.parametrize("given", [{"margin": float("nan")}, {"margins": {"chat": float("nan")}}, {"margin": 0}])
def test_a_margin_that_is_no_positive_number_is_refused_also_where_no_task_needs_it(given):
    task = Task("chat", PairedRuns([], 0, 0))
    with pytest.raises(ValueError, match="margin is (nan|0)"):
        alignment_tax([task], **given)
