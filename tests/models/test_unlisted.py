"""Families that no other test proves: real models that are none of the listed ones."""

import logging
from dataclasses import replace

import pytest
import torch
import transformers as hf

from vlmalign.models import VLM, PromptBatch, forward_responses, sample_responses
from vlmalign.models import forward as forward_module
from vlmalign.models.family import PROVED, lay_out
from vlmalign.models.forward import forward_mode

IMAGE = 6
TEXT = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "pad_token_id": 0,
}  # fmt: skip
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 7,
}


def pixels(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def aya_vision():
    """Sliding windows shorter than the rows, in some layers."""
    text = hf.Cohere2Config(**TEXT, layer_types=["sliding_attention", "full_attention"], sliding_window=6)
    config = hf.AyaVisionConfig(
        vision_config=hf.SiglipVisionConfig(**VISION, image_size=28), text_config=text, image_token_id=IMAGE,
        downsample_factor=2, vision_feature_layer=-1, vision_feature_select_strategy="full",
    )  # fmt: skip
    return hf.AyaVisionForConditionalGeneration(config), 4, {"pixel_values": pixels(2, 3, 28, 28)}


def lfm2_vl():
    """Convolutions over the row, which no mask can keep apart."""
    config = hf.Lfm2VlConfig(
        vision_config=hf.Siglip2VisionConfig(**VISION, num_patches=16),
        text_config=hf.Lfm2Config(**TEXT, layer_types=["conv", "full_attention"]),
        image_token_id=IMAGE,
        downsample_factor=2,
    )
    images = {"pixel_values": pixels(2, 16, 147), "spatial_shapes": torch.full((2, 2), 4)}
    model = hf.Lfm2VlForConditionalGeneration(config)
    return model, 4, {**images, "pixel_attention_mask": torch.ones(2, 16).long()}


def qwen3_5():
    """Recurrent layers, and positions that only the model can compute."""
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 0], "partial_rotary_factor": 0.25}
    text = TEXT | {
        "head_dim": 16, "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2,
        "linear_num_value_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
        "rope_parameters": rope | {"mrope_interleaved": True},
    }  # fmt: skip
    vision = {
        "depth": 2, "num_heads": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64,
        "patch_size": 16, "num_position_embeddings": 64,
    }  # fmt: skip
    config = hf.Qwen3_5Config(
        text_config=text, vision_config=vision, image_token_id=IMAGE, video_token_id=12, vision_start_token_id=13,
        vision_end_token_id=14,
    )  # fmt: skip
    images = {"pixel_values": pixels(32, 1536), "image_grid_thw": torch.tensor([[1, 4, 4]] * 2)}
    return hf.Qwen3_5ForConditionalGeneration(config), 4, images


def mllama():
    """Cross-attention with a mask along the prompt."""
    vision = VISION | {
        "num_global_layers": 1, "attention_heads": 2, "image_size": 28, "vision_output_dim": 64,
        "intermediate_layers_indices": [0], "max_num_tiles": 1, "supported_aspect_ratios": [[1, 1]],
    }  # fmt: skip
    config = hf.MllamaConfig(
        vision_config=vision, text_config=TEXT | {"cross_attention_layers": [1]}, image_token_index=IMAGE
    )
    images = {
        "pixel_values": pixels(2, 1, 1, 3, 28, 28), "aspect_ratio_ids": torch.ones(2, 1).long(),
        "aspect_ratio_mask": torch.ones(2, 1, 1).long(), "cross_attention_mask": torch.ones(2, 9, 1, 1).long(),
    }  # fmt: skip
    return hf.MllamaForConditionalGeneration(config), 4, images


def built(family):
    """Two prompts with an image each, two and one responses; and the model with large weights."""
    torch.manual_seed(0)
    model, tokens, images = family()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    ids = torch.tensor([[1] + [IMAGE] * tokens + [20, 21, 22, 23], [0, 0, 1] + [IMAGE] * tokens + [20, 24]])
    real = torch.arange(4) < torch.tensor([4, 3, 2])[:, None]
    response = torch.randint(30, 290, (3, 4), generator=torch.Generator().manual_seed(1)) * real
    prompts = {"input_ids": ids, "attention_mask": (ids > 0).long(), **images}
    assert model.config.model_type not in PROVED
    return model.eval(), PromptBatch(prompts, response, real, real, torch.tensor([0, 0, 1]))


