import pytest

from vlmalign.evaluation.alpha_choice import choose_alpha
from vlmalign.rewards import RewardOutput


def scores(*values):
    return RewardOutput.of(values, reasons=["cut" if value is None else None for value in values])


RIGHT = {1.0: scores(2, 2, 0, 0), 0.0: scores(1, 1, 0, 1), 0.5: scores(3, 3, 3, None)}
WRONG = {0.0: scores(0, 0, 1, 1), 0.5: scores(1, 1, 9, 0), 1.0: scores(0, 0, 1, 1)}


def test_every_alpha_is_told_with_its_ties_and_the_unscored():
    found = choose_alpha(RIGHT, WRONG, "abcd")
    assert [row.alpha for row in found.table] == [0.0, 0.5, 1.0]
    assert [row.accuracy.accuracy.mean for row in found.table] == [
        pytest.approx(2.5 / 4), pytest.approx(2 / 3), pytest.approx(0.5),
    ]  # fmt: skip
    assert found.best == 0.5
    assert [row.accuracy.accuracy.excluded for row in found.table] == [0, 1, 0]
    assert [row.accuracy.ties.mean for row in found.table] == [0.25, 0.0, 0.0]
    assert found.to_dict()["table"][2]["against_best"]["mean"] == pytest.approx(0.0)  # on the three pairs of both


def test_of_equal_alphas_the_smallest_is_taken():
    equal = {0.2: scores(1, 0), 0.0: scores(1, 0), 0.7: scores(0, 0)}
    assert choose_alpha(equal, {alpha: scores(0, 1) for alpha in equal}, "ab").best == 0.0


def test_sweeps_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"alphas are \[0.0, 0.5, 1.0\] and \[0.0\]"):
        choose_alpha(RIGHT, {0.0: scores(0, 0, 1, 1)}, "abcd")
    with pytest.raises(ValueError, match="no pair has two scored answers"):
        choose_alpha({0.0: scores(None)}, {0.0: scores(1)}, "a")
