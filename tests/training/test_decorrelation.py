import numpy as np
import pytest
from scipy.stats import spearmanr

from vlmalign.training.decorrelation import decorrelate

GRID = [i / 100 for i in range(1, 151)]


@pytest.mark.parametrize("slope", [0.7, -0.7, 0.001])
@pytest.mark.parametrize("spread", [1.0, 0.01])
def test_the_smallest_factor_that_reaches_the_bound_is_taken_whatever_the_sign_and_the_spread(slope, spread):
    rng = np.random.default_rng(0)
    verbosity, quality = rng.normal(size=(2, 300))
    objective = spread * (quality + slope * verbosity)
    found = decorrelate(objective, verbosity, bound=0.05, factors=GRID)
    assert found.reached and found.before == pytest.approx(spearmanr(objective, verbosity).statistic)
    after = spearmanr(objective - found.factor * verbosity, verbosity).statistic
    assert found.after == pytest.approx(after) and abs(after) <= 0.05
    if abs(found.before) <= 0.05:
        assert found.factor == 0.0
    else:
        assert np.sign(found.factor) == np.sign(slope)
        step = 0.01 * objective.std() / verbosity.std()
        less = objective - (found.factor - np.copysign(step, slope)) * verbosity
        assert abs(spearmanr(less, verbosity).statistic) > 0.05


def test_a_bound_that_no_factor_reaches_is_said_and_the_best_factor_is_kept():
    verbosity = np.arange(50.0)
    found = decorrelate(verbosity**3, verbosity, bound=0.01, factors=[0.1, 0.2])
    assert not found.reached and abs(found.after) > 0.01 and found.before == pytest.approx(1.0)


def test_scores_that_do_not_differ_are_refused():
    with pytest.raises(ValueError, match="all the same"):
        decorrelate(np.ones(5), np.arange(5.0), bound=0.1, factors=GRID)
    with pytest.raises(ValueError, match="2 answers to measure verbosity on"):
        decorrelate(np.arange(2.0), np.arange(2.0), bound=0.1, factors=GRID)
