import shutil

import pytest
import torch
from pydantic import ValidationError

import experts.training as training
from experts import ExpertConfig, NetworkSettings, load_expert, read_card, train_expert
from experts.checkpoints import epoch_files, load_newest, save_epoch
from experts.training import epoch_order, learning_rate
from vlmalign.records import DataError


def test_a_trained_expert_finds_the_discs(trained):
    card = read_card(trained)
    dice = {m.structure: m.value for m in card.performance if m.name == "dice"}
    assert dice["disc"] > 0.8
    assert card.structures == ("disc", "dot")
    assert card.concepts == ("disc_count", "disc_cover", "dot_count", "dot_cover")


def test_the_card_numbers_come_from_groups_that_training_never_saw(trained):
    card = read_card(trained)
    assert len(card.training_groups) == 7  # of 8: one is held out
    assert {m.groups for m in card.performance} == {1}


def test_a_run_that_was_killed_continues_to_the_same_weights(discs, trained, quick_config, tmp_path, monkeypatch):
    calls = 0

    def killed(folder, epoch, state):
        nonlocal calls
        save_epoch(folder, epoch, state)
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train_expert(discs, tmp_path / "x", config=quick_config)
    assert not (tmp_path / "x" / "expert.json").exists()
    train_expert(discs, tmp_path / "x", config=quick_config)
    assert read_card(tmp_path / "x") == read_card(trained)


def test_a_finished_run_is_returned_and_another_config_is_refused(discs, trained, quick_config):
    before = (trained / "expert.json").stat().st_mtime_ns
    assert train_expert(discs, trained, config=quick_config) == trained
    assert (trained / "expert.json").stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"other settings.* here \(config.epochs: \d+ there, 9 here\)"):
        train_expert(discs, trained, config=quick_config.model_copy(update={"epochs": 9}))


def test_a_folder_of_something_else_is_never_overwritten(discs, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match="holds no training run"):
        train_expert(discs, tmp_path, overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_cases_that_cannot_be_learnt_from_leave_no_folder_and_keep_the_expert_that_is_there(
    make_discs, quick_config, trained, tmp_path
):
    few = make_discs(tmp_path / "few", groups=2)
    with pytest.raises(ValueError, match="at least 3 are required"):
        train_expert(few, tmp_path / "x", config=quick_config)
    assert not (tmp_path / "x").exists()
    mine = shutil.copytree(trained, tmp_path / "mine")
    with pytest.raises(ValueError, match="at least 3 are required"):
        train_expert(few, mine, config=quick_config, overwrite=True)
    assert read_card(mine) == read_card(trained)


def test_a_time_budget_ends_training_early(discs, quick_config, tmp_path):
    config = quick_config.model_copy(update={"minutes": 1e-6})
    train_expert(discs, tmp_path / "x", config=config)
    state = load_newest(tmp_path / "x")
    assert state is None or state["epoch"] == 1


def test_training_on_boxes_says_so_on_the_card(disc_boxes, quick_config, tmp_path):
    config = quick_config.model_copy(update={"epochs": 1})
    card = read_card(train_expert(disc_boxes, tmp_path / "x", config=config))
    assert any("boxes" in limit for limit in card.limits)


def test_unknown_settings_and_shares_that_leave_nothing_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        ExpertConfig(epoch=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="train on"):
        ExpertConfig(choice_share=0.5, held_out_share=0.5)


def test_the_learning_rate_peaks_after_the_warm_up_and_ends_low():
    rates = [learning_rate(p / 100, 1.0) for p in range(101)]
    assert max(rates) == rates[10] == 1.0
    assert rates[-1] == pytest.approx(0.01) and rates[0] == pytest.approx(0.01)


def test_a_half_written_epoch_is_not_resumed_from(tmp_path):
    save_epoch(tmp_path, 1, {"epoch": 1})
    (tmp_path / "epoch-00002.pt.partial").write_bytes(b"half")
    assert load_newest(tmp_path) == {"epoch": 1}
    save_epoch(tmp_path, 2, {"epoch": 2})
    assert [file.name for file in epoch_files(tmp_path)] == ["epoch-00002.pt"]


def test_weights_that_the_card_does_not_name_are_refused(trained, tmp_path):
    for name in ("expert.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    assert load_expert(tmp_path).card == read_card(trained)
    data = bytearray((tmp_path / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(data)
    with pytest.raises(DataError, match="the weights' hash"):
        load_expert(tmp_path)


def test_training_leaves_the_global_random_state_alone(discs, quick_config, tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    config = quick_config.model_copy(update={"epochs": 1, "network": NetworkSettings(channels=(4, 8))})
    train_expert(discs, tmp_path / "x", config=config)
    assert torch.equal(torch.rand(1), expected)


def test_fields_of_a_rare_structure_are_repeated_up_to_the_share_and_none_is_lost():
    shown = torch.tensor([[True, i < 2] for i in range(10)])
    order = epoch_order(shown, 0.5, torch.Generator().manual_seed(0))
    counts = torch.bincount(order, minlength=10)
    assert counts.tolist() == [3, 2, 1, 1, 1, 1, 1, 1, 1, 1]  # 2 of 10 are brought up to 5
    assert sorted(epoch_order(shown, 0.0, torch.Generator()).tolist()) == list(range(10))


def test_a_structure_that_is_never_shown_repeats_nothing():
    assert len(epoch_order(torch.zeros(4, 1, dtype=torch.bool), 0.9, torch.Generator())) == 4
