import pytest

from vlmalign.records import Judgement
from vlmalign.rewards import best_of_n


def judged(case, name, score, **fields):
    state = {"valid": False, "invalid_reason": "no claim parsed"} if score is None else {"score": score}
    ids = {"id": f"{case}/{name}", "case_id": case, "candidate_ids": (f"{case}/{name}",)}
    return Judgement(**{**ids, "criterion": "x", "judge": "j@1", **state, **fields})


def test_picks_the_highest_and_counts_ties_and_invalid_answers():
    result = best_of_n([
        judged("a", 0, 0.1), judged("a", 1, 0.7), judged("a", 2, None),
        judged("b", 0, 0.5), judged("b", 1, 0.5),
        judged("c", 0, None),
        judged("d", 0, -3.0),
    ])  # fmt: skip
    assert result.picks == {"a": "a/1", "b": "b/0", "d": "d/0"}
    assert result.counts == {"cases": 4, "picked": 3, "tied": 1, "none_valid": 1, "invalid": 2}


def test_an_invalid_answer_is_never_picked_over_a_bad_one():
    assert best_of_n([judged("a", 0, None), judged("a", 1, -9.0)]).picks == {"a": "a/1"}


def test_no_judgements_give_no_picks():
    assert best_of_n([]).picks == {}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (judged("a", 1, 0.2, judge="k@1"), "those of one judge"),
        (judged("a", 0, 0.2), "judged twice"),
        (
            judged("a", 1, None, valid=True, invalid_reason=None, verdict="tie", candidate_ids=("x", "y")),
            "compares two",
        ),
    ],
)
def test_judgements_that_cannot_be_compared_are_refused(second, message):
    with pytest.raises(ValueError, match=message):
        best_of_n([judged("a", 0, 0.1), second])


def test_a_case_with_three_equal_answers_is_one_tied_case():
    assert best_of_n([judged("a", n, 0.5) for n in range(3)]).counts["tied"] == 1


@pytest.mark.parametrize("pessimism", [-1.0, float("nan"), float("inf")])
def test_a_pessimism_that_no_score_can_be_lowered_by_is_refused(pessimism):
    with pytest.raises(ValueError, match="give 0"):
        best_of_n([], pessimism=pessimism)
