"""From outcomes to a reward of every sentence: train with `loss: outcome`, then score with the log-ratio."""

import math

import pytest

from vlmalign.records import Judgement, Preference, RecordFolder, read_records
from vlmalign.rewards import ImplicitReward, score_pairs
from vlmalign.rewards.pair_scoring import pair_case, side_candidate
from vlmalign.training import DpoConfig, train_dpo


def test_the_first_steps_loss_is_that_of_two_answers_that_may_be_right_or_wrong(still_settings, pairs, metrics_of):
    first = metrics_of(train_dpo(DpoConfig(**{**still_settings, "data": pairs, "loss": "outcome"})))[0]
    assert first["preference_loss"] == pytest.approx(2 * math.log(2), abs=1e-5)


def test_a_policy_trained_on_outcomes_rewards_right_answers_above_zero_and_wrong_ones_below(
    still_settings, pairs, tmp_path
):
    loss = {"name": "outcome", "beta": 0.5}
    config = {**still_settings, "data": pairs, "max_steps": 80, "learning_rate": 1e-2, "loss": loss}
    run = train_dpo(DpoConfig(**config))
    reward = ImplicitReward(run, still_settings["model"], beta=0.5, device="cpu")
    judged = read_records(score_pairs(reward, pairs, tmp_path / "judged"), Judgement)
    assert all(j.score > 0 for j in judged[::2]) and all(j.score < 0 for j in judged[1::2])


def test_it_agrees_with_the_rewards_that_training_logs(still_settings, pairs, metrics_of):
    """The reward of a trained policy is what DPO's metrics call the chosen and the rejected reward."""
    config = {**still_settings, "data": pairs, "batch_size": 8, "learning_rate": 1e-2, "max_steps": 4}
    lines = [line for line in metrics_of(train_dpo(DpoConfig(**config))) if "loss" in line]
    shorter = {**config, "max_steps": 3, "out": config["out"] + "3"}  # its end is what the fourth step begins with
    reward = ImplicitReward(train_dpo(DpoConfig(**shorter)), still_settings["model"], beta=0.1, device="cpu")
    folder = RecordFolder(pairs, Preference)
    for side in ("chosen", "rejected"):
        records = list(folder)
        shown = [[folder.image(ref, record=record.id) for ref in record.images] for record in records]
        answers = [side_candidate(record, side) for record in records]
        found = reward.score([pair_case(record) for record in records], answers, shown)
        assert sum(found.mean) / len(records) == pytest.approx(lines[3][f"{side}_reward"], abs=1e-4)
