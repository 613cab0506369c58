import numpy as np
import pytest

from vlmalign.evaluation import cluster_estimate, paired_difference
from vlmalign.evaluation.dyadic import dyadic_interval, dyadic_mean
from vlmalign.evaluation.error_detection import error_auroc
from vlmalign.evaluation.intervals import estimate_statistic, number_cells, ratio_statistic
from vlmalign.records.preference import Dyad


def test_the_variance_by_hand():
    values = np.array([1.0, 0.0, 0.0, 1.0])
    groups = [Dyad("a", "b"), Dyad("b", "c"), Dyad("c", "d"), Dyad("d", "a")]
    # residuals .5 -.5 -.5 .5: sums a 1, b 0, c -1, d 0; 2 - 4 * .25 = 1, which is the independent items' too
    found = dyadic_mean(values, groups)
    half = 3.182446 * (1 / 16 * 4 / 3) ** 0.5
    assert found.mean == 0.5 and found.high - 0.5 == pytest.approx(half, abs=1e-4)


def test_groups_alone_are_clusters():
    values, groups = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0]), list("aabbcc")
    t = cluster_estimate(values.tolist(), groups, proportion=False)
    found = dyadic_mean(values, groups)
    assert (found.low, found.high) == (pytest.approx(t.low), pytest.approx(t.high))


def coverage(estimate, seeds=100):
    """How often the interval holds the truth, 0, where each group moves all of its items."""
    hits = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        effect = rng.normal(size=24)
        dyads = [tuple(rng.choice(24, 2, replace=False)) for _ in range(60)]
        values = [float(effect[a] + effect[b] + 0.5 * rng.normal()) for a, b in dyads]
        found = estimate(values, [Dyad(*sorted((f"{a:02}", f"{b:02}"))) for a, b in dyads])
        hits += found.low <= 0 <= found.high
    return hits / seeds


def test_the_interval_holds_where_items_share_groups_and_that_of_separate_pairs_does_not():
    assert coverage(lambda v, g: cluster_estimate(v, g, proportion=False)) > 0.88
    assert coverage(lambda v, g: cluster_estimate(v, [" + ".join(d) for d in g], proportion=False)) < 0.8


def test_differences_of_dyads_are_dyadic_and_equal_values_are_not_certain():
    groups = [Dyad("a", "b"), Dyad("c", "d"), Dyad("e", "f")]
    assert "dyadic" in paired_difference([1.0, 0.0, 1.0], [0.0, 0.0, 1.0], groups).method
    assert cluster_estimate([1.0, 1.0, 1.0], groups).method.startswith("Clopper-Pearson")


def test_few_events_are_as_wide_as_the_exact_interval_of_half_as_many_groups():
    """2 of 176 pairs of images, as LLaVA-Med's in MediConfusion; no two pairs share an image."""
    groups = [Dyad(f"{k:03}a", f"{k:03}b") for k in range(176)]
    two = cluster_estimate([1.0, 1.0] + [0.0] * 174, groups)
    assert two.high == pytest.approx(0.04044, abs=1e-5) and two.low == 0.0  # Clopper-Pearson of 2 of 176, t's low
    none = cluster_estimate([0.0] * 176, groups)
    assert (none.n_groups, none.low, none.high) == (352, 0.0, pytest.approx(1 - 0.025 ** (1 / 176)))
    mirror = cluster_estimate([0.0, 0.0] + [1.0] * 174, groups)
    assert (mirror.low, mirror.high) == pytest.approx((1 - two.high, 1 - two.low))


def test_an_event_of_one_image_in_many_pairs_is_one_event():
    rest = [Dyad(f"{k:02}x", f"{k:02}y") for k in range(40)]
    apart = cluster_estimate([1.0] * 4 + [0.0] * 40, [Dyad(f"{k}p", f"{k}q") for k in range(4)] + rest)
    shared = cluster_estimate([1.0] * 4 + [0.0] * 40, [Dyad("0p", f"{k}q") for k in range(4)] + rest)
    assert shared.mean == apart.mean and shared.high > apart.high and shared.low < apart.low


