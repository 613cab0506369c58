import pytest

from vlmalign.evaluation.run_items import RunItem, pair_runs
from vlmalign.evaluation.subgroup_changes import subgroup_changes


@pytest.fixture
def found():
    """Women went from all right to half right, men stayed all right; two of unknown sex."""
    sexes = {
        **{f"c{k}": "f" for k in range(12)},
        **{f"c{k}": "m" for k in range(12, 24)},
        "c24": None,
        "c25": None,
    }

    def side(right):
        return [RunItem((k,), f"c{k}", f"g{k}", f"r{k}", {"right": right(k)}) for k in range(26)]

    runs = pair_runs(side(lambda k: float(not (k < 12 and k % 2))), side(lambda k: 1.0))
    return subgroup_changes(runs, "right", {"sex": sexes}, {"sex": ["f", "m", "x"]})["sex"]


def test_a_gap_that_opened_is_told_before_after_and_as_a_change(found):
    women = found["f"]
    assert (women["before"]["mean"], women["after"]["mean"], women["change"]["mean"]) == (1.0, 0.5, -0.5)
    assert women["gap_before"]["mean"] == 0.0 and women["gap_after"]["mean"] == pytest.approx(-0.5)
    assert women["gap_change"]["mean"] == pytest.approx(-0.5) and women["gap_change"]["high"] < 0
    assert found["m"]["gap_change"]["mean"] == pytest.approx(0.5)


def test_those_not_told_are_a_row_of_their_own_that_is_in_no_gap(found):
    row = found["not told"]
    assert (row["items"], row["state"], row["small"]) == (2, "not told", True)
    assert row["change"]["mean"] == 0.0 and row["gap_change"]["mean"] is None
    assert found["m"]["gap_change"]["n"] == 24


def test_empty_and_small_subgroups_are_said_to_be_so(found):
    assert (found["x"]["state"], found["x"]["items"], found["x"]["change"]["mean"]) == ("empty subgroup", 0, None)
    assert not found["x"]["small"] and not found["f"]["small"]
