import math

import pytest
import torch

from vlmalign.losses import dpo_loss

PAIRS = {
    "policy_chosen": torch.tensor([-10.0, -20.0]),
    "policy_rejected": torch.tensor([-12.0, -15.0]),
    "reference_chosen": torch.tensor([-11.0, -18.0]),
    "reference_rejected": torch.tensor([-11.0, -18.0]),
}


def test_dpo_loss_is_log_two_when_policy_equals_reference():
    a, b = torch.tensor([-3.0, -400.0]), torch.tensor([-7.0, -1.0])
    loss = dpo_loss(a, b, a, b, beta=0.3)
    assert loss.losses.tolist() == pytest.approx([math.log(2)] * 2)
    assert loss.margins.tolist() == [0.0, 0.0]


def test_dpo_loss_by_hand():
    loss = dpo_loss(**PAIRS, beta=0.5)
    assert loss.chosen_rewards.tolist() == [0.5, -1.0]
    assert loss.rejected_rewards.tolist() == [-0.5, 1.5]
    assert loss.margins.tolist() == [1.0, -2.5]
    assert loss.losses.tolist() == pytest.approx([math.log(1 + math.exp(-1.0)), math.log(1 + math.exp(2.5))])


def test_swapping_chosen_and_rejected_flips_the_margin():
    swapped = dpo_loss(
        PAIRS["policy_rejected"],
        PAIRS["policy_chosen"],
        PAIRS["reference_rejected"],
        PAIRS["reference_chosen"],
        beta=0.5,
    )
    assert torch.equal(swapped.margins, -dpo_loss(**PAIRS, beta=0.5).margins)


def test_the_gradient_raises_chosen_and_lowers_rejected_by_the_same():
    chosen, rejected = torch.tensor([-4.0], requires_grad=True), torch.tensor([-4.0], requires_grad=True)
    reference = torch.tensor([-4.0])
    dpo_loss(chosen, rejected, reference, reference, beta=0.2).losses.sum().backward()
    assert chosen.grad.item() == pytest.approx(-0.1) and rejected.grad.item() == pytest.approx(0.1)


def test_label_smoothing_mixes_both_directions():
    plain, swapped = dpo_loss(**PAIRS, beta=0.5).losses, torch.tensor([1.0, -2.5]).sigmoid().neg().log1p().neg()
    smooth = dpo_loss(**PAIRS, beta=0.5, label_smoothing=0.2).losses
    torch.testing.assert_close(smooth, 0.8 * plain + 0.2 * swapped)


def test_a_huge_margin_stays_finite():
    big = torch.tensor([1e4])
    loss = dpo_loss(big, -big, -big, big, beta=1.0, label_smoothing=0.1)
    assert loss.losses.isfinite().all()


def test_token_level_log_probabilities_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"reference_chosen has shape \(2, 7\), expected \(2,\): sum over tokens"):
        dpo_loss(**(PAIRS | {"reference_chosen": torch.zeros(2, 7)}), beta=0.1)


def test_other_numbers_of_examples_are_refused():
    with pytest.raises(
        ValueError, match=r"reference_rejected has shape \(3,\), expected \(2,\) like policy_chosen"
    ):
        dpo_loss(**(PAIRS | {"reference_rejected": torch.zeros(3)}), beta=0.1)


@pytest.mark.parametrize("settings", [{"beta": 0.0}, {"beta": 0.1, "label_smoothing": 0.5}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        dpo_loss(**PAIRS, **settings)
