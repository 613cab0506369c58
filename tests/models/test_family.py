"""Packed, cached and plain on tiny random models of every listed family."""

from dataclasses import replace

import pytest
import torch
import transformers as hf

from vlmalign.models import PromptBatch, forward_responses, sequence_logps
from vlmalign.models.decoding import Decoder
from vlmalign.models.family import PROVED, lay_out
from vlmalign.models.feature_cache import FeatureCache
from vlmalign.models.image_rows import image_rows
from vlmalign.models.vision_key import vision_key
from vlmalign.training.freezing import part_of

IMAGE = 299
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "head_dim": 16,
}
NO_HEAD_DIM = {name: value for name, value in TEXT.items() if name != "head_dim"}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
}


def pixels(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def llava():
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION),
        text_config=hf.LlamaConfig(**TEXT),
        image_token_id=IMAGE,
        vision_feature_layer=-1,
    )
    return hf.LlavaForConditionalGeneration(config), [IMAGE] * 16, {"pixel_values": pixels(2, 3, 28, 28)}


def tiled(config_class, model_class, vision, text, **more):
    config = config_class(
        vision_config=vision,
        text_config=text,
        image_token_id=IMAGE,
        image_grid_pinpoints=[[28, 28]],
        vision_feature_layer=-1,
        **more,
    )
    model = model_class(config)
    inputs = {"pixel_values": pixels(2, 2, 3, 28, 28), "image_sizes": torch.tensor([[28, 28]] * 2)}
    with torch.no_grad():
        features = model.model.get_image_features(**inputs).pooler_output
    return model, [IMAGE] * features[0].shape[0], inputs


def llava_next():
    return tiled(
        hf.LlavaNextConfig,
        hf.LlavaNextForConditionalGeneration,
        hf.CLIPVisionConfig(**VISION),
        hf.LlamaConfig(**TEXT),
    )


def llava_onevision():
    return tiled(
        hf.LlavaOnevisionConfig,
        hf.LlavaOnevisionForConditionalGeneration,
        hf.SiglipVisionConfig(**VISION),
        hf.Qwen2Config(**NO_HEAD_DIM),
        video_token_id=298,
    )


def qwen(config_class, model_class, text, vision, rope):
    rope = {"rope_type": "default", "type": "default", "rope_theta": 1e4} | rope
    config = config_class(
        text_config=text | {"rope_parameters": rope},
        vision_config=vision,
        image_token_id=IMAGE,
        video_token_id=298,
        vision_start_token_id=297,
        vision_end_token_id=296,
    )
    side = config.vision_config.patch_size
    # Two images of different sizes: 4 and 8 tokens after merging 2 x 2 patches.
    inputs = {"pixel_values": pixels(48, 6 * side**2), "image_grid_thw": torch.tensor([[1, 4, 4], [1, 4, 8]])}
    return model_class(config), [[297] + [IMAGE] * count + [296] for count in (4, 8)], inputs


def qwen2_vl():
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": 14}
    return qwen(
        hf.Qwen2VLConfig, hf.Qwen2VLForConditionalGeneration, NO_HEAD_DIM, vision, {"mrope_section": [2, 3, 3]}
    )


def qwen2_5_vl():
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "num_heads": 2}
    vision |= {"patch_size": 14, "fullatt_block_indexes": [1]}
    return qwen(
        hf.Qwen2_5_VLConfig, hf.Qwen2_5_VLForConditionalGeneration, TEXT, vision, {"mrope_section": [2, 3, 3]}
    )


def qwen3_vl():
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "num_heads": 2}
    vision |= {"patch_size": 16, "deepstack_visual_indexes": [1], "num_position_embeddings": 64}
    rope = {"mrope_section": [2, 3, 3], "mrope_interleaved": True}
    return qwen(hf.Qwen3VLConfig, hf.Qwen3VLForConditionalGeneration, TEXT, vision, rope)


def gemma3(window=512):
    config = hf.Gemma3Config(
        text_config=hf.Gemma3TextConfig(
            **TEXT, sliding_window=window, layer_types=["sliding_attention", "full_attention"]
        ),
        vision_config=VISION,
        mm_tokens_per_image=4,
        image_token_index=IMAGE,
        image_token_id=IMAGE,
        boi_token_index=297,
        eoi_token_index=296,
    )
    image = [297] + [IMAGE] * 4 + [296]
    return hf.Gemma3ForConditionalGeneration(config), image, {"pixel_values": pixels(2, 3, 28, 28)}


