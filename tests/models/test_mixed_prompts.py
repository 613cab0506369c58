"""Prompts with one, several and no images, and images in earlier turns, in one batch; for every family."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vlmalign.data import collate_prompts, encode_prompt
from vlmalign.models import (
    FeatureCache,
    LoraSettings,
    PromptBatch,
    forward_responses,
    sample_responses,
    sequence_logps,
)
from vlmalign.models.family import PROVED, model_type
from vlmalign.models.loading import add_lora
from vlmalign.records import DataError, assistant, user

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


def test_lora_gradients_equal_those_of_each_prompt_and_response_alone(request, make_family, family):
    vlm = make_family(request.node.callspec.params["family"])
    model = add_lora(vlm.model, LoraSettings(r=2, alpha=4)).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # zero at the start, which would hide everything behind it
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    batch = mixed_batch(vlm)
    weights = torch.linspace(-1, 2, batch.n_responses)
    found = []
    for logps in (alone(vlm, model, batch).sum(1), sequence_logps(forward_responses(model, batch), batch)):
        model.zero_grad()
        (logps * weights).sum().backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad})
    expected, packed = found
    for name, gradient in expected.items():
        assert (packed[name] - gradient).abs().max() < 1e-4 * gradient.abs().max(), name


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


def test_features_from_the_cache_give_the_same_log_probabilities(family, tmp_path):
    batch = mixed_batch(family)
    family.model.requires_grad_(False).eval()
    with torch.no_grad():
        expected = forward_responses(family.model, batch).logps
        cold, warm = FeatureCache(family.model, tmp_path), FeatureCache(family.model, tmp_path)
        for cache in (cold, warm):
            for mode in ("packed", "cached", "plain"):
                output = forward_responses(family.model, batch, mode=mode, features=cache)
                torch.testing.assert_close(output.logps, expected, atol=1e-4, rtol=0)
        assert cold.counts["computed"] > 0 and warm.counts["computed"] == 0
        for prompt in encoded(family):  # alone, they are the same images
            warm.replace_images(prompt)
    assert warm.counts["computed"] == 0


def test_greedy_answers_of_a_mixed_batch_are_those_of_each_prompt_alone(family):
    prompts = encoded(family)
    settings = {"temperature": 0, "max_new_tokens": 5}
    for batch in (collate_prompts(prompts, 0), padded_right(collate_prompts(prompts, 0))):
        together = sample_responses(family, batch, seeds=[[0]] * len(prompts), **settings)
        for prompt, found in zip(prompts, together, strict=True):
            single = sample_responses(family, prompt, seeds=[[0]], **settings)[0][0]
            drawn = family.model.generate(
                **prompt, max_new_tokens=5, do_sample=False, pad_token_id=0
            )[0, prompt["input_ids"].shape[1] :].tolist()
            assert found[0].token_ids == single.token_ids == tuple(drawn)
