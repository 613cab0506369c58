import pytest
import torch

from vlmalign.losses import kto_loss

RATIOS = torch.tensor([3.0, -2.0])
GOOD = torch.tensor([True, False])


def sigmoid(x):
    return torch.tensor(x).sigmoid().item()


def test_kto_by_hand():
    loss = kto_loss(RATIOS, GOOD, torch.tensor([0.5, 1.5]), beta=0.1, desirable_weight=2.0)  # z = 1
    assert loss.losses.tolist() == pytest.approx([2 * (1 - sigmoid(0.2)), 1 - sigmoid(0.3)])
    assert loss.rewards.tolist() == pytest.approx([0.3, -0.2]) and loss.baseline.item() == pytest.approx(0.1)


def test_the_baseline_is_never_negative_and_has_no_gradient():
    mismatched = torch.tensor([-4.0], requires_grad=True)
    ratios = RATIOS.clone().requires_grad_()
    loss = kto_loss(ratios, GOOD, mismatched, beta=0.1)
    assert loss.baseline.item() == 0
    loss.losses.sum().backward()
    assert mismatched.grad is None and ratios.grad[0] < 0 < ratios.grad[1]


@pytest.mark.parametrize("change", [{"beta": 0.0}, {"undesirable_weight": 0.0}, {"mismatched": torch.zeros(0)}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match="expected"):
        kto_loss(**{"ratios": RATIOS, "desirable": GOOD, "mismatched": torch.zeros(1), "beta": 0.1, **change})
