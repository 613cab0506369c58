import json

import pytest
from torch import testing

from vlmalign.models import RewardModel
from vlmalign.records import DataError
from vlmalign.training import RewardConfig, train_reward


def test_it_learns_pairs_whose_answer_depends_on_the_image(settings, pairs, make_pairs):
    held_out = make_pairs(n=6, first=10, split="test")
    config = {**settings, "data": pairs, "eval_data": held_out, "max_steps": 80, "learning_rate": 3e-3}
    run = train_reward(RewardConfig(**config))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["last"]["accuracy"] == 1.0
    assert summary["evaluation"]["eval_accuracy"] == 1.0  # text alone gives one half
    assert isinstance(RewardModel.load(run / "model"), RewardModel)


def test_a_missing_margin_is_refused_where_margins_are_used(settings, make_pairs):
    data = make_pairs(n=2, margin=None)
    with pytest.raises(DataError, match="record 'p0', field 'margin': loss .margin. needs"):
        train_reward(RewardConfig(**{**settings, "data": data, "loss": "margin"}))


def test_a_wanted_margin_raises_the_loss_and_centring_too(settings, make_pairs, metrics_of, tmp_path):
    data = make_pairs(n=2, margin=3.0)
    first = {}
    for name, changes in {"plain": {}, "margin": {"loss": "margin"}, "centring": {"centring": 1.0}}.items():
        config = {**settings, "data": data, "max_steps": 1, "out": str(tmp_path / name), **changes}
        first[name] = metrics_of(train_reward(RewardConfig(**config)))[0]["loss"]
    assert first["margin"] > first["plain"] + 1
    assert first["centring"] > first["plain"]


def test_adapters_and_gradient_checkpointing_work_under_the_reward_head(settings, pairs, tmp_path):
    runs = []
    for name, on in (("off", False), ("on", True)):
        config = {**settings, "data": pairs, "max_steps": 1, "lora": {"rank": 2}, "out": str(tmp_path / name)}
        runs.append(train_reward(RewardConfig(**config, gradient_checkpointing=on)))
    first, second = (RewardModel.load(run / "model").state_dict() for run in runs)
    for name in first:
        testing.assert_close(first[name], second[name], atol=1e-5, rtol=1e-4)


def test_tensorboard_logs_stay_in_the_run_folder(settings, pairs):
    run = train_reward(RewardConfig(**{**settings, "data": pairs, "max_steps": 1, "report_to": ["tensorboard"]}))
    assert list(run.glob("runs/*/events*"))
