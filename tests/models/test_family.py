"""Every listed family: prompts with one, several and no images, and images in earlier turns, in one batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vlmalign.data import collate_prompts, encode_prompt, prompt_text
from vlmalign.models import (
    FeatureCache,
    LoraSettings,
    PromptBatch,
    forward_responses,
    sample_responses,
    sequence_logps,
)
from vlmalign.models.decoding import Decoder
from vlmalign.models.family import PROVED, lay_out, model_type
from vlmalign.models.image_rows import image_rows
from vlmalign.models.image_token import check_image_token
from vlmalign.models.loading import add_lora, load_processor
from vlmalign.models.vision_key import vision_key
from vlmalign.records import DataError, assistant, user
from vlmalign.training.freezing import part_of

CONVERSATIONS = {  # the sizes of the images, the turns, and the lengths of the responses
    "one image": ([(28, 28)], (user("Hi?", images=1),), [4, 1]),
    "two images": ([(28, 28), (50, 28)], (user("Which?", images=2),), [3]),
    "text alone": ([], (user("Why so?"),), [2, 5]),
    "an earlier image": ([(28, 56)], (user("See", images=1), assistant("Yes."), user("And?")), [1, 3, 2]),
    "images in two turns": ([(56, 28), (28, 28)], (user("a", images=1), assistant("b"), user("c", images=1)), [2]),
}


def picture(size, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def conversations(vlm):
    refused = {"text alone"} if PROVED[model_type(vlm.model)].refuses else set()
    return [value for name, value in CONVERSATIONS.items() if name not in refused]


def encoded(vlm):
    return [
        encode_prompt(vlm.processor, turns, [picture(size, 10 * n + i) for i, size in enumerate(sizes)])
        for n, (sizes, turns, _) in enumerate(conversations(vlm))
    ]


def padded_right(prompts):
    """Left padding moved to the right."""
    count = (prompts["attention_mask"] == 0).sum(1)
    source = (torch.arange(prompts["input_ids"].shape[1]) + count[:, None]) % prompts["input_ids"].shape[1]
    shape = source.shape
    return {name: value.gather(1, source) if value.shape == shape else value for name, value in prompts.items()}


def mixed_batch(vlm, side="left"):
    prompts = collate_prompts(encoded(vlm), 0)
    lengths = [length for *_, own in conversations(vlm) for length in own]
    index = [n for n, (*_, own) in enumerate(conversations(vlm)) for _ in own]
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    first = vlm.tokenizer.convert_tokens_to_ids("A")
    ids = torch.randint(first, first + 50, real.shape, generator=torch.Generator().manual_seed(1)) * real
    return PromptBatch(prompts if side == "left" else padded_right(prompts), ids, real, real, torch.tensor(index))


def alone(vlm, model, batch):
    """Log-probabilities by the library, one call per response: unpadded, whatever it computes positions from."""
    rows = []
    prompts = encoded(vlm)
    for n, prompt in enumerate(batch.prompt_index.tolist()):
        inputs = dict(prompts[prompt])
        answer = batch.response_ids[n][batch.response_mask[n]][None]
        suffix = {"token_type_ids": int(model_type(model) == "paligemma")}
        for name in ("attention_mask", "token_type_ids", "mm_token_type_ids"):
            if name in inputs:
                fill = 1 if name == "attention_mask" else suffix.get(name, 0)
                inputs[name] = torch.cat([inputs[name], torch.full_like(answer, fill)], 1)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], 1)
        logits = model(**inputs, use_cache=False).logits[0, -answer.shape[1] - 1 : -1]
        logps = logits.log_softmax(-1).gather(1, answer[0][:, None])[:, 0]
        rows.append(torch.nn.functional.pad(logps, (0, batch.response_ids.shape[1] - len(logps))))
    return torch.stack(rows)


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_mode_equals_each_prompt_and_response_alone(family, side):
    batch = mixed_batch(family, side)
    with torch.no_grad():
        family.model.train()  # PaliGemma's prompt is only then not causal in the library
        expected = alone(family, family.model, batch)
        for mode in ("packed", "cached", "plain"):
            output = forward_responses(family.model, batch, mode=mode)
            assert output.mode == mode
            torch.testing.assert_close(output.logps, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("trained", ["lora", "lora, checkpointed", "everything"])
def test_gradients_equal_those_of_each_prompt_and_response_alone(request, make_family, family, trained):
    lora = "lora" in trained
    vlm = make_family(request.node.callspec.params["family"])
    model = add_lora(vlm.model, LoraSettings(r=2, alpha=4)) if lora else vlm.model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # zero at the start, which would hide everything behind it
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    if "checkpointed" in trained:
        model.gradient_checkpointing_enable()
    batch = mixed_batch(vlm)
    weights = torch.linspace(-1, 2, batch.n_responses)
    found = []
    for logps in (alone(vlm, model.train(), batch).sum(1), sequence_logps(forward_responses(model, batch), batch)):
        model.zero_grad()
        (logps * weights).sum().backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    expected, packed = found
    assert expected.keys() == packed.keys() and len(expected) > 10
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        limit = 1e-4 * gradient.abs().max() + (0 if lora else 1e-6 * largest)
        assert (packed[name] - gradient).abs().max() <= limit, name


def test_hidden_states_of_the_backbone_are_those_that_the_output_layer_sees(family):
    batch, backbone = mixed_batch(family), family.model.model
    with torch.no_grad():
        logps = forward_responses(family.model, batch).logps[:, 1:]
        real, tokens = batch.response_mask[:, 1:], batch.response_ids[:, 1:, None]
        for mode in ("packed", "cached", "plain"):
            states = forward_responses(backbone, batch, mode=mode, logps=False, hidden=True).hidden
            logits = family.model.lm_head(states)
            if cap := getattr(family.model.config.text_config, "final_logit_softcapping", None):
                logits = cap * (logits / cap).tanh()
            found = logits.log_softmax(-1)[:, :-1].gather(2, tokens)[..., 0]
            torch.testing.assert_close(found[real], logps[real], atol=1e-5, rtol=0)


def test_another_image_changes_the_answers_to_its_prompt_and_to_no_other(family):
    batch, prompts = mixed_batch(family), encoded(family)
    sizes, turns, _ = conversations(family)[1]
    pictures = [picture(size, seed) for size, seed in zip(sizes, (10, 99), strict=True)]
    prompts[1] = encode_prompt(family.processor, turns, pictures)
    other = replace(batch, prompts=collate_prompts(prompts, 0))
    with torch.no_grad():
        for mode in ("packed", "cached", "plain"):
            before, after = (forward_responses(family.model, b, mode=mode).logps for b in (batch, other))
            assert ((before - after).abs().amax(1) > 1e-2).tolist() == (batch.prompt_index == 1).tolist()


def test_a_padded_batch_of_the_processor_itself_gives_the_same(family):
    batch, parts = mixed_batch(family), conversations(family)
    texts = [prompt_text(family.processor, turns) for _, turns, _ in parts]
    pictures = [[picture(s, 10 * n + i) for i, s in enumerate(sizes)] for n, (sizes, *_) in enumerate(parts)]
    prompts = family.processor(
        text=texts, images=pictures, return_tensors="pt", padding=True, add_special_tokens=False
    )
    with torch.no_grad():
        expected = forward_responses(family.model, batch).logps
        for mode in ("packed", "plain"):
            output = forward_responses(family.model, replace(batch, prompts=dict(prompts)), mode=mode)
            torch.testing.assert_close(output.logps, expected, atol=1e-5, rtol=0)


def test_cached_features_give_the_same_log_probabilities_without_running_the_tower(family, tmp_path):
    batch, ran = mixed_batch(family), []
    family.model.requires_grad_(False).eval()
    with torch.no_grad():
        expected = forward_responses(family.model, batch).logps
        cold, warm = FeatureCache(family.model, tmp_path), FeatureCache(family.model, tmp_path)
        for mode in ("packed", "cached", "plain"):
            output = forward_responses(family.model, batch, mode=mode, features=cold)
            torch.testing.assert_close(output.logps, expected, atol=1e-5, rtol=0)
        warm.replace_images(batch.prompts)  # names the model by running it once
        tower = next(m for name, m in family.model.named_modules() if "vision" in name or "visual" in name)
        hook = tower.register_forward_pre_hook(lambda *_: ran.append(1))
        output = forward_responses(family.model, batch, features=warm)
        torch.testing.assert_close(output.logps, expected, atol=1e-5, rtol=0)
        for prompt in encoded(family):  # alone, they are the same images
            warm.replace_images(prompt)
    hook.remove()
    assert not ran and warm.counts["computed"] == 0 and cold.counts["computed"] == warm.counts["disk"] > 0


def test_a_change_of_any_vision_or_projector_weight_and_of_no_other_is_another_key(make_family, request, family):
    model = make_family(request.node.callspec.params["family"]).model.requires_grad_(False)
    accepted = ("pixel_values", "image_sizes", "image_grid_thw", "pixel_attention_mask", "batch_num_images")
    row = next(image_rows({k: v for k, v in encoded(family)[0].items() if k in accepted}))
    before, changed = vision_key(model, row), set()
    for name, parameter in model.named_parameters():
        old = parameter.data.clone()
        parameter.data.view(-1)[0] += 1
        if vision_key(model, row) != before:
            changed.add(name)
        parameter.data.copy_(old)
    language = {name for name in changed if "language_model" in name or "text_model" in name or "lm_head" in name}
    projector = [name for name, _ in model.named_parameters() if part_of(name) == "projector"]
    assert not language and changed.issuperset(projector) and len(changed) > 10


def test_decoding_step_by_step_equals_each_prompt_and_response_alone(family):
    batch = mixed_batch(family)
    with torch.no_grad():
        expected = alone(family, family.model.train(), batch)
        decoder = Decoder(family.model.eval(), batch.prompts, batch.prompt_index, 5)
        for step in range(batch.response_ids.shape[1]):
            ids, real = batch.response_ids[:, step], batch.response_mask[:, step]
            found = decoder.logits.log_softmax(-1).gather(1, ids[:, None])[:, 0]
            torch.testing.assert_close(found[real], expected[:, step][real], atol=1e-5, rtol=0)
            decoder.append(ids[:, None], real[:, None])


def test_greedy_answers_of_a_mixed_batch_are_those_of_each_prompt_alone(family):
    prompts = encoded(family)
    settings = {"temperature": 0, "max_new_tokens": 5}
    for batch in (collate_prompts(prompts, 0), padded_right(collate_prompts(prompts, 0))):
        together = sample_responses(family, batch, seeds=[[0]] * len(prompts), **settings)
        for prompt, found in zip(prompts, together, strict=True):
            single = sample_responses(family, prompt, seeds=[[0]], **settings)[0][0]
            drawn = family.model.generate(**prompt, max_new_tokens=5, do_sample=False, pad_token_id=0)[
                0, prompt["input_ids"].shape[1] :
            ].tolist()
            assert found[0].token_ids == single.token_ids == tuple(drawn)


@pytest.mark.parametrize(
    ("name", "field", "wrong"),
    [
        ("paligemma", "both_ways", None),
        ("gemma3", "both_ways", None),
        ("gemma3_narrow", "window", 512),
        ("llava_on_mistral", "window", 512),
        ("qwen2_vl", "start", torch.full((5,), 30)),
        ("llava", "start", torch.full((5,), 30)),
    ],
)
def test_a_wrong_layout_would_be_seen_by_these_tests(make_family, name, field, wrong, monkeypatch):
    vlm = make_family(name)
    batch = mixed_batch(vlm)
    with torch.no_grad():
        right = forward_responses(vlm.model, batch).logps
        monkeypatch.setattr(
            "vlmalign.models.forward.lay_out", lambda *args: replace(lay_out(*args), **{field: wrong})
        )
        assert (forward_responses(vlm.model, batch).logps - right).abs().max() > 1e-2


def test_rows_longer_than_the_window_of_a_paligemma_2_are_run_plain(make_family):
    vlm = make_family("paligemma2")
    batch = mixed_batch(vlm)
    vlm.model.config.text_config.sliding_window = 6
    for layer in vlm.model.model.language_model.layers:
        layer.self_attn.sliding_window = layer.self_attn.sliding_window and 6
    with torch.no_grad():
        output = forward_responses(vlm.model, batch)
        torch.testing.assert_close(output.logps, alone(vlm, vlm.model, batch), atol=1e-5, rtol=0)
    assert output.mode == "plain"


def test_what_a_family_cannot_do_is_refused_with_the_record_and_the_remedy(make_family):
    vlm = make_family("paligemma")
    assert PROVED["paligemma"].refuses.startswith("prompts without an image")
    with pytest.raises(DataError, match=r"record 'r1': PaliGemmaProcessor refuses .*`vlmalign models`"):
        encode_prompt(vlm.processor, (user("Why so?"),), [], record="r1")


def test_processor_and_model_of_a_family_agree_on_the_placeholder(family, tmp_path):
    family.processor.save_pretrained(tmp_path)
    check_image_token(family.model.config, load_processor(tmp_path), tmp_path)


def test_every_family_that_is_called_proved_is_proved_here(proved_families, make_family):
    assert {model_type(make_family(name).model) for name in proved_families} == set(PROVED)
