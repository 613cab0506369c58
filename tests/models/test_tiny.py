import pytest
import torch

from vlmalign.models import build_tiny_llava

SMALL = {"image_size": 24, "hidden": 16, "layers": 1, "vision_hidden": 16, "vision_layers": 1, "heads": 2}


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    first, again, other = (build_tiny_llava(["a b c"] * 3, seed=seed, **SMALL) for seed in (0, 0, 1))
    assert first.tokenizer.get_vocab() == again.tokenizer.get_vocab()
    name = "model.multi_modal_projector.linear_1.weight"
    weights = [vlm.model.state_dict()[name] for vlm in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_building_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build_tiny_llava(["a"], **SMALL)
    assert torch.equal(torch.rand(1), expected)


def test_any_text_survives_encoding(vlm):
    text = "Größe 3 µm, naïve — never in the corpus."
    assert vlm.tokenizer.decode(vlm.tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_a_longer_conversation_begins_with_the_tokens_of_the_shorter_one(vlm):
    def tokens(messages, prompt):
        text = vlm.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
        return vlm.tokenizer(text, add_special_tokens=False).input_ids

    turns = [
        ("user", "Why?"),
        ("assistant", "Red cells."),
        ("user", "And?"),
        ("assistant", "No leukocyte is seen."),
    ]
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns]
    end = vlm.tokenizer.eos_token_id
    whole = tokens(messages, False)
    for count in (1, 3):
        prompt, answered = tokens(messages[:count], True), tokens(messages[: count + 1], False)
        assert whole[: len(prompt)] == prompt and whole[: len(answered)] == answered
        answer = vlm.tokenizer(turns[count][1], add_special_tokens=False).input_ids
        assert answered[len(prompt) :] == [*answer, end]


def test_parts_and_plain_strings_render_alike(vlm):
    parts = [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}]
    plain = [{"role": "user", "content": "Why?"}]
    assert vlm.processor.apply_chat_template(parts, tokenize=False) == vlm.processor.apply_chat_template(
        plain, tokenize=False
    )


def test_a_non_square_image_is_resized_whole(vlm, make_prompts):
    from PIL import Image

    out = vlm.processor(images=[Image.new("RGB", (64, 48))], text=["<image>"], return_tensors="pt")
    assert out["pixel_values"].shape == (1, 3, 24, 24)
    assert (out["input_ids"] == vlm.model.config.image_token_id).sum() == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 25}, "image_size is 25, expected a multiple of patch_size 12"),
        ({"hidden": 18}, "hidden is 18, expected a multiple"),
        ({"vocab_size": 100}, "vocab_size is 100, expected at least 263"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        build_tiny_llava(["a"], **(SMALL | change))


def test_images_are_normalised_by_the_given_statistics():
    from PIL import Image

    vlm = build_tiny_llava(["a"], image_mean=(0.2, 0.4, 0.6), image_std=(0.1, 0.2, 0.4), **SMALL)
    pixels = vlm.processor(
        images=[Image.new("RGB", (24, 24), (51, 51, 51))], text=["<image>"], return_tensors="pt"
    )
    found = pixels["pixel_values"][0, :, 0, 0].tolist()
    assert found == pytest.approx([0.0, -1.0, -1.0], abs=1e-4)  # 51 / 255 = 0.2
