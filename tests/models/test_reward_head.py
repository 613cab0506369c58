import pytest
import torch

from vlmalign.models.reward_head import HeadSettings, RewardHead, pool


def test_members_begin_differently_and_read_the_same_states():
    head = RewardHead(8, HeadSettings(members=3, kind="mlp"))
    states = torch.randn(5, 8)
    outputs = head(states)[..., 0]
    assert outputs.shape == (5, 3) and len({round(v, 5) for v in outputs[0].tolist()}) == 3
    torch.testing.assert_close(head(states.expand(3, 5, 8))[..., 0], outputs)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_head_reads_in_single_precision_where_the_model_is_computed_in_bfloat16(kind):
    head, states = RewardHead(64, HeadSettings(kind=kind, members=2)), 3 * torch.randn(5, 64)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(states)
    assert found.dtype == torch.float32 and torch.equal(found, head(states))


def test_the_same_seed_begins_alike():
    one, two = (RewardHead(8, HeadSettings(members=2, seed=5)) for _ in range(2))
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, RewardHead(8, HeadSettings(members=2, seed=6)).weight)


def test_two_layers_are_what_they_say():
    head = RewardHead(4, HeadSettings(kind="mlp"))
    states = torch.randn(3, 4)
    by_hand = (
        torch.nn.functional.silu(states @ head.inner[0].T + head.inner_bias[0]) @ head.weight[0].T + head.bias[0]
    )
    torch.testing.assert_close(head(states)[:, 0], by_hand)


def test_a_dropout_mask_is_the_same_for_every_answer_and_differs_by_draw():
    head = RewardHead(64, HeadSettings(dropout=0.5)).eval()
    states = torch.randn(1, 64).expand(4, 64)
    masks = [head.draw_masks(seed) for seed in (0, 0, 1)]
    first, again, other = (head(states, mask)[:, 0, 0] for mask in masks)
    assert torch.equal(first, again) and (first == first[0]).all() and not torch.equal(first, other)
    assert torch.equal(head(states), head(states))  # in evaluation, without masks, nothing is dropped


def test_what_a_dropout_mask_keeps_is_scaled_up():
    masks = RewardHead(1000, HeadSettings(dropout=0.75)).draw_masks(0)
    for mask in (masks.first, masks.second):
        assert set(mask.unique().tolist()) == {0.0, 4.0} and mask.mean().item() == pytest.approx(1.0, abs=0.2)


def test_a_head_without_dropout_has_no_masks_to_draw():
    with pytest.raises(ValueError, match="the head has dropout 0"):
        RewardHead(4, HeadSettings()).draw_masks(0)


def test_pooling_never_sees_padding():
    hidden = torch.tensor([[[1.0], [2.0], [100.0]], [[4.0], [6.0], [8.0]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert pool(hidden, mask, "last").flatten().tolist() == [2.0, 8.0]
    assert pool(hidden, mask, "mean").flatten().tolist() == [1.5, 6.0]


def test_a_mean_over_hundreds_of_bfloat16_states_is_not_rounded():
    hidden = (3 + torch.randn(2, 700, 4)).bfloat16()
    mask = torch.arange(700) < torch.tensor([[700], [301]])
    exact = [hidden[row].double()[mask[row]].mean(0) for row in range(2)]
    torch.testing.assert_close(pool(hidden, mask, "mean").double(), torch.stack(exact), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "deep"}, "kind is 'deep'"),
        ({"members": 0}, "members is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"outputs": "std"}, "outputs is 'std'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        HeadSettings(**settings)
