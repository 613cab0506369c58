import numpy as np
import pytest

from vlmalign.evaluation import cluster_estimate, paired_difference
from vlmalign.evaluation.dyadic import dyadic_mean
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


def test_sums_that_cancel_leave_the_variance_of_independent_items():
    groups = [Dyad("a", "b"), Dyad("b", "c"), Dyad("c", "d"), Dyad("d", "a")]
    found = dyadic_mean(np.array([1.0, 0.0, 1.0, 0.0]), groups)  # each group's residuals add up to 0
    assert found.high - 0.5 == pytest.approx(3.182446 * (1 / 16 * 4 / 3) ** 0.5, abs=1e-4)
    assert dyadic_mean(np.array([1.0, 0.0, 1.0, 1.0]), groups, proportion=True).high == 1.0
