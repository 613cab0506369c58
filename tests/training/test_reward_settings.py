"""What a reward stage learns from: losses, members, nuisance, doubt; and what it refuses."""

import json

import pytest
import torch

from vlmalign.models import RewardModel
from vlmalign.records import DataError, DatasetBuild, Preference, RecordFolder
from vlmalign.records.suggestions import SettingsError
from vlmalign.rewards import ScalarReward
from vlmalign.training import RewardConfig, make_config, train_reward
from vlmalign.training.resampling import GroupResampling


@pytest.fixture
def change(make_pairs, tmp_path):
    """The toy pairs, each changed."""

    def write(changes, n=4):
        folder = RecordFolder(make_pairs(n=n), Preference)
        out = tmp_path / f"changed{len(list(tmp_path.iterdir()))}"
        with DatasetBuild(out, "preference", {}) as build:
            for i, record in enumerate(folder):
                image = build.add_image(folder.image(record.images[0]))
                build.commit(record.id, [record.model_copy(update={"images": (image,), **changes(i)})])
        return str(out)

    return write


@pytest.mark.parametrize(
    "changes",
    [
        {"head": {"kind": "mlp", "pooling": "mean"}},
        {"head": {"members": 3}},
        {"head": {"members": 2}, "member_lora": {"rank": 8}, "max_steps": 200},
        {"head": {"outputs": "gaussian"}},
        {"head": {"outputs": "evidence"}},
        {"head": {"dropout": 0.2}},
        {"laplace": True},
        {"nuisance": {"noise": 0.02, "crop": 0.02}},
    ],
    ids=["mlp", "ensemble", "adapters", "gaussian", "evidence", "dropout", "laplace", "nuisance"],
)
def test_every_kind_learns_pairs_whose_answer_depends_on_the_image(settings, pairs, make_pairs, changes):
    held_out = make_pairs(n=6, first=10, split="test")
    config = {**settings, "data": pairs, "eval_data": held_out, "max_steps": 100, "learning_rate": 3e-3, **changes}
    if "member_lora" not in changes:
        config["freeze"] = ()
    run = train_reward(RewardConfig(**config))
    assert json.loads((run / "summary.json").read_text())["evaluation"]["eval_accuracy"] == 1.0
    kind = "dropout" if "dropout" in changes.get("head", {}) else "auto"
    ScalarReward(run, uncertainty=kind)


def test_ratings_are_learned_where_there_are_some(settings, change, metrics_of):
    data = change(lambda i: {"chosen_rating": 4.0, "rejected_rating": 1.0 if i % 2 else None})
    config = {**settings, "data": data, "max_steps": 150, "learning_rate": 3e-3, "freeze": ()}
    run = train_reward(RewardConfig(**config, loss="regression"))
    last = metrics_of(run)[-1]
    assert last["loss"] < 0.1


def test_combined_with_a_pair_without_a_rating_is_refused(settings, change):
    data = change(lambda i: {"chosen_rating": 4.0 if i else None})
    with pytest.raises(DataError, match="record 'p0', field 'chosen_rating': loss 'combined' learns ratings"):
        train_reward(RewardConfig(**{**settings, "data": data, "loss": "combined"}))


def test_a_rating_that_is_no_number_names_file_and_line(change, tmp_path):
    folder = change(lambda i: {"chosen_rating": 1.0})
    path = next(p for p in (tmp_path).glob("changed*/records.jsonl"))
    path.write_text(path.read_text().replace('"chosen_rating":1.0', '"chosen_rating":NaN', 1))
    with pytest.raises(DataError, match=r"records\.jsonl"):
        list(RecordFolder(folder, Preference))


def test_a_tie_is_pulled_together_and_not_ordered(settings, change, metrics_of):
    data = change(lambda i: {"margin": 0.0 if i < 2 else 1.0})
    config = {**settings, "data": data, "max_steps": 1, "batch_size": 4, "tie_weight": 0.0}
    first = metrics_of(train_reward(RewardConfig(**config)))[0]["loss"]
    assert first == pytest.approx(0.5 * 0.693, rel=0.3)  # two of four pairs cost nothing


def test_nothing_but_ties_is_refused(settings, change):
    data = change(lambda i: {"margin": 0.0})
    with pytest.raises(DataError, match="all 4 pairs are ties"):
        train_reward(RewardConfig(**{**settings, "data": data, "tie_weight": 1.0}))


def test_a_scaling_margin_of_nothing_is_refused(settings, change):
    for margin in (0.0, -2.0):
        data = change(lambda i, margin=margin: {"margin": margin if i == 3 else 1.0})
        with pytest.raises(DataError, match=f"weighs pairs by their margin, and that of the pair is {margin:g}"):
            train_reward(RewardConfig(**{**settings, "data": data, "loss": "scaled"}))


