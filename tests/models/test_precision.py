"""The packed forward under gradient checkpointing and mixed precision, all weights trained or adapters only."""

import pytest
import torch

from vlmalign.models import LoraSettings, forward_responses, sequence_logps
from vlmalign.models.loading import add_lora

WEIGHTS = torch.linspace(-1, 2, 6)


@pytest.fixture(params=["full", "lora"])
def model(request, fresh_vlm):
    if request.param == "full":
        return fresh_vlm.model.train()
    model = add_lora(fresh_vlm.model, LoraSettings(r=2, alpha=4))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # zero at the start, which would hide everything behind it
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return model.train()


def loss_and_gradients(model, batch, *, mixed=False):
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        output = forward_responses(model, batch)
    assert output.mode == "packed" and output.logps.dtype == torch.float32
    loss = (sequence_logps(output, batch) * WEIGHTS).sum()
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_gradient_checkpointing_changes_no_gradient_of_a_packed_row(model, batch):
    loss, off = loss_and_gradients(model, batch)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    same, on = loss_and_gradients(model, batch)
    assert loss == same and off.keys() == on.keys() and off
    for name, gradient in off.items():
        torch.testing.assert_close(on[name], gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_mixed_precision_is_close_to_single_precision_and_keeps_its_weights(model, batch, checkpointing):
    loss, exact = loss_and_gradients(model, batch)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    rounded, found = loss_and_gradients(model, batch, mixed=True)
    assert {p.dtype for p in model.parameters()} == {torch.float32} == {g.dtype for g in found.values()}
    assert rounded != loss and float(rounded) == pytest.approx(float(loss), rel=0.02)
    a, b = (torch.cat([g[name].flatten() for name in exact]) for g in (exact, found))
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.99
