import numpy as np
import pytest

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.win_tie_loss import PromptScores, TaskScores, best_prompt, by_interval, win_tie_loss


def scores(right, n=60, validation=0.5):
    """`right` of n test items right."""
    return PromptScores([1.0] * int(10 * validation) + [0.0] * int(10 - 10 * validation),
                        [1.0] * right + [0.0] * (n - right))  # fmt: skip


def test_a_small_lead_is_a_raw_win_and_a_tested_tie():
    found = win_tie_loss({
        "clear": TaskScores({"p": scores(50)}, {"p": scores(20)}, range(60)),
        "noise": TaskScores({"p": scores(31)}, {"p": scores(30)}, range(60)),
        "worse": TaskScores({"p": scores(10)}, {"p": scores(30)}, range(60)),
    })  # fmt: skip
    assert found.tested == {"win": 1, "tie": 1, "loss": 1, "not compared": 0}
    assert found.raw == {"win": 2, "tie": 0, "loss": 1, "not compared": 0}
    assert (found.win_rate, found.raw_win_rate) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_each_model_gets_the_prompt_that_suits_it_on_validation_items():
    first = {"long": scores(40, validation=0.9), "short": scores(10, validation=0.1)}
    second = {"long": scores(10, validation=0.2), "short": scores(40, validation=0.8)}
    task = win_tie_loss({"t": TaskScores(first, second, range(60))}).tasks["t"]
    assert task.prompts == ("long", "short")
    assert (task.outcome, task.one_prompt) == ("tie", "win")  # the first one's prompt makes it look better


def test_a_prompt_is_never_chosen_by_the_test_items():
    better_on_test = {"a": scores(10, validation=0.9), "b": scores(60, validation=0.1)}
    assert best_prompt(better_on_test) == "a"
    with pytest.raises(ValueError, match="never choose on the test items"):
        best_prompt({"a": PromptScores([], [1]), "b": PromptScores([None], [1])}, "t")


def test_chance_wins_among_many_tasks_do_not_survive_holm():
    rng = np.random.default_rng(3)
    draws = [[{"p": PromptScores([], rng.integers(0, 2, 50).tolist())} for _ in "ab"] for _ in range(60)]
    tasks = {str(k): TaskScores(*both, range(50)) for k, both in enumerate(draws)}
    found = win_tie_loss(tasks)
    assert found.tested["win"] + found.tested["loss"] >= 1
    assert found.after_holm == {"win": 0, "tie": 60, "loss": 0, "not compared": 0}


def test_a_task_without_scores_is_not_compared_and_in_no_rate():
    found = win_tie_loss({"t": TaskScores({"p": PromptScores([], [None])}, {"p": PromptScores([], [1])}, ["g"])})
    assert found.tested["not compared"] == 1 and found.win_rate is found.raw_win_rate is None


def test_all_ties_are_ties_by_test_and_by_sign():
    found = win_tie_loss({"t": TaskScores({"p": scores(30)}, {"p": scores(30)}, range(60))})
    assert (found.tested["tie"], found.raw["tie"], found.win_rate) == (1, 1, 0.0)


def test_items_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match="task 't' has 60 and 50 test scores"):
        win_tie_loss({"t": TaskScores({"p": scores(30)}, {"p": scores(30, n=50)}, range(60))})


def test_a_validation_item_without_a_score_does_not_count_against_its_prompt():
    assert best_prompt({"a": PromptScores([1, None, None], []), "b": PromptScores([1, 1, 0], [])}) == "a"
    equal = {"z": PromptScores([1, 0], []), "a": PromptScores([0, 1], [])}
    assert best_prompt(equal) == "z"  # the first of equals


def test_with_one_prompt_the_same_one_is_tested_for_both():
    first = {"long": scores(40)}
    second = {"long": scores(39, validation=0.2), "short": scores(10, validation=0.8)}
    task = win_tie_loss({"t": TaskScores(first, second, range(60))}).tasks["t"]
    assert (task.prompts, task.outcome, task.one_prompt) == (("long", "short"), "win", "tie")


def test_an_interval_that_ends_at_nothing_is_a_tie():
    for low, high in ((0.0, 0.2), (-0.2, 0.0)):
        assert by_interval(Estimate((low + high) / 2, low, high, 9, 9, 0, "t")) == "tie"
