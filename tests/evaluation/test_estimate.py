import pytest

from vlmalign.evaluation.estimate import Estimate


def test_an_estimate_of_nothing_has_no_mean_rather_than_zero():
    nothing = Estimate.nothing(excluded=4)
    assert (nothing.mean, nothing.low, nothing.n, nothing.excluded) == (None, None, 0, 4)


@pytest.mark.parametrize(
    ("mean", "low", "high", "n"),
    [
        (0.5, 0.4, 0.6, 0),
        (None, None, None, 3),
        (float("nan"), 0.1, 0.2, 3),
        (0.5, 0.6, 0.4, 3),
        (0.5, 0.4, None, 3),
        (None, 0.1, 0.2, 0),
    ],
)
def test_contradictory_numbers_are_refused(mean, low, high, n):
    with pytest.raises(ValueError):
        Estimate(mean, low, high, n, n_groups=1, excluded=0, method="t")


def test_an_estimate_survives_the_way_through_a_dict():
    estimate = Estimate(0.5, 0.4, 0.6, n=80, n_groups=20, excluded=3, method="t")
    assert Estimate.from_dict(estimate.to_dict()) == estimate
    assert set(estimate.to_dict()) == {"mean", "low", "high", "n", "excluded", "n_groups", "method"}