def test_ties_among_scaled_pairs_have_their_own_loss(settings, change, metrics_of):
    data = change(lambda i: {"margin": 0.0 if i < 2 else 3.0})
    config = {**settings, "data": data, "max_steps": 1, "batch_size": 4, "loss": "scaled", "tie_weight": 0.0}
    first = metrics_of(train_reward(RewardConfig(**config)))[0]["loss"]
    assert first == pytest.approx(0.5 * 3 * 0.693, rel=0.3)


def test_a_single_pair_in_batches_of_one_can_be_learned(settings, change):
    config = {**settings, "data": change(lambda i: {}, n=1), "batch_size": 1, "max_steps": 2}
    summary = json.loads((train_reward(RewardConfig(**config)) / "summary.json").read_text())
    assert summary["last"]["loss"] > 0


def test_the_vision_tower_is_frozen_by_default(settings, pairs, tiny):
    run = train_reward(RewardConfig(**{**settings, "data": pairs, "max_steps": 2}))
    trained = RewardModel.load(run / "model").backbone.state_dict()
    same = {name for name, value in tiny.model.model.state_dict().items() if torch.equal(trained[name], value)}
    assert {name for name in trained if "vision_tower" in name} <= same
    assert not {name for name in trained if "q_proj.weight" in name and "language_model" in name} & same


def test_training_goes_on_from_a_reward_model_with_its_head(settings, pairs, tmp_path):
    first = {
        **settings,
        "data": pairs,
        "max_steps": 40,
        "learning_rate": 3e-3,
        "freeze": (),
        "head": {"members": 2},
    }
    run = train_reward(RewardConfig(**first))
    again = {**settings, "model": str(run), "data": pairs, "max_steps": 1, "learning_rate": 1e-9}
    more = train_reward(RewardConfig(**{**again, "out": str(tmp_path / "more")}))
    one, two = (RewardModel.load(folder / "model") for folder in (run, more))
    assert two.head.settings == one.head.settings
    torch.testing.assert_close(one.head.weight, two.head.weight)
    with pytest.raises(ValueError, match="head is .* drop head"):
        train_reward(RewardConfig(**{**again, "out": str(tmp_path / "other"), "head": {"members": 3}}))


def test_pairs_of_a_group_are_drawn_together_and_members_differ():
    counts = GroupResampling(200, seed=3).counts(["a", "b", "a"])
    assert torch.equal(counts[0], counts[2]) and not torch.equal(counts[0], counts[1])
    assert counts.mean().item() == pytest.approx(1.0, abs=0.15)
    assert (counts == 0).float().mean().item() == pytest.approx(0.37, abs=0.06)  # e^-1 never see a group


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"member_lora": {}}, "head.members is 1"),
        ({"member_lora": {}, "head": {"members": 2}, "freeze": ["vision"]}, "drop freeze"),
        ({"resample_groups": True}, "head.members is 1"),
        ({"head": {"outputs": "evidence"}, "loss": "margin"}, "head.outputs is 'evidence'"),
        ({"head": {"outputs": "gaussian"}, "loss": "scaled"}, "head.outputs 'gaussian'"),
        ({"laplace": True, "head": {"members": 2}}, "choose one way to be unsure"),
        ({"laplace": True, "loss": "regression"}, "loss regression has none"),
        ({"nuisance": {"noise": 0, "crop": 0}}, "noise and crop are both 0"),
        ({"nuisance": {}, "feature_cache": "f", "lora": {}}, "feature_cache keeps them"),
        ({"loss": "bradly_terry"}, "Did you mean 'bradley_terry'"),
        ({"use_margin": True}, "unknown key 'use_margin'"),
    ],
)
def test_contradictions_are_refused_before_anything_is_loaded(changes, message):
    settings = {"model": "m", "data": "d", "out": "o", "max_steps": 1}
    with pytest.raises(SettingsError, match=message):
        make_config(RewardConfig, {**settings, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"head": {"members": 2, "dropout": 0.1}, "member_lora": {"rank": 2}},
        {"head": {"outputs": "gaussian"}, "nuisance": {}, "laplace": False},
    ],
    ids=["members", "nuisance"],
)
def test_a_stopped_run_ends_with_the_same_bits(settings, pairs, tmp_path, monkeypatch, changes):
    from vlmalign.training import trainer

    shared = {**settings, "data": pairs, "max_steps": 6, "save_steps": 2, "batch_size": 3, "seed": 4, **changes}
    straight = train_reward(RewardConfig(**{**shared, "out": str(tmp_path / "straight")}))
    original = trainer.StageTrainer.training_step

    def broken(self, *args, **kwargs):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    again = RewardConfig(**{**shared, "out": str(tmp_path / "stopped")})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.StageTrainer, "training_step", broken)
        train_reward(again)
    resumed = train_reward(again)
    assert json.loads((resumed / "summary.json").read_text())["resumed_from_step"] == 2
    one, two = (RewardModel.load(run / "model").state_dict() for run in (straight, resumed))
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
