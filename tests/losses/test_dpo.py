import math

import pytest
import torch

from vlmalign.losses import (
    dpo_loss,
    dpo_positive_loss,
    flex_dpo_loss,
    length_controlled_dpo_loss,
    log_ratios,
    reward_scaled_beta,
    robust_dpo_loss,
    vpo_loss,
)

# Two pairs: log-ratios +1 over -1, and -2 under +3.
CHOSEN = log_ratios(torch.tensor([-10.0, -20.0]), torch.tensor([-11.0, -18.0]))
REJECTED = log_ratios(torch.tensor([-12.0, -15.0]), torch.tensor([-11.0, -18.0]))
ZERO = torch.zeros(2)


def minus_log_sigmoid(*margins):
    return pytest.approx([math.log(1 + math.exp(-m)) for m in margins])


def test_dpo_loss_is_log_two_when_policy_equals_reference():
    same = torch.tensor([-3.0, -400.0])
    loss = dpo_loss(log_ratios(same, same), log_ratios(same, same), beta=0.3)
    assert loss.losses.tolist() == pytest.approx([math.log(2)] * 2)
    assert loss.margins.tolist() == [0.0, 0.0]


def test_dpo_loss_by_hand():
    loss = dpo_loss(CHOSEN, REJECTED, beta=0.5)
    assert loss.chosen_rewards.tolist() == [0.5, -1.0]
    assert loss.rejected_rewards.tolist() == [-0.5, 1.5]
    assert loss.margins.tolist() == [1.0, -2.5]
    assert loss.losses.tolist() == minus_log_sigmoid(1.0, -2.5)


def test_swapping_chosen_and_rejected_flips_the_margin():
    assert torch.equal(dpo_loss(REJECTED, CHOSEN, beta=0.5).margins, -dpo_loss(CHOSEN, REJECTED, beta=0.5).margins)


def test_the_gradient_raises_chosen_and_lowers_rejected_by_the_same():
    chosen, rejected = torch.tensor([0.0], requires_grad=True), torch.tensor([0.0], requires_grad=True)
    dpo_loss(chosen, rejected, beta=0.2).losses.sum().backward()
    assert chosen.grad.item() == pytest.approx(-0.1) and rejected.grad.item() == pytest.approx(0.1)


def test_label_smoothing_mixes_both_directions():
    plain, swapped = dpo_loss(CHOSEN, REJECTED, beta=0.5).losses, dpo_loss(REJECTED, CHOSEN, beta=0.5).losses
    smooth = dpo_loss(CHOSEN, REJECTED, beta=0.5, label_smoothing=0.2).losses
    torch.testing.assert_close(smooth, 0.8 * plain + 0.2 * swapped)


def test_every_pair_may_have_its_own_beta():
    loss = dpo_loss(CHOSEN, REJECTED, beta=torch.tensor([0.5, 0.1]))
    assert loss.margins.tolist() == pytest.approx([1.0, -0.5])


@pytest.mark.parametrize("loss", [
    lambda win, lose: dpo_loss(win, lose, beta=1.0, label_smoothing=0.1),
    lambda win, lose: robust_dpo_loss(win, lose, beta=1.0, flip_rate=0.1),
    lambda win, lose: dpo_positive_loss(win, lose, beta=1.0, penalty=5.0),
    lambda win, lose: flex_dpo_loss(win, lose, beta_chosen=1.0, beta_rejected=0.5),
])  # fmt: skip
def test_a_huge_margin_stays_finite(loss):
    big = torch.tensor([1e4], requires_grad=True)
    for win, lose in ((big, -big), (-big, big)):
        value = loss(win, lose).losses
        assert value.isfinite().all() and torch.autograd.grad(value.sum(), big)[0].isfinite().all()


def test_the_robust_loss_under_flipped_labels_is_on_average_the_loss_of_the_true_ones():
    true, flipped = (robust_dpo_loss(a, b, beta=0.5, flip_rate=0.3).losses
                     for a, b in ((CHOSEN, REJECTED), (REJECTED, CHOSEN)))  # fmt: skip
    torch.testing.assert_close(0.7 * true + 0.3 * flipped, dpo_loss(CHOSEN, REJECTED, beta=0.5).losses)


def test_dpo_positive_punishes_only_a_chosen_answer_that_fell():
    loss = dpo_positive_loss(CHOSEN, REJECTED, beta=0.5, penalty=3.0)
    assert loss.losses.tolist() == minus_log_sigmoid(1.0, 0.5 * (-2 - 3 - 3 * 2))
    assert loss.margins.tolist() == [1.0, -2.5]


