import pytest
import torch

from vlmalign.losses import sft_loss


def test_the_loss_is_the_mean_over_an_examples_own_tokens():
    logps = torch.tensor([[-1.0, -2.0, -3.0], [-4.0, -6.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    loss = sft_loss(logps, mask)
    assert loss.losses.tolist() == [2.0, 5.0]
    assert loss.tokens.tolist() == [3, 2]


def test_tokens_outside_the_mask_have_no_gradient_even_where_infinite():
    logps = torch.tensor([[-1.0, -torch.inf]], requires_grad=True)
    sft_loss(logps, torch.tensor([[True, False]])).losses.sum().backward()
    assert logps.grad.tolist() == [[-1.0, 0.0]]


def test_a_user_turn_in_the_middle_does_not_count():
    logps = torch.tensor([[-1.0, -50.0, -3.0]])
    assert sft_loss(logps, torch.tensor([[True, False, True]])).losses.item() == 2.0


def test_an_example_without_tokens_is_refused_by_row():
    with pytest.raises(ValueError, match=r"examples \[1\] have no token"):
        sft_loss(torch.zeros(2, 3), torch.tensor([[True] * 3, [False] * 3]))


def test_sums_over_tokens_are_refused():
    with pytest.raises(ValueError, match=r"logps has shape \(4,\)"):
        sft_loss(torch.zeros(4), torch.ones(4, dtype=torch.bool))
