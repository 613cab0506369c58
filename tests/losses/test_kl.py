import math

import pytest
import torch

from vlmalign.losses.kl import adapted_coefficient, kl_estimate

LOGPS = torch.tensor([[0.5, 0.2]]).log()
REFERENCE = torch.tensor([[0.25, 0.4]]).log()


def test_the_three_estimates_by_hand():
    ln2 = math.log(2)
    assert kl_estimate(LOGPS, REFERENCE, "k1")[0].tolist() == pytest.approx([ln2, -ln2])
    assert kl_estimate(LOGPS, REFERENCE, "k2")[0].tolist() == pytest.approx([ln2**2 / 2] * 2)
    assert kl_estimate(LOGPS, REFERENCE, "k3")[0].tolist() == pytest.approx([0.5 - 1 + ln2, 2 - 1 - ln2])


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_unbiased_estimates_average_to_the_exact_kl(estimator):
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    exact = (policy * (policy / reference).log()).sum()
    each = kl_estimate(policy.log()[None], reference.log()[None], estimator)[0]
    assert float((policy * each).sum()) == pytest.approx(float(exact), abs=1e-6)


def test_k2_has_the_gradient_of_the_kl_in_expectation_and_k1_has_none():
    logits, reference = torch.tensor([0.3, -0.2, 0.5], requires_grad=True), torch.tensor([0.3, 0.3, 0.4])

    def gradient(value):
        return torch.autograd.grad(value, logits)[0]

    def sampled(estimator):  # the tokens are drawn, so their probabilities are constants
        logps = logits.log_softmax(0)
        return gradient(
            (logps.exp().detach() * kl_estimate(logps[None], reference.log()[None], estimator)[0]).sum()
        )

    logps = logits.log_softmax(0)
    exact = gradient((logps.exp() * (logps - reference.log())).sum())
    torch.testing.assert_close(sampled("k2"), exact)
    assert sampled("k1").abs().max() < 1e-6


def test_a_coefficient_follows_its_target_within_its_bound():
    def after(kl):
        return adapted_coefficient(0.1, kl, target=4.0, answers=50, horizon=100)

    assert after(4.0) == 0.1
    assert after(4.4) == pytest.approx(0.1 * (1 + 0.1 * 0.5))
    assert after(400.0) == pytest.approx(0.11) and after(0.0) == pytest.approx(0.09)


def test_a_round_of_more_answers_than_the_horizon_never_turns_the_pull_round():
    assert adapted_coefficient(0.1, 0.0, target=4.0, answers=512, horizon=10) == pytest.approx(0.08)
    assert adapted_coefficient(0.1, 99.0, target=4.0, answers=512, horizon=10) == pytest.approx(0.12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kl_estimate(LOGPS, REFERENCE, "k4"), "estimator is 'k4', expected k1, k2 or k3"),
        (
            lambda: kl_estimate(LOGPS, REFERENCE[:, :1]),
            r"reference has shape \(1, 1\), expected \(1, 2\) like logps",
        ),
        (lambda: kl_estimate(LOGPS[0], REFERENCE[0]), r"logps has shape \(2,\), expected \(N, T\)"),
        (lambda: adapted_coefficient(0.1, 1.0, target=0.0, answers=1, horizon=1.0), "target is 0.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
