import pytest

from vlmalign.evaluation.judged_pairs import judged_pairs
from vlmalign.records import Judgement, Preference, assistant, user


def pair(i, group="g"):
    return Preference(
        id=f"p{i}", case_id=f"c{i}", group_id=group, split="test", images=(), prompt=(user("What?"),),
        chosen=(assistant("yes"),), rejected=(assistant("no"),), source="judge",
    )  # fmt: skip


def judged(name, score, judge="r@1"):
    fields = {"score": score} if score is not None else {"valid": False, "invalid_reason": "cut"}
    return Judgement(id=f"{name}/r", case_id="c", candidate_ids=(name,), criterion="r", judge=judge, **fields)


SIDES = [
    judged("p2/rejected", 0.1),
    judged("p2/chosen", 0.9),
    judged("p1/chosen", None),
    judged("p1/rejected", 0.3),
]


def test_scores_come_to_their_pairs_in_the_pairs_order_and_missing_is_not_zero():
    found = judged_pairs(SIDES, [pair(1, "a"), pair(2, "b")])
    assert (found.right, found.wrong) == ([None, 0.9], [0.3, 0.1])
    assert (found.judge, found.groups, found.names) == ("r@1", ("a", "b"), ("p1", "p2"))
    accuracy = found.accuracy().accuracy
    assert (accuracy.mean, accuracy.n, accuracy.excluded) == (1.0, 1, 1)


@pytest.mark.parametrize(
    ("judgements", "says"),
    [
        (SIDES[1:], "answer 'p2/rejected' is not judged"),
        ([*SIDES, judged("p3/chosen", 1.0)], "answer 'p3/chosen' is of no pair"),
        ([*SIDES, SIDES[0]], "is not the one score of one answer"),
        ([*SIDES[1:], judged("p2/rejected", 0.1, "s@1")], r"by \['r@1', 's@1'\]"),
        ([], r"by \[\]"),
    ],
)
def test_judgements_that_do_not_fit_the_pairs_are_refused(judgements, says):
    with pytest.raises(ValueError, match=says):
        judged_pairs(judgements, [pair(1), pair(2)])