def test_dpo_positive_raises_a_fallen_chosen_answer_more_than_it_lowers_the_other():
    chosen, rejected = torch.tensor([-1.0], requires_grad=True), torch.tensor([-1.0], requires_grad=True)
    dpo_positive_loss(chosen, rejected, beta=1.0, penalty=4.0).losses.sum().backward()
    assert chosen.grad.item() == pytest.approx(-5 * rejected.grad.item())


def test_length_control_takes_the_length_that_explains_the_preference_out_of_what_is_learned():
    longer, shorter = torch.tensor([60, 40]), torch.tensor([40, 60])
    loss = length_controlled_dpo_loss(CHOSEN, REJECTED, longer, shorter, beta=0.5, alpha=0.05)
    assert loss.losses.tolist() == minus_log_sigmoid(1.0 + 1.0, -2.5 - 1.0)
    same = length_controlled_dpo_loss(CHOSEN, REJECTED, longer, longer, beta=0.5, alpha=0.05)
    assert torch.equal(same.losses, dpo_loss(CHOSEN, REJECTED, beta=0.5).losses)


def test_flex_dpo_by_hand_and_with_equal_betas_it_is_dpo():
    loss = flex_dpo_loss(CHOSEN, REJECTED, beta_chosen=0.5, beta_rejected=0.2)
    assert loss.losses.tolist() == minus_log_sigmoid(0.5 + 0.2, -1.0 - 0.6)
    equal = flex_dpo_loss(CHOSEN, REJECTED, beta_chosen=0.5, beta_rejected=0.5)
    torch.testing.assert_close(equal, dpo_loss(CHOSEN, REJECTED, beta=0.5))


def test_vpo_lowers_the_calibration_answer_online_and_raises_it_offline():
    for online, sign in ((True, 1), (False, -1)):
        calibration = torch.tensor([2.0, 0.0], requires_grad=True)
        loss = vpo_loss(CHOSEN, REJECTED, calibration, beta=0.5, alpha=0.1, online=online).losses
        torch.testing.assert_close(
            loss.detach(), dpo_loss(CHOSEN, REJECTED, beta=0.5).losses + sign * 0.05 * calibration.detach()
        )
        assert torch.autograd.grad(loss.sum(), calibration)[0].tolist() == pytest.approx([sign * 0.05] * 2)


def test_reward_scaling_gives_a_surer_pair_a_larger_beta_within_its_bounds():
    betas = reward_scaled_beta(torch.tensor([-2.0, 0.0, 1.0, 2.0, 1e6]), beta=0.1, weight=0.5, rate=0.5)
    assert betas.tolist() == pytest.approx([0.1, 0.1, 0.1 * (1.5 - 0.5 * math.exp(-0.5)), 0.131606, 0.15])


def test_changing_the_margin_of_a_pair_changes_its_loss_and_no_other():
    a, b = (
        dpo_loss(CHOSEN, REJECTED, beta=reward_scaled_beta(torch.tensor(m), beta=0.1)).losses
        for m in ([1.0, 1.0], [1.0, 4.0])
    )
    assert a[0] == b[0] and a[1] != b[1]


def test_reward_scaling_refuses_pairs_without_margin_by_number():
    with pytest.raises(ValueError, match=r"margins \[1\] are not finite: reward scaling needs the margin"):
        reward_scaled_beta(torch.tensor([1.0, float("nan")]), beta=0.1)


def test_token_level_log_probabilities_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"reference has shape \(2, 7\), expected \(2,\): sum over tokens"):
        log_ratios(ZERO, torch.zeros(2, 7))


def test_other_numbers_of_examples_are_refused():
    with pytest.raises(ValueError, match=r"rejected has shape \(3,\), expected \(2,\) like chosen"):
        dpo_loss(CHOSEN, torch.zeros(3), beta=0.1)


@pytest.mark.parametrize(("call", "named"), [
    (lambda: dpo_loss(ZERO, ZERO, beta=0.0), "beta is 0.0, expected more than 0"),
    (lambda: dpo_loss(ZERO, ZERO, beta=0.1, label_smoothing=0.5), r"label_smoothing is 0.5, expected \[0, 0.5\)"),
    (lambda: robust_dpo_loss(ZERO, ZERO, beta=0.1, flip_rate=0.5), "flip_rate is 0.5"),
    (lambda: dpo_positive_loss(ZERO, ZERO, beta=0.1, penalty=-1.0), "penalty is -1.0, expected 0 or more"),
    (lambda: flex_dpo_loss(ZERO, ZERO, beta_chosen=0.1, beta_rejected=0.2), "beta_rejected is 0.2, expected at"),
    (lambda: reward_scaled_beta(ZERO, beta=0.1, rate=0.0), "rate is 0.0"),
])  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()
