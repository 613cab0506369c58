import numpy as np
import pytest
from scipy import stats

from vlmalign.evaluation.intervals import cluster_estimate, paired_difference
from vlmalign.evaluation.rare_events import one_sided_bound, rare_interval


def fields(events, n_groups=72, size=4, whole_groups=False):
    """Scores of `size` items in each of `n_groups` groups; the first groups have an event, or nothing else."""
    values = np.zeros((n_groups, size))
    values[:events, : size if whole_groups else 1] = 1
    return values.ravel(), np.repeat(np.arange(n_groups), size)


@pytest.mark.parametrize("n_groups", [20, 72])
@pytest.mark.parametrize("whole_groups", [False, True])
def test_another_event_never_lowers_an_end(n_groups, whole_groups):
    found = [cluster_estimate(*fields(k, n_groups, whole_groups=whole_groups)) for k in range(16)]
    for less, more in zip(found, found[1:], strict=False):
        assert less.low <= more.low + 1e-9 and less.high <= more.high + 1e-9


def test_one_event_of_288_is_no_surer_than_none():
    none, one = cluster_estimate(*fields(0)), cluster_estimate(*fields(1))
    assert none.high == one.high == pytest.approx(1 - 0.025 ** (1 / 72))
    assert one.method.endswith("widened by the exact interval of groups with an event")


def test_where_the_items_of_a_group_agree_the_upper_end_is_the_exact_one():
    # Clopper-Pearson of 1 and 3 of 72: 0.0750, 0.1170
    for k, high in (1, 0.0750), (3, 0.1170):
        assert cluster_estimate(*fields(k, whole_groups=True)).high == pytest.approx(high, abs=1e-4)


def test_rare_non_events_are_the_mirror_of_rare_events():
    for k in (0, 1, 4):
        values, groups = fields(k)
        events, others = cluster_estimate(values, groups), cluster_estimate(1 - values, groups)
        assert (others.low, others.high) == pytest.approx((1 - events.high, 1 - events.low))


def test_events_in_most_groups_are_left_to_the_usual_interval():
    assert rare_interval(0.2, 37, 72) is None
    assert "widened" not in cluster_estimate(*fields(60)).method


@pytest.mark.parametrize("whole_groups", [False, True])
def test_rare_events_are_covered_at_the_stated_rate(whole_groups):
    hits, repeats = 0, 60
    for i in range(repeats):
        chance = np.random.default_rng(i).random((40, 1 if whole_groups else 4))
        values = np.broadcast_to(chance < 0.02, (40, 4)).astype(float)
        estimate = cluster_estimate(values.ravel(), np.repeat(np.arange(40), 4))
        hits += estimate.low <= 0.02 <= estimate.high
    assert hits / repeats >= 0.95


def test_five_groups_that_differ_do_not_tell_two_arms_apart_and_six_do():
    none, five, six = (paired_difference(values, np.zeros(288), groups)
                       for values, groups in map(fields, (0, 5, 6)))  # fmt: skip
    assert (five.low, five.high) == (none.low, none.high)
    assert six.low > 0


def test_from_ten_groups_with_an_event_their_share_of_a_group_is_trusted():
    few, enough = (rare_interval(0.1 * n / 72, n, 72) for n in (9, 10))  # an event takes a tenth of its group
    assert few is not None and few[1] == one_sided_bound(72)
    assert enough is not None and enough[1] < 0.03


def test_the_level_is_that_of_the_exact_interval_and_of_its_floor():
    low, high = rare_interval(18 / 72, 18, 72, 0.5)  # 18 of 72 groups, all of each: Clopper and Pearson's own
    assert (low, high) == pytest.approx((stats.beta.ppf(0.25, 18, 55), stats.beta.ppf(0.75, 19, 54)))
    assert rare_interval(1 / 288, 1, 72, 0.5)[1] == pytest.approx(1 - 0.25 ** (1 / 72))


def test_no_method_calls_two_events_of_five_rare():
    values, groups = fields(28, 70, size=1)  # 40 % of the groups have an event
    assert "rare" not in cluster_estimate(values, groups).method
