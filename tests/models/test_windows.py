"""Text decoders whose sliding attention is narrower than the row, under families that are packed."""

from dataclasses import replace

import pytest
import torch
import transformers as hf

from vlmalign.models import PromptBatch, forward_responses
from vlmalign.models.family import lay_out

IMAGE, WINDOW = 299, 4
TEXT = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "sliding_window": WINDOW,
}  # fmt: skip
SOME = {"use_sliding_window": True, "max_window_layers": 1}  # the second layer slides, the first does not


def llava(text):
    vision = hf.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    config = hf.LlavaConfig(vision_config=vision, text_config=text, image_token_id=IMAGE, vision_feature_layer=-1)
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    return hf.LlavaForConditionalGeneration(config), {"pixel_values": pixels}


def qwen2_vl():
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    config = hf.Qwen2VLConfig(
        text_config=TEXT | SOME | {"rope_parameters": rope},
        vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": 14},
        image_token_id=IMAGE, video_token_id=298, vision_start_token_id=297, vision_end_token_id=296,
    )  # fmt: skip
    pixels = torch.randn(32, 6 * 14**2, generator=torch.Generator().manual_seed(0))
    images = {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, 4, 4]] * 2)}
    return hf.Qwen2VLForConditionalGeneration(config), images


DECODERS = {
    "mistral": lambda: llava(hf.MistralConfig(**TEXT)),
    "qwen2": lambda: llava(hf.Qwen2Config(**TEXT, **SOME)),
    "qwen3": lambda: llava(hf.Qwen3Config(**TEXT, **SOME, head_dim=16)),
    "qwen2_vl": qwen2_vl,
    "cohere2": lambda: llava(hf.Cohere2Config(**TEXT)),
}


def built(name):
    torch.manual_seed(0)
    model, images = DECODERS[name]()
    with torch.no_grad():  # strong weights: a fresh model hardly reacts to a wrong mask
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    image = [297, *[IMAGE] * 4, 296]
    ids = torch.tensor([[1, *image, 10, 11, 12], [0, 1, *image, 10, 14]])
    prompts = {"input_ids": ids, "attention_mask": (ids > 0).long(), **images}
    real = torch.arange(7) < torch.tensor([7, 3, 5])[:, None]
    response = torch.randint(5, 290, (3, 7), generator=torch.Generator().manual_seed(1)) * real
    return model.eval(), PromptBatch(prompts, response, real, real, torch.tensor([0, 0, 1]))


@pytest.mark.parametrize("name", DECODERS)
def test_layers_with_a_window_see_no_further_in_a_packed_row(name):
    model, batch = built(name)
    with torch.no_grad():
        plain, packed, cached = (forward_responses(model, batch, mode=m) for m in ("plain", "packed", "cached"))
        assert packed.mode == "packed"
        torch.testing.assert_close(packed.logps, plain.logps, atol=1e-5, rtol=0)
        torch.testing.assert_close(cached.logps, plain.logps, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", DECODERS)
def test_a_packed_row_without_the_window_would_be_seen_by_these_tests(name, monkeypatch):
    model, batch = built(name)
    with torch.no_grad():
        right = forward_responses(model, batch).logps
        monkeypatch.setattr("vlmalign.models.forward.lay_out", lambda *args: replace(lay_out(*args), window=1000))
        assert (forward_responses(model, batch).logps - right).abs().max() > 1e-2
