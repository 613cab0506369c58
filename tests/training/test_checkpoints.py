import pytest
from torch import nn

from vlmalign.training.checkpoints import (
    PARTIAL,
    complete_checkpoints,
    load_trained,
    place_checkpoint,
    save_trained,
)


def write(folder, name):
    (folder / name).mkdir(parents=True)
    (folder / name / "x").write_text(name)


def test_a_half_written_checkpoint_is_never_the_newest(tmp_path):
    write(tmp_path, "checkpoint-9")
    write(tmp_path, "checkpoint-10")
    write(tmp_path, f"{PARTIAL}/checkpoint-11")
    write(tmp_path, "checkpoint-12.tmp")
    assert [p.name for p in complete_checkpoints(tmp_path)] == ["checkpoint-10", "checkpoint-9"]
    assert complete_checkpoints(tmp_path / "none") == []


def test_placing_keeps_the_newest_and_replaces_one_of_the_same_step(tmp_path):
    for step in (2, 4, 4):
        write(tmp_path, f"{PARTIAL}/checkpoint-{step}")
        place_checkpoint(tmp_path, step, keep=1)
    assert [p.name for p in complete_checkpoints(tmp_path)] == ["checkpoint-4"]


def test_weights_of_another_model_are_refused(tmp_path):
    save_trained(nn.Linear(2, 2), tmp_path)
    with pytest.raises(ValueError, match="differ in 1 trained parameters, e.g. 'bias'"):
        load_trained(nn.Linear(2, 2, bias=False), tmp_path)


def test_frozen_parameters_are_not_saved(tmp_path):
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    save_trained(model, tmp_path)
    other = nn.Linear(2, 2)
    other.bias.requires_grad_(False)
    bias = other.bias.clone()
    load_trained(other, tmp_path)
    assert other.weight.equal(model.weight) and other.bias.equal(bias)
