"""The listwise loss of the dpo stage."""

import math

import pytest
import torch

from vlmalign.records import DataError
from vlmalign.training import DpoConfig, train_dpo
from vlmalign.training.listwise import ranked_answers

TIES = ((0, 1), (0, 2))  # answers 1 and 2 are not compared


@pytest.fixture
def settings(still_settings):
    return {**still_settings, "loss": "plackett_luce", "group_pairs": True}


def test_answers_are_arranged_by_case_with_their_own_reference():
    policy = torch.tensor([-1.0, -2.0, -3.0, -4.0, -5.0], requires_grad=True)
    found = ranked_answers(
        policy,
        torch.tensor([[-1.5, -2.0], [-1.5, -4.0], [-4.0, -4.5]]),
        torch.tensor([[0, 1], [0, 2], [3, 4]]),
        torch.tensor([1, 2, 2, 1, 2]),
        torch.tensor([0, 0, 0, 1, 1]),
        torch.tensor([0, 1, 2, 0, 1]),
    )
    assert found.ratios.tolist() == [[0.5, 0.0, 1.0], [0.0, -0.5, 0.0]]
    assert found.ranks.tolist() == [[1, 2, 2], [1, 2, 0]]
    assert found.present.tolist() == [[True, True, True], [True, True, False]]
    found.ratios.sum().backward()
    assert policy.grad.tolist() == [1.0] * 5


def test_the_first_steps_loss_is_the_log_of_the_number_of_rankings(settings, make_ranked, metrics_of):
    run = train_dpo(DpoConfig(**{**settings, "data": make_ranked(cases=3), "max_steps": 1}))
    first = metrics_of(run)[0]
    assert first["preference_loss"] == first["loss"] == pytest.approx(math.log(6), abs=1e-5)


def test_the_loss_of_a_case_is_that_of_its_ranking_by_hand(settings, make_ranked, first_step_at):
    config = {**settings, "data": make_ranked(cases=2), "max_steps": 1}
    h = (2.0, -1.0, 0.5)
    first = first_step_at(DpoConfig(**config), [[h[0], h[1]], [h[0], h[2]], [h[1], h[2]]] * 2)
    a, b, c = (math.exp(0.1 * value) for value in h)
    assert first["loss"] == pytest.approx(-math.log(a / (a + b + c)) - math.log(b / (b + c)), abs=1e-5)
    assert first["accuracy"] == pytest.approx(2 / 3) and first["chosen_reward"] == pytest.approx(0.1, abs=1e-4)


def test_two_answers_are_dpo(settings, pairs, metrics_of, tmp_path):
    runs = []
    for number, config in enumerate(({**settings, "loss": "sigmoid"}, settings)):
        run = train_dpo(DpoConfig(**{**config, "data": pairs, "out": str(tmp_path / f"run{number}")}))
        runs.append([[line[name] for name in ("loss", "margin", "kl")] for line in metrics_of(run)])
    for pairwise, listwise in zip(*runs, strict=True):
        assert listwise == pytest.approx(pairwise, rel=1e-3, abs=1e-5)


def test_a_case_counts_once_with_the_mean_weight_of_its_pairs(settings, make_ranked, metrics_of):
    data = make_ranked(cases=2, compared=TIES, weights=(3.0, 1.0))
    first = metrics_of(train_dpo(DpoConfig(**{**settings, "data": data, "max_steps": 1})))[0]
    assert first["preference_loss"] == pytest.approx(math.log(3), abs=1e-5)  # only the first of three is preferred
    assert first["loss"] == pytest.approx(2 * math.log(3), abs=1e-5)


def test_the_sft_term_is_of_the_answers_that_rank_first(settings, make_ranked, metrics_of, tmp_path):
    found = []
    for number, compared in enumerate((((0, 1), (1, 2)), ((0, 2), (1, 2)))):  # one answer ranks first, then two
        config = {**settings, "data": make_ranked(cases=2, compared=compared), "sft_weight": 0.5, "max_steps": 1}
        first = metrics_of(train_dpo(DpoConfig(**{**config, "out": str(tmp_path / f"run{number}")})))[0]
        assert first["loss"] == pytest.approx(
            first["preference_loss"] + 0.5 * first["chosen_token_loss"], rel=1e-5
        )
        found.append(first["chosen_token_loss"])
    assert found[0] != found[1]


def test_training_puts_the_answers_in_their_order(settings, make_ranked, metrics_of):
    config = {**settings, "data": make_ranked(cases=4), "max_steps": 40, "learning_rate": 1e-2}
    last = [line for line in metrics_of(train_dpo(DpoConfig(**config))) if "loss" in line][-1]
    assert last["accuracy"] == 1.0 and last["preference_loss"] < math.log(6) - 0.3


def test_a_case_without_a_ranking_is_refused_before_anything_is_written(settings, make_ranked, tmp_path):
    data = make_ranked(cases=1, compared=((0, 1), (1, 2), (2, 0)))
    with pytest.raises(DataError, match="record 'p0/0': the pairs of case 'c0' are no ranking"):
        train_dpo(DpoConfig(**{**settings, "data": data}))
    assert not (tmp_path / "run").exists()
