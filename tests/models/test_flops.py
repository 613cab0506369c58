import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vlmalign.models import (
    LoraSettings,
    batch_flops,
    forward_responses,
    sample_responses,
    sampling_flops,
    sequence_logps,
)
from vlmalign.models.loading import add_lora


def counted(model, batch, mode, training):
    # Eager attention: its products are counted whatever kernels the counter knows.
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(training):
        output = forward_responses(model, batch, mode=mode)
        if training:
            sequence_logps(output, batch).sum().backward()
    return counter.get_total_flops()


@pytest.fixture
def long_batch(fresh_vlm, make_prompts, make_batch):
    return make_batch(make_prompts(fresh_vlm, ("Why?", "Describe this field.")), [[30, 30, 28], [25, 30, 30]])


@pytest.mark.parametrize("mode", ["packed", "plain", "cached"])
def test_a_forward_is_counted_as_torch_counts_it(fresh_vlm, long_batch, mode):
    expected = counted(fresh_vlm.model, long_batch, mode, False)
    assert batch_flops(fresh_vlm.model, long_batch, training=False, mode=mode) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("frozen", ["nothing", "vision", "vision and projector"])
@pytest.mark.parametrize("mode", ["packed", "plain"])
def test_a_training_step_is_counted_as_torch_counts_it(fresh_vlm, long_batch, mode, frozen):
    if "vision" in frozen:
        fresh_vlm.model.model.vision_tower.requires_grad_(False)
    if "projector" in frozen:
        fresh_vlm.model.model.multi_modal_projector.requires_grad_(False)
    expected = counted(fresh_vlm.model, long_batch, mode, True)
    assert batch_flops(fresh_vlm.model, long_batch, training=True, mode=mode) == pytest.approx(expected, rel=0.1)


def test_a_lora_step_has_no_gradients_of_frozen_weights(fresh_vlm, long_batch):
    full = batch_flops(fresh_vlm.model, long_batch, training=True)
    model = add_lora(fresh_vlm.model, LoraSettings(r=2))
    mine = batch_flops(model, long_batch, training=True)
    assert mine < 0.8 * full
    assert mine == pytest.approx(counted(model, long_batch, "packed", True), rel=0.1)


def test_sampling_is_counted_as_torch_counts_it(fresh_vlm, make_prompts):
    prompts = make_prompts(fresh_vlm, ("Why?", "Describe this field."))
    fresh_vlm.model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        found = sample_responses(
            fresh_vlm, prompts, seeds=[[1, 2, 3], [4, 5, 6]], temperature=0, max_new_tokens=20
        )
    mean = sum(len(sample.token_ids) for own in found for sample in own) / 6
    mine = sampling_flops(fresh_vlm.model, prompts, samples=6, new_tokens=mean)
    assert mine == pytest.approx(counter.get_total_flops(), rel=0.1)
