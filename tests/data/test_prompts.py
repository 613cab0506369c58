"""An image that would not reach the model is refused, naming the record."""

import pytest
from PIL import Image

from vlmalign.data import DataSource, ExampleDataset, encode_prompt, encode_prompts
from vlmalign.data.encode import encode_demonstration, encode_preference, encode_response
from vlmalign.records import DataError, Demonstration, assistant, user

IMAGE = Image.new("RGB", (32, 32), (90, 20, 160))
IMAGE_PART = "{{ '<image>' }}"


def one(text="What is it?", images=1):
    return (user(text, images=images),)


@pytest.mark.parametrize(("places", "images"), [(1, 2), (2, 1), (0, 1), (1, 0)])
def test_another_number_of_images_than_of_places_is_refused(processor, places, images):
    with pytest.raises(DataError, match=rf"record 'r': .* {places} image places for {images} images"):
        encode_prompt(processor, one(images=places), [IMAGE] * images, record="r")


@pytest.mark.parametrize(("part", "rendered"), [("", 0), (IMAGE_PART * 2, 2)])
def test_a_template_that_drops_or_doubles_image_parts_is_refused(processor, template, part, rendered):
    template(processor.chat_template.replace(IMAGE_PART, part))
    with pytest.raises(
        DataError, match=f"record 'r': the chat template renders {rendered} placeholders '<image>'"
    ):
        encode_prompt(processor, one(), [IMAGE], record="r")


def test_a_question_that_spells_the_placeholder_is_refused(processor):
    with pytest.raises(DataError, match="record 'r': the prompt's text spells the image placeholder '<image>'"):
        encode_prompt(processor, one("Is <image> sharp?"), [IMAGE], record="r")


def test_a_later_question_that_spells_the_placeholder_is_refused(processor):
    turns = (assistant("Yes."), user("Is <image> sharp?"), assistant("No."))
    with pytest.raises(DataError, match="record 'r': a user turn after the first answer spells an image"):
        encode_response(processor, one(), turns, record="r")


def test_a_processor_that_returns_no_pixels_is_refused(processor, monkeypatch):
    call = type(processor).__call__
    monkeypatch.setattr(
        type(processor),
        "__call__",
        lambda *a, **k: {name: v for name, v in call(*a, **k).items() if name != "pixel_values"},
    )
    with pytest.raises(DataError, match=r"record 'r': LlavaProcessor made only .* would not reach the model"):
        encode_prompt(processor, one(), [IMAGE], record="r")


def test_nothing_is_cut_by_limits_that_the_tokenizer_was_saved_with(processor, monkeypatch):
    whole = encode_prompt(processor, one(), [IMAGE])["input_ids"]
    answer = encode_response(processor, one(), (assistant("A leukocyte."),), record="r")
    monkeypatch.setitem(processor.tokenizer.init_kwargs, "truncation", True)
    monkeypatch.setitem(processor.tokenizer.init_kwargs, "max_length", 3)
    monkeypatch.setattr(processor.tokenizer, "model_max_length", 3)
    processor.tokenizer.backend_tokenizer.enable_truncation(3)
    assert encode_prompt(processor, one(), [IMAGE])["input_ids"].tolist() == whole.tolist()
    assert encode_response(processor, one(), (assistant("A leukocyte."),), record="r") == answer


def test_an_empty_answer_is_refused_where_it_would_be_imitated(processor, records, build_folder):
    made = []
    build_folder("d", "demonstration", lambda b: [made.append(b) or records["demonstration"](b, 0, "  ")])
    silent = records["demonstration"](made[0], 0, "  ")
    with pytest.raises(DataError, match="record 'd0', field 'response': the answer is empty"):
        encode_demonstration(processor, silent, {})
    pair = records["preference"](made[0], 0, chosen=(assistant(""),))
    with pytest.raises(DataError, match="record 'p0', field 'chosen': the answer is empty"):
        encode_preference(processor, pair, {})
    rejected = encode_preference(processor, records["preference"](made[0], 0, rejected=(assistant(""),)), {})
    assert rejected.responses[1].token_ids == (processor.tokenizer.eos_token_id,)


def test_errors_of_a_dataset_name_the_folder_and_the_record(processor, template, records, build_folder):
    folder = build_folder("d", "demonstration", lambda b: [records["demonstration"](b, 7)])
    template(processor.chat_template.replace(IMAGE_PART, ""))
    with pytest.raises(DataError, match=rf"{folder}, record 'd7': the chat template renders 0 placeholders"):
        ExampleDataset([DataSource(path=folder)], Demonstration, processor)


def test_sampling_prompts_are_refused_by_the_name_of_their_case(processor):
    with pytest.raises(DataError, match="record 'c2': the prompt has 1 image places for 0 images"):
        encode_prompts(processor, [one(), one()], [[IMAGE], []], ["c1", "c2"])
