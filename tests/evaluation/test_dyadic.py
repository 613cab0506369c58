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


def test_all_right_on_dyads_is_bounded_by_groups_and_not_by_their_combinations():
    names = [Dyad(a, b) for a in "abcd" for b in "abcd" if a < b]
    found = cluster_estimate([1.0] * 6, names)
    assert found.method == "Clopper-Pearson, 4 groups" and found.low == pytest.approx(0.025**0.25)