def gemma3_narrow():
    return gemma3(window=6)


def paligemma():
    config = hf.PaliGemmaConfig(
        text_config=hf.GemmaConfig(**TEXT),
        vision_config=hf.SiglipVisionConfig(**VISION, projection_dim=64),
        image_token_index=IMAGE,
        image_token_id=IMAGE,
        projection_dim=64,
    )
    return hf.PaliGemmaForConditionalGeneration(config), [IMAGE] * 16, {"pixel_values": pixels(2, 3, 28, 28)}


def idefics3():
    config = hf.Idefics3Config(
        text_config=hf.LlamaConfig(**TEXT, pad_token_id=0),
        vision_config=VISION,
        scale_factor=2,
        image_token_id=IMAGE,
    )
    return hf.Idefics3ForConditionalGeneration(config), [IMAGE] * 4, {"pixel_values": pixels(2, 1, 3, 28, 28)}


def internvl():
    vision = VISION | {"image_size": [28, 28], "patch_size": [7, 7]}
    config = hf.InternVLConfig(
        text_config=hf.Qwen2Config(**NO_HEAD_DIM),
        vision_config=vision,
        image_token_id=IMAGE,
        image_seq_length=4,
        downsample_ratio=0.5,
        vision_feature_layer=-1,
    )
    return hf.InternVLForConditionalGeneration(config), [IMAGE] * 4, {"pixel_values": pixels(2, 3, 28, 28)}


FAMILIES = [
    llava, llava_next, llava_onevision, qwen2_vl, qwen2_5_vl, qwen3_vl, gemma3, gemma3_narrow, paligemma, idefics3,
    internvl,
]  # fmt: skip


def built(family, side):
    torch.manual_seed(0)
    model, image, inputs = family()
    with torch.no_grad():  # strong weights: a fresh model hardly reacts to a wrong mask or position
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    images = image if isinstance(image[0], list) else [image, image]
    texts = [[1, *images[0], 10, 11, 12, 13], [1, *images[1], 10, 14]]
    width = max(map(len, texts))
    pads = [[0] * (width - len(text)) for text in texts]
    rows = [pad + text if side == "left" else text + pad for text, pad in zip(texts, pads, strict=True)]
    ids = torch.tensor(rows)
    prompts = {"input_ids": ids, "attention_mask": (ids > 0).long(), **inputs}
    real = torch.arange(7) < torch.tensor([7, 3, 5])[:, None]
    response = torch.randint(5, 290, (3, 7), generator=torch.Generator().manual_seed(1)) * real
    batch = PromptBatch(prompts, response, real, real, torch.tensor([0, 0, 1]))
    return model, batch