def rare_pairs(seed, chance):
    """60 pairs of 40 images; an image that has the event has it in each of its pairs."""
    rng = np.random.default_rng(seed)
    event = rng.random(40) < 1 - (1 - chance) ** 0.5
    pairs = {tuple(sorted(rng.choice(40, 2, replace=False).tolist())) for _ in range(60)}
    return [float(event[a] or event[b]) for a, b in pairs], [Dyad(f"{a:02}", f"{b:02}") for a, b in pairs]


def test_rare_events_of_pairs_that_share_images_are_covered_at_the_stated_rate():
    found = [cluster_estimate(*rare_pairs(seed, 0.05)) for seed in range(100)]
    assert np.mean([each.low <= 0.05 <= each.high for each in found]) >= 0.94


def test_pairs_that_differ_through_one_image_do_not_tell_two_arms_apart():
    rest = [Dyad(f"{k:02}x", f"{k:02}y") for k in range(60)]
    a, b = [1.0] * 8 + [0.0] * 60, [0.0] * 68
    shared = paired_difference(a, b, [Dyad("0p", f"{k}q") for k in range(8)] + rest)
    apart = paired_difference(a, b, [Dyad(f"{k}p", f"{k}q") for k in range(8)] + rest)
    assert shared.low < 0 < apart.low


def mean_by_weights(values, groups):
    """The mean as other statistics are estimated, by weights of cells."""
    cells, seeds, cell_groups = number_cells(groups, None, False)
    sums, sizes = (np.bincount(cells, w).astype(float) for w in (values, np.ones(len(values))))
    return estimate_statistic(ratio_statistic(sums, sizes), seeds, cell_groups, n=len(values), excluded=0)


def test_the_jackknife_of_a_mean_is_the_dyadic_interval_of_it():
    rng = np.random.default_rng(0)
    effect = rng.normal(size=40)
    groups = [Dyad(f"{a:02}", f"{b:02}") for a in range(40) for b in range(a + 1, min(a + 5, 40))]
    values = [effect[int(a)] + effect[int(b)] + rng.normal() for a, b in groups]
    exact, found = dyadic_mean(np.array(values), groups), mean_by_weights(values, groups)
    assert found.mean == pytest.approx(exact.mean) and found.n_groups == exact.n_groups == 40
    assert found.high - found.low == pytest.approx(exact.high - exact.low, rel=0.05)
    assert "dyadic jackknife, t with 39 df" in found.method


def test_any_statistic_of_dyads_holds_where_that_of_separate_pairs_does_not():
    assert coverage(mean_by_weights) > 0.88
    assert coverage(lambda v, g: mean_by_weights(v, [" + ".join(d) for d in g])) < 0.8


def test_an_auroc_of_dyads_counts_groups_and_is_wider_than_that_of_separate_pairs():
    rng = np.random.default_rng(1)
    effect, shade = rng.normal(size=(2, 24))
    dyads = [sorted(rng.choice(24, 2, replace=False)) for _ in range(150)]
    wrong = [float(effect[a] + effect[b] + 0.3 * rng.normal() > 0) for a, b in dyads]
    unsure = [float(shade[a] + shade[b] + 0.3 * rng.normal()) for a, b in dyads]
    groups = [Dyad(f"{a:02}", f"{b:02}") for a, b in dyads]
    dyadic, apart = (error_auroc(unsure, wrong, g) for g in (groups, [" + ".join(d) for d in groups]))
    assert dyadic.mean == apart.mean and dyadic.n_groups == 24 < apart.n_groups
    assert dyadic.high - dyadic.low > 1.2 * (apart.high - apart.low)


def test_dyads_of_a_single_cell_have_no_interval():
    assert mean_by_weights([1.0, 0.0], [Dyad("a", "b")] * 2).low is None
    assert dyadic_interval(lambda weights: weights[:, 0], np.array([[0, 0], [0, 0]])) is None


def test_sums_that_cancel_leave_the_variance_of_independent_items():
    groups = [Dyad("a", "b"), Dyad("b", "c"), Dyad("c", "d"), Dyad("d", "a")]
    found = dyadic_mean(np.array([1.0, 0.0, 1.0, 0.0]), groups)  # each group's residuals add up to 0
    assert found.high - 0.5 == pytest.approx(3.182446 * (1 / 16 * 4 / 3) ** 0.5, abs=1e-4)
    assert dyadic_mean(np.array([1.0, 0.0, 1.0, 1.0]), groups, proportion=True).high == 1.0
