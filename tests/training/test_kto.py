"""Kahneman-Tversky optimisation as a loss of the dpo stage."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from vlmalign.records import DataError
from vlmalign.training import DpoConfig, train_dpo
from vlmalign.training.dpo import DpoTrainer
from vlmalign.training.preference_loss import Kto, PairScores
from vlmalign.training.reference import Reference


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.fixture
def settings(still_settings, pairs):
    return {**still_settings, "data": pairs, "loss": "kto"}


def test_a_pairs_loss_is_the_mean_of_its_desirable_and_its_undesirable_answer():
    reference = torch.tensor([[-5.0, -5.0]])
    policy = (reference + torch.tensor([[3.0, -2.0]])).requires_grad_()
    scores = PairScores(policy, reference, torch.ones(1, 2), torch.zeros(1), torch.tensor([1.0]))
    loss = Kto(name="kto", desirable_weight=1.2).of(scores)
    assert loss.losses.item() == pytest.approx((1.2 * (1 - sigmoid(0.2)) + 1 - sigmoid(0.3)) / 2)
    assert (loss.chosen_rewards.item(), loss.rejected_rewards.item()) == pytest.approx((0.3, -0.2))
    loss.losses.sum().backward()
    assert policy.grad[0, 0] < 0 < policy.grad[0, 1]


def test_the_first_steps_loss_is_a_half_and_its_reference_point_zero(settings, metrics_of):
    first = metrics_of(train_dpo(DpoConfig(**{**settings, "max_steps": 1})))[0]
    assert first["preference_loss"] == pytest.approx(0.5, abs=1e-5) and first["z0"] == pytest.approx(0, abs=1e-4)


def test_the_reference_point_is_the_mean_log_ratio_of_mismatched_answers(settings, first_step_at):
    ratios = [[1.0, 0.0, 2.0 if row % 2 else 4.0] for row in range(8)]  # one batch holds all eight
    first = first_step_at(DpoConfig(**{**settings, "max_steps": 1, "batch_size": 8}), ratios)
    assert first["z0"] == pytest.approx(3.0, abs=1e-4)
    assert first["preference_loss"] == pytest.approx((1 - sigmoid(-0.2) + 1 - sigmoid(0.3)) / 2, abs=1e-5)
    assert first["kl"] == pytest.approx(-0.5, abs=1e-4)  # of the pairs' own answers


@pytest.mark.parametrize(("filler", "expected"), [(False, (4.0 + 5.0) / 3), (True, 4.0 / 2)])
def test_a_fillers_repeat_does_not_count_in_the_reference_point_of_all_processes(filler, expected):
    others = torch.tensor([4.0, 2.0])  # sum and number of the other process's log-ratios
    process = SimpleNamespace(
        reference=Reference(["p"], torch.tensor([[-1.0, -1.0, -6.0]]), 0.0),
        accelerator=SimpleNamespace(reduce=lambda own: own + others),
    )
    batch = {"batch": SimpleNamespace(loss_mask=torch.ones(3, 2)), "ids": ("p",), "margins": torch.zeros(1)}
    logps, pairs = torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([[0, 1, 2]])
    scores = DpoTrainer._scores(process, logps, {**batch, "filler": filler}, pairs)
    assert scores.mismatched.tolist() == pytest.approx([expected])


def test_mismatched_answers_are_out_of_the_gradient(settings, first_step_at, tmp_path):
    """At the same reference point, above zero, it does not matter which answers it comes from."""
    norms = []
    for seed in (0, 1):
        config = {**settings, "max_steps": 1, "batch_size": 8, "seed": seed, "out": str(tmp_path / f"run{seed}")}
        first = first_step_at(DpoConfig(**config), [1.0, 0.0, 3.0])
        assert first["z0"] == pytest.approx(3, abs=1e-4)
        norms.append(first["grad_norm"])
    assert norms[0] == pytest.approx(norms[1], rel=1e-4) and norms[0] > 0


def test_training_raises_the_desirable_answers_and_watches_the_reference_point(settings, metrics_of):
    config = {**settings, "max_steps": 40, "learning_rate": 1e-2, "loss": {"name": "kto", "beta": 0.5}}
    lines = [line for line in metrics_of(train_dpo(DpoConfig(**config))) if "loss" in line]
    assert lines[-1]["preference_loss"] < 0.4 and lines[-1]["margin"] > 1
    assert all(line["z0"] >= 0 for line in lines) and max(line["z0"] for line in lines) > 0


def test_held_out_pairs_are_compared_with_answers_of_their_own(settings, make_pairs):
    held_out = make_pairs(n=4, first=60, split="test")
    run = train_dpo(DpoConfig(**{**settings, "eval_data": held_out, "max_steps": 2}))
    evaluation = json.loads((run / "summary.json").read_text())["evaluation"]
    assert evaluation["eval_z0"] >= 0
    assert Reference.load(run / "reference.safetensors").logps.shape == (12, 3)
    lonely = make_pairs(n=1, first=70, split="test")
    with pytest.raises(DataError, match="record 'p70': no answer to another case's prompt"):
        train_dpo(DpoConfig(**{**settings, "eval_data": lonely, "out": settings["out"] + "2"}))
