import numpy as np
import pytest

from vlmalign.training.held_out import Answered, HeldOut, clustered_mean


def test_the_standard_error_of_independent_numbers_is_the_usual_one():
    values = [1.0, 4.0, 2.0, 8.0]
    mean, error = clustered_mean([(str(i), value) for i, value in enumerate(values)])
    assert mean == pytest.approx(3.75) and error == pytest.approx(np.std(values, ddof=1) / 2)


def test_repeating_a_groups_numbers_tells_nothing_new():
    once = clustered_mean([("a", 1.0), ("b", 3.0), ("c", 4.0)])
    twice = clustered_mean([("a", 1.0), ("b", 3.0), ("c", 4.0)] * 2)
    assert twice == pytest.approx(once)


def test_nothing_has_no_mean_and_one_group_no_error():
    assert clustered_mean([]) == (None, None)
    assert clustered_mean([("a", 1.0), ("a", 2.0)]) == (1.5, None)


def test_answers_without_a_score_are_a_share_and_no_zero():
    answers = [Answered("a", 1.0, None, 0.5, 4, False), Answered("b", None, None, 1.5, 8, True)]
    found = HeldOut(answers).summary()
    assert found["reward"] == 1.0 and found["reward_valid"] == 0.5 and "gold" not in found
    assert found["kl"] == 1.0 and found["tokens"] == 6.0 and found["cut"] == 0.5
