import numpy as np
import pytest

from vlmalign.evaluation.intervals import cluster_estimate, cluster_interval, paired_difference
from vlmalign.records.preference import Dyad


def test_few_equal_groups_give_the_t_interval_on_their_means():
    # group means 0.5, 1, 0, 0.5: mean 0.5, sd sqrt(1/6) = 0.40825, se 0.204124, t(3) = 3.182446
    values = [1, 0, 1, 1, 0, 0, 0, 1]
    estimate = cluster_estimate(values, list("aabbccdd"), proportion=False)
    assert estimate.mean == 0.5
    assert estimate.low == pytest.approx(0.5 - 0.649613, abs=1e-5)
    assert estimate.high == pytest.approx(0.5 + 0.649613, abs=1e-5)
    assert (estimate.n, estimate.n_groups) == (8, 4)


def test_the_interval_of_a_proportion_stays_between_zero_and_one():
    estimate = cluster_estimate([1, 0, 1, 1, 0, 0, 0, 1], list("aabbccdd"))
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_the_mean_is_over_items_also_when_groups_differ_in_size():
    estimate = cluster_estimate([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert estimate.mean == 0.75


def test_many_groups_give_a_bootstrap_interval_close_to_the_normal_one():
    # 400 singletons, half of them 1: se = 0.5 / sqrt(400) = 0.025
    estimate = cluster_estimate([0, 1] * 200, range(400))
    assert "bootstrap" in estimate.method
    assert estimate.low == pytest.approx(0.5 - 0.049, abs=0.006)
    assert estimate.high == pytest.approx(0.5 + 0.049, abs=0.006)


def test_a_bootstrap_keeps_groups_together():
    # ten copies of each of 40 values carry no more than the 40 do
    values = [0, 1] * 20
    alone = cluster_estimate(values, range(40))
    copied = cluster_estimate(np.repeat(values, 10), np.repeat(np.arange(40), 10))
    assert (alone.low, alone.high) == (copied.low, copied.high)


def test_the_bootstrap_is_seeded():
    values, groups = list(np.random.default_rng(0).random(50)), range(50)
    assert cluster_estimate(values, groups, seed=1) == cluster_estimate(values, groups, seed=1)
    assert cluster_estimate(values, groups, seed=1) != cluster_estimate(values, groups, seed=2)


def test_no_event_in_ten_groups_leaves_thirty_one_per_cent_possible():
    # 1 - 0.025 ** (1 / 10)
    estimate = cluster_estimate([0] * 50, [i % 10 for i in range(50)])
    assert (estimate.mean, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(0.308497, abs=1e-6)


def test_only_events_in_ten_groups_leave_sixty_nine_per_cent_possible():
    estimate = cluster_estimate([1] * 50, [i % 10 for i in range(50)])
    assert (estimate.mean, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.691503, abs=1e-6)


def test_excluded_values_are_counted_and_never_zeros():
    estimate = cluster_estimate([1, None, 0.5, None], list("abcd"), excluded=2)
    assert estimate.mean == 0.75
    assert (estimate.n, estimate.n_groups, estimate.excluded) == (2, 2, 4)


def test_nothing_scored_has_no_mean_and_no_interval():
    estimate = cluster_estimate([None, None], ["a", "b"])
    assert (estimate.mean, estimate.low, estimate.high, estimate.excluded) == (None, None, None, 2)


def test_a_single_group_has_a_mean_but_no_interval():
    estimate = cluster_estimate([1, 0, 1, 1], ["a"] * 4)
    assert (estimate.mean, estimate.low, estimate.n_groups) == (0.75, None, 1)


@pytest.mark.parametrize("values", [[0.5, float("nan")], [0.5, float("inf")]])
def test_a_number_that_is_not_finite_is_refused(values):
    with pytest.raises(ValueError, match="None"):
        cluster_estimate(values, ["a", "b"])


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="groups"):
        cluster_estimate([1, 0], ["a"])
    with pytest.raises(ValueError, match="pair them"):
        paired_difference([1, 0], [1], ["a", "b"])


def test_a_proportion_above_one_is_refused():
    with pytest.raises(ValueError, match="1.5"):
        cluster_estimate([0.5, 1.5], ["a", "b"], proportion=True)


def test_seeds_are_the_units_when_there_are_several():
    # seed means 0.2, 0.4, 0.6: mean 0.4, se 0.2 / sqrt(3) = 0.11547, t(2) = 4.302653
    values = [0.1, 0.3, 0.3, 0.5, 0.5, 0.7]
    estimate = cluster_estimate(values, list("ababab"), seeds=[1, 1, 2, 2, 3, 3], proportion=False)
    assert estimate.mean == pytest.approx(0.4)
    assert estimate.high - estimate.mean == pytest.approx(0.496828, abs=1e-5)
    assert estimate.n_groups == 6


def test_groups_that_recur_under_every_seed_widen_the_interval_when_called_crossed():
    # all variation lies between the two groups, none between the seeds
    values, groups, seeds = [0.0, 1.0] * 3, list("ab") * 3, [1, 1, 2, 2, 3, 3]
    nested = cluster_estimate(values, groups, seeds=seeds, proportion=False)
    crossed = cluster_estimate(values, groups, seeds=seeds, crossed=True, proportion=False)
    assert (nested.low, nested.method) == (None, "no interval: all seeds alike")
    # without a, or b, 1 and 0: variance 0.25 of the groups alone; t(1) = 12.7062
    assert crossed.high - crossed.mean == pytest.approx(12.7062 * 0.5, abs=1e-3)
    assert crossed.n_groups == 2


def test_crossed_seeds_and_groups_add_both_variances_and_take_off_what_is_counted_twice():
    # seed means 0.5, 1.5: 0.25; without a or b 1.5, 0.5: 0.25; without a cell 1 +- 0.25: 0.1875; t(1) = 12.7062
    found = cluster_estimate([0, 1, 1, 2], list("abab"), seeds=[1, 1, 2, 2], crossed=True, proportion=False)
    assert found.high - found.mean == pytest.approx(12.7062 * (0.25 + 0.25 - 0.1875) ** 0.5, abs=1e-3)
    # three seeds, two groups: the fewer of the two decide
    found = cluster_estimate([0.0, 1.0] * 3, list("ab") * 3, seeds=[1, 1, 2, 2, 3, 3], crossed=True)
    assert found.method == "two-way over 3 seeds and 2 groups, t with 1 df"


def test_a_paired_difference_is_antisymmetric():
    rng = np.random.default_rng(3)
    a, b, groups = list(rng.random(60)), list(rng.random(60)), [i // 4 for i in range(60)]
    for seeds in (None, [i // 12 for i in range(60)]):
        forth, back = paired_difference(a, b, groups, seeds), paired_difference(b, a, groups, seeds)
        assert (forth.mean, forth.low, forth.high) == pytest.approx((-back.mean, -back.high, -back.low))


def test_a_paired_difference_leaves_out_an_item_that_either_side_lacks():
    estimate = paired_difference([1, None, 1, 0], [0, 0, None, 0], list("abcd"))
    assert (estimate.mean, estimate.n, estimate.excluded) == (0.5, 2, 2)


def test_two_arms_that_never_differ_are_not_known_to_be_equal():
    estimate = paired_difference([1, 0] * 10, [1, 0] * 10, range(20))
    assert estimate.mean == 0
    assert estimate.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert estimate.low == -estimate.high


def test_pairing_removes_what_the_items_share():
    rng = np.random.default_rng(0)
    difficulty = rng.random(200)
    a, b = difficulty + 0.05, difficulty
    paired = paired_difference(list(a + rng.normal(0, 0.01, 200)), list(b), range(200))
    assert paired.low > 0.04
    assert cluster_estimate(list(a), range(200)).low < cluster_estimate(list(b), range(200)).high


def _clustered(rng, n_groups, size, spread=0.15):
    """Binary items whose chance of 1 varies by group around 0.5 (uniform, +- spread * sqrt(3))."""
    chance = 0.5 + spread * np.sqrt(3) * rng.uniform(-1, 1, n_groups)
    return (rng.random((n_groups, size)) < chance[:, None]).astype(float)


def _coverage(draw, truth, repeats=400):
    hits = 0
    for i in range(repeats):
        estimate = draw(np.random.default_rng(i))
        hits += estimate.low <= truth <= estimate.high
    return hits / repeats


@pytest.mark.parametrize("n_groups", [8, 29, 30, 40])
def test_clustered_intervals_cover_at_the_stated_rate(n_groups):
    def draw(rng):
        return cluster_estimate(_clustered(rng, n_groups, 6).ravel(), np.repeat(np.arange(n_groups), 6))

    assert 0.90 <= _coverage(draw, 0.5) <= 0.98


def test_intervals_that_ignore_the_groups_do_not_cover():
    def draw(rng):
        return cluster_estimate(_clustered(rng, 4, 40, spread=0.25).ravel(), range(160))

    assert _coverage(draw, 0.5, repeats=60) < 0.85


def test_paired_differences_over_five_nested_seeds_cover_at_the_stated_rate():
    def draw(rng):
        effect = 0.1 + rng.normal(0, 0.05, 5)  # training seeds differ in what they bring
        b = np.stack([_clustered(rng, 6, 5) for _ in range(5)])  # (seed, group, item)
        a = b + effect[:, None, None] + rng.normal(0, 0.1, (5, 6, 1)) + rng.normal(0, 0.3, b.shape)
        seeds, groups = np.repeat(np.arange(5), 30), np.tile(np.repeat(np.arange(6), 5), 5)
        return paired_difference(list(a.ravel()), list(b.ravel()), list(groups), list(seeds))

    assert 0.90 <= _coverage(draw, 0.1) <= 0.98


def test_crossed_seeds_and_groups_cover_at_the_stated_rate_where_nested_ones_do_not():
    def difference(rng, crossed):
        d = 0.1 + rng.normal(0, 0.02, (5, 1, 1)) + rng.normal(0, 0.15, (1, 8, 1)) + rng.normal(0, 0.1, (5, 8, 4))
        seeds, groups = np.repeat(np.arange(5), 32), np.tile(np.repeat(np.arange(8), 4), 5)
        return paired_difference(list(d.ravel()), [0.0] * 160, list(groups), list(seeds), crossed=crossed)

    assert 0.90 <= _coverage(lambda rng: difference(rng, True), 0.1, repeats=300) <= 0.995
    assert _coverage(lambda rng: difference(rng, False), 0.1, repeats=300) < 0.85


@pytest.mark.parametrize("n_groups", [12, 36])
def test_proportions_near_an_end_cover_at_the_stated_rate(n_groups):
    def draw(rng):
        chance = rng.beta(0.95 * 6, 0.05 * 6, n_groups)  # 95 % right on average, groups differ
        values = (rng.random((n_groups, 4)) < chance[:, None]).astype(float)
        return cluster_estimate(values.ravel(), np.repeat(np.arange(n_groups), 4))

    assert _coverage(draw, 0.95, repeats=300) >= 0.92


def test_paired_shares_that_rarely_differ_cover_at_the_stated_rate():
    def draw(rng):
        tilt = rng.choice([-0.06, 0.1], size=(34, 1))  # 2 points better on average
        differ = np.where(rng.random((34, 4)) < np.abs(tilt), np.sign(tilt), 0.0)
        a = np.maximum(differ, 0)
        return paired_difference(a.ravel(), (a - differ).ravel(), np.repeat(np.arange(34), 4))

    assert _coverage(draw, 0.02, repeats=300) >= 0.92


def test_thirty_groups_are_the_first_that_are_bootstrapped():
    values = [float(k % 3) for k in range(30)]
    assert cluster_estimate(values[:29], range(29)).method == "t, 28 df, over 29 groups"
    assert cluster_estimate(values, range(30)).method == "cluster bootstrap, 30 groups, 2000 resamples"


def test_an_arm_that_is_always_better_may_still_lose_in_groups_that_were_not_seen():
    always = paired_difference([1] * 10, [0] * 10, range(10))
    assert (always.mean, round(always.low, 4), always.high) == (1, round(1 - 2 * 0.3085, 4), 1)
    never = paired_difference([0] * 10, [1] * 10, range(10))
    assert (never.low, round(never.high, 4)) == (-1, round(-1 + 2 * 0.3085, 4))


def test_every_resample_draws_as_many_groups_as_there_are():
    drawn = []

    def statistic(weights):
        drawn.append(weights)
        return weights @ np.ones(weights.shape[1])

    cluster_interval(statistic, 40)
    (weights,) = drawn
    assert weights.shape == (2000, 40) and (weights.sum(axis=1) == 40).all()


def test_a_difference_of_shares_ends_at_one():
    found = paired_difference([1, 0], [0, 0], "ab")
    assert (found.mean, found.low, found.high) == (0.5, -1, 1)
    for a, b in (([10, 0], [0, 0]), ([0, 0], [-10, 0])):  # not shares
        assert paired_difference(a, b, "ab").high > 1


def test_nothing_but_ties_is_no_certain_half():
    found = cluster_estimate([0.5] * 10, range(10), proportion=True)
    bound = 1 - 0.025 ** (1 / 10)
    assert found.mean == 0.5 and (found.low, found.high) == pytest.approx((0.5 - bound / 2, 0.5 + bound / 2))
    assert cluster_estimate([0.5] * 10, ["a"] * 10, proportion=True).low is None


@pytest.mark.parametrize(
    ("groups", "seeds"),
    [
        (list("zabbc"), None),
        (list("zabab"), [9, 1, 1, 2, 2]),
        ([Dyad("y", "z"), Dyad("a", "b"), Dyad("b", "c"), Dyad("d", "e"), Dyad("e", "a")], None),
    ],
)
def test_a_value_that_is_left_out_takes_its_own_group_and_seed_along(groups, seeds):
    found = cluster_estimate([None, 1, 2, 4, 7], groups, seeds=seeds, proportion=False)
    left = cluster_estimate([1, 2, 4, 7], groups[1:], seeds=seeds and seeds[1:], proportion=False, excluded=1)
    assert found == left


DESIGNS = {  # every way in which an interval is made
    "t": lambda level: cluster_estimate([0.1, 0.9, 0.4, 0.5], range(4), level=level),
    "cluster bootstrap": lambda level: cluster_estimate([0.1, 0.9, 0.4, 0.5] * 10, range(40), level=level),
    "Clopper-Pearson": lambda level: cluster_estimate([0] * 8, range(8), level=level),
    "Clopper-Pearson, 9": lambda level: paired_difference([0] * 9, [1] * 9, range(9), level=level),
    "cluster bootstrap, 36 groups, 2000 resamples, widened as only 3": lambda level: paired_difference(
        [1] * 3 + [0] * 33, [0] * 36, range(36), level=level
    ),
    "t, 2 df, over 3 seeds": lambda level: cluster_estimate([1, 2, 4], "abc", seeds=[1, 2, 3], level=level),
    "two-way": lambda level: cluster_estimate(
        [0, 1, 1, 2], "abab", seeds=[1, 1, 2, 2], crossed=True, level=level
    ),
    "dyadic": lambda level: cluster_estimate(
        [1, 5, 2], [Dyad("a", "b"), Dyad("b", "c"), Dyad("d", "e")], level=level
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", DESIGNS)
def test_a_lower_level_gives_a_narrower_interval_however_it_is_made(method):
    wide, narrow = DESIGNS[method](0.95), DESIGNS[method](0.5)
    assert wide.method.startswith(method) and narrow.method.startswith(method)
    assert narrow.high < wide.high and (wide.low < narrow.low or wide.low == wide.mean)


def test_a_few_groups_that_differ_are_left_to_t_below_thirty_groups():
    found = paired_difference([1, 1] + [0] * 18, [0] * 20, range(20))
    assert found.method == "t, 19 df, over 20 groups"


def test_a_group_of_another_seed_is_another_group_that_differs():
    a = ([1] * 3 + [0] * 17) * 2  # three in each of two seeds: six, enough to tell the arms apart
    found = paired_difference(a, [0] * 40, [*range(20)] * 2, [1] * 20 + [2] * 20)
    assert found.n_groups == 40 and "widened" not in found.method


def test_dyads_of_several_seeds_are_clustered_by_seed():
    groups = [Dyad("a", "b"), Dyad("b", "c")] * 2
    assert cluster_estimate([1, 0, 0, 0], groups, seeds=[1, 1, 2, 2]).method == "t, 1 df, over 2 seeds"


def test_seeds_of_one_mean_and_varying_items_have_no_interval_of_no_width():
    found = cluster_estimate([1, 0, 0, 1, 1, 0], list("abcdef"), seeds=[1, 1, 2, 2, 3, 3])
    assert (found.mean, found.low, found.method) == (0.5, None, "no interval: all seeds alike")
