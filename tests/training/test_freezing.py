import pytest
import torch
from torch import nn

from vlmalign.training import Lora, SftConfig, train_sft
from vlmalign.training.freezing import freeze_parts, part_of
from vlmalign.training.policy import load_policy


def changed_parts(before, run):
    from vlmalign.models import load_vlm

    after = dict(load_vlm(run / "model").model.named_parameters())
    return {part_of(name) for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        ([], {"vision", "projector", "language"}),
        (["vision"], {"projector", "language"}),
        (["vision", "projector"], {"language"}),
        (["language"], {"vision", "projector"}),
    ],
)
def test_one_step_changes_the_parts_that_are_not_frozen_and_no_others(settings, demos, tiny, freeze, expected):
    before = {name: value.clone() for name, value in tiny.model.named_parameters()}
    run = train_sft(SftConfig(**{**settings, "max_steps": 1, "data": demos, "freeze": freeze}))
    assert changed_parts(before, run) == expected


def test_lora_changes_the_language_models_matrices_and_saves_a_plain_model(settings, demos, tiny):
    before = {name: value.clone() for name, value in tiny.model.named_parameters()}
    config = SftConfig(**{**settings, "max_steps": 2, "data": demos, "lora": Lora(rank=2)})
    trained = [name for name, p in load_policy(config).model.named_parameters() if p.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    run = train_sft(config)
    assert changed_parts(before, run) == {"language"}


def test_a_part_the_model_does_not_have_is_refused():
    with pytest.raises(ValueError, match="freeze names 'vision', and Linear has no parameters"):
        freeze_parts(nn.Linear(2, 2), ["vision"])
