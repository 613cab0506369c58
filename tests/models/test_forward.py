import copy
from dataclasses import replace

import pytest
import torch

from vlmalign.models import LoraSettings, build_tiny_llava, forward_responses, sequence_logps
from vlmalign.models.loading import add_lora

ROWS = [[5, 1, 3], [2], [4, 5]]


def one_by_one(model, batch):
    """Log-probabilities from one unpadded, unbatched call per response."""
    rows = torch.zeros(batch.response_ids.shape)
    for n, prompt in enumerate(batch.prompt_index.tolist()):
        real = batch.prompts["attention_mask"][prompt].bool()
        answer = batch.response_ids[n][batch.response_mask[n]]
        ids = torch.cat([batch.prompts["input_ids"][prompt][real], answer])[None]
        with torch.no_grad():
            logits = model(input_ids=ids, pixel_values=batch.prompts["pixel_values"][prompt : prompt + 1]).logits[
                0
            ]
        logps = logits.log_softmax(-1)[-len(answer) - 1 : -1]
        rows[n, : len(answer)] = logps.gather(1, answer[:, None])[:, 0]
    return rows


def gradients(model, batch, mode, weights):
    model.zero_grad()
    (sequence_logps(forward_responses(model, batch, mode=mode), batch) * weights).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(model, batch):
    weights = torch.linspace(-1, 2, batch.n_responses)
    packed, plain = (gradients(model, batch, mode, weights) for mode in ("packed", "plain"))
    assert packed.keys() == plain.keys() and packed
    largest = max(float(g.abs().max()) for g in plain.values())
    for name, gradient in plain.items():
        assert float((packed[name] - gradient).abs().max()) < 1e-5 * largest, name


@pytest.mark.parametrize("mode", ["packed", "cached", "plain"])
def test_every_mode_equals_one_unpadded_call_per_response(vlm, batch, mode):
    with torch.no_grad():
        output = forward_responses(vlm.model, batch, mode=mode)
    assert output.mode == mode
    torch.testing.assert_close(output.logps, one_by_one(vlm.model, batch), atol=1e-5, rtol=0)


def test_a_single_response_is_scored_alike_in_every_mode(vlm, make_prompts, make_batch):
    batch = make_batch(make_prompts(vlm, ("Why?",)), [[1]])
    expected = one_by_one(vlm.model, batch)
    for mode in ("packed", "cached", "plain"):
        torch.testing.assert_close(
            forward_responses(vlm.model, batch, mode=mode).logps, expected, atol=1e-5, rtol=0
        )


def test_packed_gradients_equal_plain_ones(fresh_vlm, batch):
    assert_same_gradients(fresh_vlm.model, batch)


def test_packed_gradients_equal_plain_ones_under_checkpointing(fresh_vlm, batch):
    fresh_vlm.model.gradient_checkpointing_enable()
    assert_same_gradients(fresh_vlm.model.train(), batch)


def test_packed_gradients_equal_plain_ones_with_lora(fresh_vlm, batch):
    model = add_lora(fresh_vlm.model, LoraSettings(r=2, alpha=4))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # zero at the start, which would hide everything behind it
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    assert_same_gradients(model, batch)


def test_responses_of_one_prompt_do_not_see_each_other(vlm, batch):
    other = batch.response_ids.clone()
    other[1] = 77 * batch.response_mask[1]
    before = forward_responses(vlm.model, batch).logps
    after = forward_responses(vlm.model, replace(batch, response_ids=other)).logps
    changed = (before - after).abs().amax(1) > 1e-5
    assert changed.tolist() == [False, True, False, False, False, False]


def test_each_prompt_sees_its_own_image(vlm, batch):
    pixels = batch.prompts["pixel_values"].clone()
    pixels[1] = -pixels[1]
    other = replace(batch, prompts={**batch.prompts, "pixel_values": pixels})
    for mode in ("packed", "cached", "plain"):
        difference = forward_responses(vlm.model, batch, mode=mode).logps
        difference = difference - forward_responses(vlm.model, other, mode=mode).logps
        assert (difference.abs().amax(1) > 1e-5).tolist() == [False, False, False, True, False, False]


