import numpy as np
import pytest

from vlmalign.evaluation.intervals import cluster_estimate
from vlmalign.evaluation.power import (
    Differences,
    from_pilot,
    groups_for,
    of_shares,
    power_for,
    power_for_equivalence,
)


def draw(rng, n_groups, size, effect, varies):
    between = varies.std * varies.correlation**0.5
    within = varies.std * (1 - varies.correlation) ** 0.5
    values = effect + rng.normal(0, between, (n_groups, 1)) + rng.normal(0, within, (n_groups, size))
    return values.ravel().tolist(), np.repeat(np.arange(n_groups), size).tolist()


@pytest.mark.parametrize(("n_groups", "size", "correlation"), [(12, 4, 0.3), (24, 1, 0.0)])
def test_the_power_is_that_of_simulated_studies(n_groups, size, correlation):
    varies = Differences(0.4, correlation, size)
    effect = 2.7 * varies.standard_error(n_groups)
    rng, shown = np.random.default_rng(0), 0
    for _ in range(400):
        estimate = cluster_estimate(*draw(rng, n_groups, size, effect, varies), proportion=False)
        shown += estimate.low > 0
    assert shown / 400 == pytest.approx(power_for(n_groups, effect, varies), abs=0.05)


def test_the_power_of_equivalence_is_that_of_simulated_studies():
    varies = Differences(0.3, 0.2, 3)
    rng, shown = np.random.default_rng(1), 0
    for _ in range(400):
        estimate = cluster_estimate(*draw(rng, 28, 3, 0.02, varies), proportion=False, level=0.9)
        shown += -0.12 < estimate.low and estimate.high < 0.12
    assert shown / 400 == pytest.approx(power_for_equivalence(28, varies, margin=0.12, effect=0.02), abs=0.05)


def test_the_number_found_is_the_least_that_reaches_the_power():
    varies = of_shares(0.3, 0.05, correlation=0.1, items_per_group=5)
    n = groups_for(0.05, varies, power=0.9)
    assert power_for(n, 0.05, varies) >= 0.9 > power_for(n - 1, 0.05, varies)


def test_correlated_items_are_worth_less_and_unequal_clusters_less_still():
    alone = groups_for(0.1, Differences(0.5, 0.0, 4))
    correlated = groups_for(0.1, Differences(0.5, 0.5, 4))
    assert correlated / alone == pytest.approx(2.5, rel=0.05)  # design effect 1 + 3 * 0.5
    assert groups_for(0.1, Differences(0.5, 0.5, 4, size_variation=1.0)) > correlated


def test_a_margin_stands_in_for_an_effect():
    varies = Differences(0.5)
    assert groups_for(0.0, varies, margin=0.1) == groups_for(0.1, varies)
    with pytest.raises(ValueError, match="sum > 0"):
        groups_for(-0.1, varies, margin=0.1)


def test_a_pilot_gives_back_what_it_was_drawn_from():
    values, groups = draw(np.random.default_rng(5), 800, 4, 0.1, Differences(0.5, 0.4, 4))
    found = from_pilot([*values, None], [*groups, "x"])
    assert (found.std, found.correlation) == pytest.approx((0.5, 0.4), abs=0.05)
    assert (found.items_per_group, found.size_variation) == (4, 0)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="discordant"):
        of_shares(0.05, 0.1)
    with pytest.raises(ValueError, match="correlation is 2"):
        Differences(1.0, correlation=2)
    with pytest.raises(ValueError, match="differences that vary"):
        from_pilot([1, 1], list("ab"))


def test_a_pilot_of_unequal_clusters_by_hand():
    # means 2/3, 1, 0: MSB (3/36 + 1/4 + 2/4) / 2 = 5/12, MSW (2/3) / 3, m0 (6 - 14/6) / 2 = 11/6
    found = from_pilot([1, 1, 0, 1, 0, 0], list("aaabcc"))
    assert found.correlation == pytest.approx((5 / 12 - 2 / 9) / (5 / 12 + 5 / 6 * 2 / 9))
    assert (found.std, found.items_per_group) == (pytest.approx(0.3**0.5), 2)
    assert found.size_variation == pytest.approx((2 / 3) ** 0.5 / 2)  # of 3, 1, 2
    assert from_pilot([1, 0, 1, 0], list("aabb")).correlation == 0  # less alike than chance


NAN = float("nan")


@pytest.mark.parametrize(
    "plan",
    [
        lambda: power_for(50, NAN, Differences(0.4)),
        lambda: power_for(50, 0.1, Differences(0.4), margin=NAN),
        lambda: power_for(50, 0.1, Differences(0.4), alpha=NAN),
        lambda: power_for_equivalence(50, Differences(0.4), margin=NAN),
        lambda: power_for_equivalence(50, Differences(0.4), margin=-0.1),
        lambda: power_for_equivalence(1, Differences(0.4), margin=0.1),
        lambda: groups_for(0.0, Differences(0.4), margin=NAN),
        lambda: Differences(NAN),
        lambda: Differences(0.4, size_variation=NAN),
    ],
)
def test_what_is_no_number_has_no_power_rather_than_none(plan):
    with pytest.raises(ValueError, match="expected|give two|state the largest"):
        plan()
