import numpy as np
import pytest

from vlmalign.evaluation.seed_variance import monotonicity, over_seeds, seed_variance


def test_seeds_by_hand():
    # std of 0.4, 0.5, 0.6 is 0.1; chi2(2): 0.0506, 7.378; t(2) 4.3027
    found = seed_variance([0.4, 0.5, 0.6], chance=0.25)
    assert found.std == pytest.approx(0.1)
    assert (found.std_low, found.std_high) == pytest.approx((0.0521, 0.6285), abs=1e-3)
    assert (found.signal_to_noise, found.above_chance) == pytest.approx((5.0, 2.5))
    assert found.mean.high == pytest.approx(0.5 + 4.3027 * 0.1 / 3**0.5, abs=1e-4)


def test_one_seed_or_no_spread_has_no_signal_to_noise():
    assert seed_variance([0.5, None]).signal_to_noise is None
    assert seed_variance([0.5, None]).excluded == 1
    assert seed_variance([0.5, 0.5]).signal_to_noise is None
    assert seed_variance([None]).mean.mean is None


def test_the_interval_of_the_std_covers():
    rng = np.random.default_rng(0)
    found = [seed_variance(rng.normal(0.5, 0.02, 5).tolist()) for _ in range(400)]
    assert 0.92 <= np.mean([each.std_low <= 0.02 <= each.std_high for each in found]) <= 0.98


def test_a_falling_score_has_tau_minus_one_and_a_flat_one_none():
    found = monotonicity([[0.5, 0.4, 0.3], [0.3, 0.3, 0.3], [0.6, None, 0.2]])
    assert (found.mean, found.n, found.excluded) == (-1.0, 2, 1)
    assert monotonicity([[0.1]]).mean is None


def test_ties_of_scores_are_those_of_tau_b_and_its_interval_ends_at_one():
    # 0.1 0.1 0.2: two pairs rise, one is tied: 2 / sqrt(3 * 2)
    assert monotonicity([[0.1, 0.1, 0.2]]).mean == pytest.approx(2 / 6**0.5)
    found = monotonicity([[1, 2, 3], [1, 3, 2], [1, 2, 3]])
    assert (found.mean, found.high) == (pytest.approx(7 / 9), 1.0)


def test_seeds_that_score_alike_have_no_interval_of_no_width():
    found = seed_variance([0.1 + 0.2, 0.3, 0.3])  # alike but for rounding
    assert (found.mean.low, found.mean.high, found.std_low, found.std_high) == (None,) * 4
    assert found.mean.method == "no interval: all 3 seeds alike"
    rises = monotonicity([[1, 2, 3]] * 4)
    assert (rises.mean, rises.low, rises.method) == (1.0, None, "no interval: all 4 seeds alike")
    assert over_seeds([0.3, 0.3, 0.301]).low is not None