def test_two_images_in_one_prompt_stay_with_it(vlm, make_batch):
    tokenizer, pixels = vlm.tokenizer, torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    tokenizer.padding_side = "left"
    texts = ["<s><user>" + "<image>" * 4 * count + "Why?<assistant>" for count in (2, 1)]
    prompts = {
        **tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False),
        "pixel_values": pixels,
    }
    batch = make_batch(prompts, [[3, 2], [4, 1]])
    packed, plain, cached = (
        forward_responses(vlm.model, batch, mode=mode).logps for mode in ("packed", "plain", "cached")
    )
    torch.testing.assert_close(packed, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(cached, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["packed", "cached", "plain"])
def test_hidden_states_are_what_the_output_layer_sees(vlm, batch, mode):
    with torch.no_grad():
        output = forward_responses(vlm.model, batch, mode=mode, hidden=True)
        logits = vlm.model.lm_head(output.hidden)
    follows = logits.log_softmax(-1)[:, :-1].gather(2, batch.response_ids[:, 1:, None])[..., 0]
    real = batch.response_mask[:, 1:]
    torch.testing.assert_close(follows[real], output.logps[:, 1:][real], atol=1e-5, rtol=0)
    assert not output.hidden[~batch.response_mask].any()


@pytest.mark.parametrize("mode", ["packed", "cached", "plain"])
def test_a_token_is_predicted_from_the_state_before_it(vlm, batch, mode):
    with torch.no_grad():
        output = forward_responses(vlm.model, batch, mode=mode, hidden=True, temperature=0.7)
        logits = vlm.model.lm_head(output.before) / 0.7
    predicted = logits.log_softmax(-1).gather(2, batch.response_ids[..., None])[..., 0]
    real = batch.response_mask
    torch.testing.assert_close(predicted[real], output.logps[real], atol=1e-5, rtol=0)
    assert not output.before[~real].any()


def test_padding_has_log_probability_zero_and_no_gradient_of_nan(fresh_vlm, batch):
    output = forward_responses(fresh_vlm.model, batch)
    assert not output.logps[~batch.response_mask].any()
    output.logps.sum().backward()
    assert all(p.grad.isfinite().all() for p in fresh_vlm.model.parameters() if p.grad is not None)


def test_sequence_logps_leaves_user_turns_out(vlm, batch):
    loss = batch.loss_mask.clone()
    loss[0, 1:3] = False
    output = forward_responses(vlm.model, batch)
    whole, own = sequence_logps(output, batch), sequence_logps(output, replace(batch, loss_mask=loss))
    torch.testing.assert_close(whole[0] - own[0], output.logps[0, 1:3].sum())
    assert torch.equal(whole[1:], own[1:])


def test_a_wrong_number_of_image_tokens_names_the_row(vlm, batch):
    ids = batch.prompts["input_ids"].clone()
    ids[1, (ids[1] == vlm.model.config.image_token_id).nonzero()[0]] = 40
    with pytest.raises(ValueError, match="prompt row 1 has 3 image tokens"):
        forward_responses(vlm.model, replace(batch, prompts={**batch.prompts, "input_ids": ids}))


@pytest.mark.parametrize("mode", ["packed", "cached", "plain"])
def test_placeholders_without_images_are_refused(vlm, batch, mode):
    prompts = {name: value for name, value in batch.prompts.items() if name != "pixel_values"}
    with pytest.raises(ValueError, match="prompt row 0 has 4 image tokens, but no images were given"):
        forward_responses(vlm.model, replace(batch, prompts=prompts), mode=mode)


def test_a_response_that_holds_a_placeholder_is_refused(vlm, batch):
    ids = batch.response_ids.clone()
    ids[2, 1] = vlm.model.config.image_token_id
    with pytest.raises(ValueError, match=r"response rows \[2\] hold a placeholder of images"):
        forward_responses(vlm.model, replace(batch, response_ids=ids))


def test_an_image_without_placeholder_is_refused(vlm, batch):
    pixels = torch.zeros(4, 3, 24, 24)
    with pytest.raises(ValueError, match="placeholders for 3 images, but 4 images were given"):
        forward_responses(vlm.model, replace(batch, prompts={**batch.prompts, "pixel_values": pixels}))


def test_log_probabilities_of_a_backbone_are_refused(vlm, batch):
    with pytest.raises(ValueError, match="no output layer"):
        forward_responses(vlm.model.model, batch)


def test_an_unknown_mode_is_refused(vlm, batch):
    with pytest.raises(ValueError, match="mode is 'fast'"):
        forward_responses(vlm.model, batch, mode="fast")


def test_half_precision_gives_finite_float32_log_probabilities(batch):
    vlm = build_tiny_llava(["a b"], image_size=24, hidden=32, layers=1, vision_hidden=32, vision_layers=1, heads=2)
    output = forward_responses(copy.deepcopy(vlm.model).bfloat16(), batch_in_vocabulary(batch))
    assert output.logps.dtype == torch.float32 and output.logps.isfinite().all()


def batch_in_vocabulary(batch):
    prompts = {**batch.prompts, "input_ids": batch.prompts["input_ids"].clamp(max=250)}
    prompts["pixel_values"] = prompts["pixel_values"].bfloat16()
    return replace(batch, prompts=prompts, response_ids=batch.response_ids.clamp(max=250))
