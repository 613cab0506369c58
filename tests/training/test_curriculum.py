"""Folders of demonstrations learnt one after the other."""

import json

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file

from vlmalign.training import SftConfig, train_sft
from vlmalign.training.order import PartOrder
from vlmalign.training.sft import SftTrainer


@pytest.fixture
def curriculum(settings, make_demos):
    parts = [make_demos(6, group="g"), make_demos(3, first=6, group="h")]
    return {**settings, "max_steps": None, "data": parts, "part_steps": [4, 2], "gradient_accumulation": 2}


@pytest.fixture
def seen(monkeypatch):
    """Ids of the records of each batch, in order."""
    batches = []
    original = SftTrainer.batch_loss

    def watch(self, model, batch):
        batches.append([name.partition(":")[2] for name in batch["ids"]])
        return original(self, model, batch)

    monkeypatch.setattr(SftTrainer, "batch_loss", watch)
    return batches


def test_each_part_is_gone_through_whole_before_one_comes_again():
    order = list(PartOrder([range(6), [6, 7]], [13, 3], seed=5))
    assert sorted(order[:6]) == sorted(order[6:12]) == [*range(6)] and order[:6] != order[6:12]
    assert order[12] < 6 and sorted(order[13:15]) == [6, 7] and order[15] in (6, 7)
    assert order == list(PartOrder([range(6), [6, 7]], [13, 3], seed=5))
    assert order[:13] != list(PartOrder([range(6), [6, 7]], [13, 3], seed=6))[:13]


def test_parts_are_learnt_in_order_for_their_steps(curriculum, seen):
    run = train_sft(SftConfig(**curriculum))
    first, second = {f"d{k}" for k in range(6)}, {f"d{k}" for k in range(6, 9)}
    records = [name for batch in seen for name in batch]
    assert len(seen) == 12 and {len(batch) for batch in seen} == {2}  # two batches of two a step
    assert set(records[:16]) == first and set(records[16:]) == second
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 6 and [part["steps"] for part in summary["parts"]] == [4, 2]


@pytest.mark.parametrize("step", [3, 5])
def test_a_stopped_curriculum_continues_in_the_part_it_was_in(curriculum, seen, monkeypatch, tmp_path, step):
    shared = {**curriculum, "save_steps": 1}
    straight = train_sft(SftConfig(**{**shared, "out": str(tmp_path / "straight")}))
    whole = list(seen)
    seen.clear()
    original = SftTrainer.training_step

    def broken(self, *args, **kwargs):
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    stopped = SftConfig(**{**shared, "out": str(tmp_path / "stopped")})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SftTrainer, "training_step", broken)
        train_sft(stopped)
    resumed = train_sft(stopped)
    assert seen == whole
    first, second = (load_file(run / "model" / "model.safetensors") for run in (straight, resumed))
    assert all(first[name].equal(second[name]) for name in first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"part_steps": [4]}, "1 numbers and data 2 folders"),
        ({"part_steps": [4, 0]}, "greater than 0"),
        ({"epochs": 1}, "epochs and part_steps given"),
        ({"part_steps": None}, "set exactly one of them, or part_steps"),
        ({"data": ["a", {"path": "b", "repeat": 2}]}, "drop repeat"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(curriculum, change, message):
    with pytest.raises(ValidationError, match=message):
        SftConfig(**{**curriculum, **change})
