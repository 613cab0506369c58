import pytest

from vlmalign.evaluation.cross_tables import NOT_SAID, cross_table
from vlmalign.evaluation.run_comparison import changed, compare_runs, confusion_tables
from vlmalign.evaluation.run_items import RunItem, pair_runs


def item(k, value=1.0, *, group=None, said="few", true="few", metric="right"):
    return RunItem((k,), f"c{k}", group or f"g{k}", f"r{k}", {metric: value}, {"platelets": said} if said else {},
                   {"platelets": true} if true else {})  # fmt: skip


@pytest.fixture
def runs():
    a = [item(k, 1.0) for k in range(20)]
    b = [item(k, float(k >= 8), said="none" if k < 8 else "few") for k in range(19)] + [item(19, None)]
    return pair_runs(a, b)


def test_differences_tests_and_counts_by_hand(runs):
    found = compare_runs(runs, margin=0.1)
    right = found["metrics"]["right"]
    assert right["difference"]["mean"] == pytest.approx(8 / 19)
    assert (right["difference"]["n"], right["difference"]["excluded"]) == (19, 1)
    assert right["p"] == right["p_holm"] == pytest.approx(2 / 2**8)
    assert (right["mcnemar"]["first_only"], right["mcnemar"]["both"]) == (8, 11)
    assert [verdict["shown"] for verdict in found["verdicts"]] == [True, True, False]
    assert found["win_tie_loss"]["tested"]["win"] == 1
    assert len(changed(runs, "right")) == 8


def test_less_is_better_turns_the_verdicts_and_the_wins(runs):
    found = compare_runs(runs, margin=0.1, less_is_better=["right"])
    assert found["metrics"]["right"]["verdict"] == "worse"
    assert found["metrics"]["right"]["items"] == {"a_better": 0, "equal": 11, "b_better": 8}
    assert [verdict["shown"] for verdict in found["verdicts"]] == [False, False, False]


def test_swapping_the_runs_turns_every_figure_round(runs):
    swapped = pair_runs([b for _, b in runs.pairs], [a for a, _ in runs.pairs])
    forth, back = compare_runs(runs)["concepts"]["platelets"], compare_runs(swapped)["concepts"]["platelets"]
    assert back["difference"]["low"] == pytest.approx(-forth["difference"]["high"])
    assert back["p"] == forth["p"] and back["items"]["b_better"] == forth["items"]["a_better"] == 8


def test_items_of_one_run_only_of_another_group_or_twice_are_refused():
    with pytest.raises(ValueError, match="1 are in both, 1 in A only, 0 in B only, e.g. 1:"):
        pair_runs([item(0), item(1)], [item(0)])
    with pytest.raises(ValueError, match="is of group 'x' in A and 'y' in B"):
        pair_runs([item(0, group="x")], [item(0, group="y")])
    with pytest.raises(ValueError, match="run A says something of item 0 twice"):
        pair_runs([item(0), item(0)], [item(0)])


def test_nothing_scored_in_common_is_said_and_no_difference_made_up():
    found = compare_runs(pair_runs([item(0, None)], [item(0, 1.0)]), metric="right")
    assert found["metrics"]["right"]["difference"]["mean"] is None and found["metrics"]["right"]["p"] is None
    assert found["verdicts"][0]["shown"] is None and "cannot be said" in found["verdicts"][0]["sentence"]


def test_what_is_not_said_has_a_column_and_what_is_not_known_no_row():
    (table,) = confusion_tables([item(0), item(1, said=None), item(2, said="none"), item(3, true=None)])
    assert (table.rows, table.columns, table.counts) == (["few"], ["few", "none", NOT_SAID], [[1, 1, 1]])
    assert (table.n, table.excluded) == (3, 1)


def test_categories_come_in_the_order_given():
    found = cross_table([("b", "a"), ("a", "b")], title="t", row_title="x", column_title="y", order=["b", "a"])
    assert (found.rows, found.columns, found.counts) == (["b", "a"], ["b", "a"], [[0, 1], [1, 0]])


def test_a_concept_that_only_one_run_was_asked_is_not_compared_there():
    pairs = pair_runs([item(0), item(1)], [item(0), item(1, said=None, true=None)])
    assert compare_runs(pairs)["concepts"]["platelets"]["difference"]["n"] == 1
