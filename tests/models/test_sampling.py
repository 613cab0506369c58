import math

import pytest
import torch

from vlmalign.models import PromptBatch, forward_responses, sample_responses, sequence_logps
from vlmalign.models.sampling import _draw

QUESTIONS = ("Why?", "Describe this field.", "Is a leukocyte present?")


def greedy_by_plain_forward(model, prompts, row, count, end):
    """The likeliest next token, again and again, each from a whole forward without cache."""
    real = prompts["attention_mask"][row].bool()
    ids = prompts["input_ids"][row][real][None]
    drawn = []
    for _ in range(count):
        with torch.no_grad():
            logits = model(
                input_ids=ids, pixel_values=prompts["pixel_values"][row : row + 1], use_cache=False
            ).logits
        token = int(logits[0, -1].argmax())
        drawn.append(token)
        if token == end:
            break
        ids = torch.cat([ids, torch.tensor([[token]])], 1)
    return tuple(drawn)


@pytest.mark.parametrize("side", ["left", "right"])
def test_greedy_sampling_takes_the_likeliest_token_of_the_plain_forward(vlm, make_prompts, side):
    prompts = make_prompts(vlm, QUESTIONS, side)
    found = sample_responses(vlm, prompts, seeds=[[0], [0], [0]], temperature=0, max_new_tokens=6)
    for row, own in enumerate(found):
        assert own[0].token_ids == greedy_by_plain_forward(vlm.model, prompts, row, 6, vlm.tokenizer.eos_token_id)


def test_a_row_draws_the_same_whatever_else_is_in_the_batch(vlm, make_prompts):
    prompts = make_prompts(vlm, QUESTIONS)
    together = sample_responses(
        vlm, prompts, seeds=[[1, 2, 3], [4], [5, 6]], temperature=1.0, top_p=0.9, max_new_tokens=20
    )
    alone = {name: value[2:] for name, value in prompts.items()}
    one = sample_responses(vlm, alone, seeds=[[6]], temperature=1.0, top_p=0.9, max_new_tokens=20)[0][0]
    assert one.token_ids == together[2][1].token_ids
    assert one.logp == pytest.approx(together[2][1].logp, abs=1e-4)
    assert len({sample.token_ids for own in together for sample in own}) > 1


def test_log_probabilities_are_those_of_the_forward_at_temperature_one(vlm, make_prompts):
    prompts = make_prompts(vlm, QUESTIONS)
    found = sample_responses(vlm, prompts, seeds=[[1, 2], [3], [4]], temperature=1.7, max_new_tokens=12)
    rows = [sample for own in found for sample in own]
    lengths = torch.tensor([len(sample.token_ids) for sample in rows])
    real = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.zeros(real.shape, dtype=torch.long)
    ids[real] = torch.tensor([token for sample in rows for token in sample.token_ids])
    batch = PromptBatch(prompts, ids, real, real, torch.tensor([0, 0, 1, 2]))
    expected = sequence_logps(forward_responses(vlm.model, batch, mode="plain"), batch)
    assert [sample.logp for sample in rows] == pytest.approx(expected.tolist(), abs=1e-4)


def test_rows_that_end_are_finished_and_the_others_are_not(fresh_vlm, make_prompts):
    end = fresh_vlm.tokenizer.eos_token_id
    prompts = make_prompts(fresh_vlm, QUESTIONS)
    with torch.no_grad():  # make the end a frequent token
        embedding = fresh_vlm.model.model.language_model.embed_tokens.weight
        embedding[end] = embedding.mean(0) + 0.2 * embedding[50]
    found = sample_responses(fresh_vlm, prompts, seeds=[list(range(20))] * 3, temperature=3.0, max_new_tokens=30)
    samples = [sample for own in found for sample in own]
    assert {sample.finished for sample in samples} == {True, False}
    for sample in samples:
        assert sample.finished == (sample.token_ids[-1] == end)
        assert end not in sample.token_ids[:-1]
        assert sample.finished or len(sample.token_ids) == 30
        assert sample.text == fresh_vlm.tokenizer.decode(sample.token_ids, skip_special_tokens=True)
    # Rows are dropped from the batch as they end; those that stay must not be disturbed.
    longest = max(range(20), key=lambda seed: len(found[1][seed].token_ids))
    alone = {name: value[1:2] for name, value in prompts.items()}
    again = sample_responses(fresh_vlm, alone, seeds=[[longest]], temperature=3.0, max_new_tokens=30)[0][0]
    assert again.token_ids == found[1][longest].token_ids


def test_the_image_placeholder_is_never_drawn(fresh_vlm, make_prompts):
    placeholder = fresh_vlm.model.config.image_token_id
    with torch.no_grad():  # make it the likeliest token by far
        embedding = fresh_vlm.model.model.language_model.embed_tokens.weight
        embedding[placeholder] = 100 * embedding.mean(0)
    for temperature in (0, 1.0):
        found = sample_responses(
            fresh_vlm, make_prompts(fresh_vlm, QUESTIONS), seeds=[[1, 2, 3]] * 3, temperature=temperature,
            max_new_tokens=8,
        )  # fmt: skip
        assert not any(placeholder in sample.token_ids for own in found for sample in own)


def test_draws_follow_the_distribution():
    logits = torch.tensor([0.5, 0.3, 0.2]).log().repeat(1000, 1)
    uniform = (torch.arange(1000) + 0.5).double() / 1000
    assert torch.bincount(_draw(logits, uniform, 1.0, 1.0)).tolist() == [500, 300, 200]


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    logits = torch.tensor([0.2, 0.5, 0.3]).log().repeat(800, 1)
    uniform = (torch.arange(800) + 0.5).double() / 800
    assert torch.bincount(_draw(logits, uniform, 1.0, 0.7), minlength=3).tolist() == [0, 500, 300]
    assert torch.bincount(_draw(logits, uniform, 1.0, 0.4), minlength=3).tolist() == [0, 800, 0]


def test_temperature_sharpens_the_distribution():
    logits = torch.tensor([[2 / 3, 1 / 3]]).log().repeat(1000, 1)
    uniform = (torch.arange(1000) + 0.5).double() / 1000
    assert torch.bincount(_draw(logits, uniform, 0.5, 1.0)).tolist() == [800, 200]  # 4 : 1


def test_the_largest_uniform_number_never_draws_an_impossible_token():
    logits = torch.tensor([[0.0, 0.0, -math.inf]])
    assert _draw(logits, torch.tensor([1.0]).double(), 1.0, 1.0).item() == 1


def test_the_model_keeps_its_training_mode(fresh_vlm, make_prompts):
    fresh_vlm.model.train()
    sample_responses(fresh_vlm, make_prompts(fresh_vlm, ("Why?",)), seeds=[[0]], temperature=0, max_new_tokens=1)
    assert fresh_vlm.model.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": [[0]]}, "seeds has 1 lists, expected"),
        ({"seeds": [[0], []]}, "a prompt has no seed"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(vlm, make_prompts, change, message):
    settings = {"seeds": [[0], [0]], "temperature": 1.0, "max_new_tokens": 2} | change
    with pytest.raises(ValueError, match=message):
        sample_responses(vlm, make_prompts(vlm, QUESTIONS[:2]), **settings)