def alone(model, batch):
    """The second prompt's response by the library, unpadded and with positions of its own."""
    row = batch.prompts["attention_mask"][1].bool()
    answer = batch.response_ids[2][batch.response_mask[2]]
    inputs = {name: value[1:] for name, value in batch.prompts.items() if name[:5] in ("pixel", "spati", "image")}
    ids = torch.cat([batch.prompts["input_ids"][1][row], answer])[None]
    if "image_grid_thw" in inputs:
        inputs |= {"pixel_values": batch.prompts["pixel_values"][16:], "mm_token_type_ids": (ids == IMAGE).long()}
    with torch.no_grad():
        logits = model(input_ids=ids, **inputs, use_cache=False).logits[0, -len(answer) - 1 : -1]
    return logits.log_softmax(-1).gather(1, answer[:, None])[:, 0]


@pytest.mark.parametrize(
    ("family", "mode", "said"),
    [
        (aya_vision, "packed", "family 'aya_vision' is not listed; the packed forward equals the model's own"),
        (lfm2_vl, "plain", "family 'lfm2_vl' has layers of kind conv: the plain forward is used"),
        (qwen3_5, "plain", "family 'qwen3_5' has layers of kind linear_attention: the plain forward is used"),
    ],
)
def test_an_unlisted_family_is_run_in_the_mode_that_gives_its_own_numbers(family, mode, said, caplog):
    model, batch = built(family)
    with caplog.at_level(logging.INFO, "vlmalign"), torch.no_grad():
        for asked in ("packed", "cached", "packed"):
            output = forward_responses(model, batch, mode=asked)
            assert output.mode == (asked if mode == "packed" else "plain")
            torch.testing.assert_close(output.logps[2, :2], alone(model, batch), atol=1e-4, rtol=0)
    assert caplog.text.count(said) == 1  # compared once
    assert forward_mode(model) == mode


def test_a_family_whose_prompts_cannot_be_continued_is_refused():
    model, batch = built(mllama)
    with pytest.raises(ValueError, match="family 'mllama' cannot be run on .*: use a listed family"):
        forward_responses(model, batch)


def test_answers_of_a_family_whose_cache_cannot_be_repeated_are_refused(make_family):
    model, batch = built(lfm2_vl)
    with pytest.raises(ValueError, match="family 'lfm2_vl' cannot answer from a key-value cache"):
        sample_responses(
            VLM(model, make_family("llava").processor), batch.prompts, seeds=[[0], [0]], temperature=0,
            max_new_tokens=2,
        )  # fmt: skip


def test_positions_that_are_not_the_models_own_are_refused(monkeypatch):
    model, batch = built(aya_vision)
    monkeypatch.setattr(
        forward_module, "lay_out", lambda *a: replace(lay_out(*a), start=torch.tensor([30, 30]))
    )  # fmt: skip
    with pytest.raises(ValueError, match="'aya_vision' .* scored differently here than by the model itself"):
        forward_responses(model, batch)


@pytest.fixture
def nothing_is_listed(monkeypatch):
    monkeypatch.setattr("vlmalign.models.unlisted.PROVED", {})


def test_a_model_that_ignores_explicit_masks_is_run_plain(nothing_is_listed, fresh_vlm, batch, caplog):
    inner = fresh_vlm.model.model.forward
    # The responses of a row then see each other.
    fresh_vlm.model.model.forward = lambda *a, attention_mask=None, **k: inner(
        *a, attention_mask=attention_mask if attention_mask is None or attention_mask.ndim == 2 else None, **k
    )
    with caplog.at_level(logging.WARNING):
        output = forward_responses(fresh_vlm.model, batch)
    assert output.mode == "plain" and "the packed forward differs" in caplog.text


def test_batches_that_show_too_little_do_not_settle_the_mode(
    nothing_is_listed, fresh_vlm, batch, make_batch, make_prompts
):
    single = make_batch(make_prompts(fresh_vlm, ("Why?",)), [[2]])
    assert forward_responses(fresh_vlm.model, single).mode == "plain"  # which one response always is
    ids = torch.full((1, 3), 40)
    text = make_batch({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, [[2, 3]])
    assert forward_responses(fresh_vlm.model, text).mode == "packed" and forward_mode(fresh_vlm.model) == "plain"
    assert forward_responses(fresh_vlm.model, batch).mode == "packed" and forward_mode(fresh_vlm.model) == "packed"


def test_running_out_of_memory_says_nothing_about_a_family(nothing_is_listed, fresh_vlm, batch, monkeypatch):
    def fail(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setitem(forward_module._RUNS, "packed", fail)
        forward_responses(fresh_vlm.model, batch)
    assert forward_responses(fresh_vlm.model, batch).mode == "packed"
