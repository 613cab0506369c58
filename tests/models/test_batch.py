from dataclasses import replace

import pytest
import torch

from vlmalign.models import PromptBatch
from vlmalign.models.batch import align_left


def test_slots_count_the_responses_of_each_prompt(batch):
    assert batch.slots.tolist() == [0, 1, 2, 0, 0, 1]


def test_a_prompt_without_response_is_refused_by_row(batch):
    with pytest.raises(ValueError, match=r"prompts \[1\] have no response"):
        replace(batch, prompt_index=torch.tensor([0, 0, 0, 0, 2, 2]))


def test_an_unsorted_prompt_index_is_refused(batch):
    with pytest.raises(ValueError, match="ascending"):
        replace(batch, prompt_index=torch.tensor([0, 0, 1, 0, 2, 2]))


def test_a_prompt_index_out_of_range_is_refused(batch):
    with pytest.raises(ValueError, match=r"expected values in 0\.\.2"):
        replace(batch, prompt_index=torch.tensor([0, 0, 0, 1, 2, 3]))


def test_a_loss_on_padding_is_refused_by_row(batch):
    loss = batch.loss_mask.clone()
    loss[1, 3] = True
    with pytest.raises(ValueError, match=r"marks padding in response rows \[1\]"):
        replace(batch, loss_mask=loss)


def test_left_padded_responses_are_refused(batch):
    flipped = batch.response_mask.flip(1)
    with pytest.raises(ValueError, match="not padded on the right"):
        replace(batch, response_mask=flipped, loss_mask=flipped)


def test_an_empty_response_is_refused_by_row(batch):
    real = batch.response_mask.clone()
    real[3] = False
    with pytest.raises(ValueError, match=r"rows \[3\] have no real token"):
        replace(batch, response_mask=real, loss_mask=real)


def test_a_mask_of_another_shape_is_refused_with_both_shapes(batch):
    with pytest.raises(ValueError, match=r"loss_mask has shape \(6, 4\).*expected \(6, 5\)"):
        replace(batch, loss_mask=batch.loss_mask[:, :4])


def test_padding_between_prompt_tokens_is_refused(batch):
    mask = batch.prompts["attention_mask"].clone()
    mask[2, 4] = 0
    with pytest.raises(ValueError, match=r"prompt rows \[2\] have padding between"):
        replace(batch, prompts={**batch.prompts, "attention_mask": mask})


def test_padding_on_both_sides_is_allowed_and_moved_to_the_left():
    prompts = {"input_ids": torch.tensor([[0, 5, 6, 0], [1, 2, 3, 4]])}
    prompts["attention_mask"] = (prompts["input_ids"] > 0).long()
    ids = torch.tensor([[1], [1]])
    PromptBatch(prompts, ids, ids > 0, ids > 0, torch.tensor([0, 1]))
    moved = align_left(prompts)
    assert moved["input_ids"].tolist() == [[0, 0, 5, 6], [1, 2, 3, 4]]
    assert moved["attention_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]


def test_moving_to_a_device_keeps_every_tensor(batch):
    moved = batch.to("cpu")
    assert moved.prompts.keys() == batch.prompts.keys()
    assert torch.equal(moved.response_ids, batch.response_ids)
