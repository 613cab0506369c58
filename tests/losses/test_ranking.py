import math

import pytest
import torch

from vlmalign.losses import dpo_loss, plackett_luce_loss, ranked_pairs


def test_four_answers_of_four_ranks_give_six_pairs_each_with_the_better_one_chosen():
    ranks = torch.tensor([3, 1, 4, 2])
    pairs = ranked_pairs(ranks, torch.zeros(4, dtype=torch.long))
    assert len(pairs.chosen) == 6 and (ranks[pairs.chosen] < ranks[pairs.rejected]).all()


def test_ties_and_answers_to_other_prompts_give_no_pair():
    pairs = ranked_pairs(torch.tensor([1, 1, 1, 2]), torch.tensor([0, 0, 1, 1]))
    assert (pairs.chosen.tolist(), pairs.rejected.tolist()) == ([2], [3])
    none = ranked_pairs(torch.tensor([1, 1]), torch.tensor([0, 0]))
    assert none.chosen.shape == none.rejected.shape == (0,)


def test_plackett_luce_of_two_answers_is_dpo():
    ratios = torch.tensor([[1.0, -1.0], [-2.0, 3.0]])
    loss = plackett_luce_loss(ratios, torch.tensor([[1, 2], [2, 1]]), torch.ones(2, 2).bool(), beta=0.5)
    chosen, rejected = torch.tensor([1.0, 3.0]), torch.tensor([-1.0, -2.0])
    torch.testing.assert_close(loss.losses, dpo_loss(chosen, rejected, beta=0.5).losses)


def test_plackett_luce_of_three_by_hand_whatever_their_order():
    def softmax_first(*values):
        return math.exp(values[0]) / sum(map(math.exp, values))

    expected = -math.log(softmax_first(0.3, 0.1, -0.2)) - math.log(softmax_first(0.1, -0.2))
    for order in ([0, 1, 2], [2, 0, 1]):
        ratios, ranks = torch.tensor([[3.0, 1.0, -2.0]])[:, order], torch.tensor([[1, 2, 3]])[:, order]
        loss = plackett_luce_loss(ratios, ranks, torch.ones(1, 3).bool(), beta=0.1)
        assert loss.losses.item() == pytest.approx(expected)


def test_an_answer_that_is_not_there_changes_nothing():
    two = plackett_luce_loss(
        torch.tensor([[1.0, -1.0]]), torch.tensor([[1, 2]]), torch.ones(1, 2).bool(), beta=1.0
    )
    ratios = torch.tensor([[1.0, float("nan"), -1.0]], requires_grad=True)
    padded = plackett_luce_loss(ratios, torch.tensor([[1, 0, 2]]), torch.tensor([[True, False, True]]), beta=1.0)
    torch.testing.assert_close(padded.losses, two.losses)
    padded.losses.sum().backward()
    assert ratios.grad[0, 1] == 0 and ratios.grad.isfinite().all()


def test_answers_that_are_all_tied_have_nothing_to_teach():
    ratios = torch.tensor([[1.0, 5.0]], requires_grad=True)
    loss = plackett_luce_loss(ratios, torch.tensor([[1, 1]]), torch.ones(1, 2).bool(), beta=1.0).losses
    loss.sum().backward()
    assert loss.item() == 0 and ratios.grad.tolist() == [[0.0, 0.0]]


def test_shapes_and_settings_are_checked():
    ones = torch.ones(1, 2)
    with pytest.raises(ValueError, match=r"ranks has shape \(2,\), expected \(B, K\)"):
        plackett_luce_loss(ones, torch.ones(2), ones.bool(), beta=0.1)
    with pytest.raises(ValueError, match="beta is 0"):
        plackett_luce_loss(ones, ones, ones.bool(), beta=0)