def scored_by_the_library_alone(model, batch):
    """One unpadded call per response, with token types as each family's processor makes them."""
    rows = torch.zeros(batch.response_ids.shape)
    name = type(model).__name__
    for n, prompt in enumerate(batch.prompt_index.tolist()):
        start = batch.prompts["input_ids"][prompt][batch.prompts["attention_mask"][prompt].bool()]
        answer = batch.response_ids[n][batch.response_mask[n]]
        ids = torch.cat([start, answer])[None]
        inputs = {
            k: v[prompt : prompt + 1] for k, v in batch.prompts.items() if k not in ("input_ids", "attention_mask")
        }
        if "Qwen" in name:
            patches = batch.prompts["image_grid_thw"].prod(1).tolist()
            inputs["pixel_values"] = batch.prompts["pixel_values"].split(patches)[prompt]
            inputs["mm_token_type_ids"] = (ids == IMAGE).long()
        if "Gemma3" in name:
            inputs["token_type_ids"] = (ids == IMAGE).long()
        if "PaliGemma" in name:
            inputs["token_type_ids"] = torch.cat([torch.zeros_like(start), torch.ones_like(answer)])[None]
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs, use_cache=False).logits[0]
        logps = logits.log_softmax(-1)[-len(answer) - 1 : -1]
        rows[n, : len(answer)] = logps.gather(1, answer[:, None])[:, 0]
    return rows


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_all_modes_equal_one_unpadded_call_per_response(family, side):
    model, batch = built(family, side)
    with torch.no_grad():
        expected = scored_by_the_library_alone(model.train(), batch)
        for mode in ("plain", "packed", "cached"):
            output = forward_responses(model, batch, mode=mode)
            assert output.mode == mode
            torch.testing.assert_close(
                output.logps, expected, atol=1e-5, rtol=0, msg=lambda m, mode=mode: f"{mode}: {m}"
            )


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_gradients_equal_plain_ones(family):
    model, batch = built(family, "left")
    found = []
    for mode in ("packed", "plain"):
        model.zero_grad()
        sequence_logps(forward_responses(model.train(), batch, mode=mode), batch).sum().backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    packed, plain = found
    largest = max(float(gradient.abs().max()) for gradient in plain.values())
    assert packed.keys() == plain.keys()
    assert max(float((packed[name] - plain[name]).abs().max()) for name in plain) < 1e-5 * largest


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_features_give_the_same_log_probabilities_without_running_the_tower(family, tmp_path):
    model, batch = built(family, "left")
    model.requires_grad_(False).eval()
    expected = forward_responses(model, batch).logps
    cold, warm = FeatureCache(model, tmp_path), FeatureCache(model, tmp_path)
    for mode in ("packed", "plain", "cached"):
        output = forward_responses(model, batch, mode=mode, features=cold)
        torch.testing.assert_close(output.logps, expected, atol=1e-5, rtol=0)
    assert cold.counts["computed"] == 2
    ran = []
    with torch.no_grad():
        warm.replace_images(lay_out(model, batch.prompts).inputs)  # names the model by running it once
        tower = next(m for name, m in model.named_modules() if "vision" in name or "visual" in name)
        hook = tower.register_forward_pre_hook(lambda *_: ran.append(1))
        torch.testing.assert_close(
            forward_responses(model, batch, features=warm).logps, expected, atol=1e-5, rtol=0
        )
    hook.remove()
    assert not ran and warm.counts["computed"] == 0 and warm.counts["disk"] == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_a_change_of_any_vision_or_projector_weight_and_of_no_other_is_another_key(family):
    model, batch = built(family, "left")
    model.requires_grad_(False)
    cache = FeatureCache(model)
    cache.replace_images(batch.prompts)
    row = next(
        image_rows(
            {k: v for k, v in batch.prompts.items() if k in ("pixel_values", "image_sizes", "image_grid_thw")}
        )
    )
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


@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_step_by_step_equals_the_library_alone(family):
    model, batch = built(family, "left")
    model.eval()
    with torch.no_grad():
        expected = scored_by_the_library_alone(model.train(), batch)
        decoder = Decoder(model.eval(), batch.prompts, batch.prompt_index, 7)
        for step in range(7):
            ids, real = batch.response_ids[:, step], batch.response_mask[:, step]
            found = decoder.logits.log_softmax(-1).gather(1, ids[:, None])[:, 0]
            torch.testing.assert_close(found[real], expected[:, step][real], atol=1e-5, rtol=0)
            decoder.append(ids[:, None], real[:, None])


@pytest.mark.parametrize(
    ("family", "field", "wrong"),
    [
        (paligemma, "both_ways", None),
        (gemma3, "both_ways", None),
        (gemma3_narrow, "window", 512),
        (qwen2_vl, "start", torch.tensor([15, 13])),
        (llava, "start", torch.tensor([15, 13])),
    ],
)
def test_a_wrong_layout_would_be_seen_by_these_tests(family, field, wrong, monkeypatch):
    model, batch = built(family, "left")
    with torch.no_grad():
        right = forward_responses(model, batch).logps
        monkeypatch.setattr(
            "vlmalign.models.forward.lay_out", lambda *args: replace(lay_out(*args), **{field: wrong})
        )
        assert (forward_responses(model, batch).logps - right).abs().max() > 1e-2


def test_every_family_that_is_called_proved_is_proved_here():
    types = {built(family, "left")[0].config.model_type for family in FAMILIES}
    assert types == PROVED
