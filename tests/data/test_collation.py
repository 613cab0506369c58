import torch
from PIL import Image

from vlmalign.data import Example, blank_image, collate, collate_prompts, encode_prompts, encode_response
from vlmalign.models import forward_responses, sequence_logps
from vlmalign.records import assistant, user


def prompt(n, start=5):
    ids = torch.arange(start, start + n)[None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.full((1, 3, 2, 2), n)}


def test_prompts_are_padded_on_the_left_and_responses_on_the_right(processor):
    short = encode_response(processor, (user("a", images=1),), (assistant("b"),), record="r")
    long = encode_response(processor, (user("a", images=1),), (assistant("b c d e"),), record="r")
    batch = collate([Example("x", prompt(2), (short,)), Example("y", prompt(4), (long,))], 0)["batch"]
    assert batch.prompts["input_ids"].tolist() == [[0, 0, 5, 6], [5, 6, 7, 8]]
    assert batch.prompts["attention_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert batch.response_mask.sum(1).tolist() == [len(short), len(long)]
    assert batch.response_mask[0].tolist() == sorted(batch.response_mask[0].tolist(), reverse=True)


def test_pairs_stand_together_and_a_missing_margin_is_no_number(processor):
    answer = encode_response(processor, (user("a", images=1),), (assistant("b"),), record="r")
    batch = collate([Example("x", prompt(2), (answer,) * 2, 0.5, 2.0), Example("y", prompt(2), (answer,) * 2)], 0)
    assert batch["batch"].prompt_index.tolist() == [0, 0, 1, 1]
    assert batch["ids"] == ("x", "y") and batch["weights"].tolist() == [0.5, 1.0]
    assert batch["margins"][0] == 2.0 and batch["margins"][1].isnan()


def test_tiles_of_different_number_are_filled_with_zeros_at_the_end():
    one, two = prompt(2), prompt(2)
    one["pixel_values"], two["pixel_values"] = torch.ones(1, 2, 3), torch.ones(1, 4, 3)
    tiles = collate_prompts([one, two], 0)["pixel_values"]
    assert tiles.shape == (2, 4, 3) and tiles.sum((1, 2)).tolist() == [6, 12]


def test_a_response_is_as_probable_in_a_padded_batch_as_alone(vlm):
    image = Image.new("RGB", (32, 32), (90, 20, 160))
    examples = []
    for text, reply in (("Short?", "No."), ("A much longer question about the field?", "Yes, two are seen.")):
        turns = (user(text, images=1),)
        response = encode_response(vlm.processor, turns, (assistant(reply),), record="r")
        examples.append(Example(text, encode_prompts(vlm.processor, [turns], [[image]]), (response,)))

    def logps(part):
        batch = collate(part, 0)["batch"]
        with torch.no_grad():
            return sequence_logps(forward_responses(vlm.model, batch), batch)

    alone = torch.cat([logps([example]) for example in examples])
    torch.testing.assert_close(logps(examples), alone, atol=1e-4, rtol=1e-5)


def test_a_blank_image_keeps_the_size_and_nothing_of_the_picture():
    pictures = [Image.new("RGB", (6, 4), colour) for colour in ((0, 0, 0), (250, 10, 90))]
    blanks = [blank_image(picture) for picture in pictures]
    assert blanks[0].size == (6, 4) and blanks[0].tobytes() == blanks[1].tobytes()
