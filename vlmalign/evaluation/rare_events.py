"""Intervals of rare events: what a bootstrap cannot draw, as it was not seen, may still be there."""

from __future__ import annotations

from dataclasses import replace

from scipy import stats

from vlmalign.evaluation.estimate import Estimate

FEW_GROUPS = 10
#: how a method says that the hull with `rare_interval` is told; "rare" would not fit: up to half of the groups
WIDENED = "widened by the exact interval of groups with an event"


def one_sided_bound(n_groups: int, level: float = 0.95) -> float:
    """Upper Clopper-Pearson end for no event in `n_groups` trials, 1 - ((1 - level) / 2) ** (1 / n_groups).

    Example:
        >>> round(one_sided_bound(10), 4)
        0.3085
    """
    return float(1 - ((1 - level) / 2) ** (1 / n_groups))


def unvaried_interval(share: float, n_groups: int, level: float = 0.95) -> tuple[float, float] | None:
    """Ends of a share of which every item has the same value: the groups that might differ, at their worst.

    At 0 and 1 Clopper and Pearson's; where all items are one half (ties) the bound to either side of it. A single
    group tells nothing of any value between.

    Example:
        >>> [round(end, 3) for end in unvaried_interval(0.5, 10)]  # 0.5 -+ 0.5 * 0.3085
        [0.346, 0.654]
        >>> unvaried_interval(0.5, 1) is None
        True
    """
    if n_groups < 2 and share not in (0.0, 1.0):
        return None
    bound = one_sided_bound(n_groups, level)
    return share * (1 - bound), share + (1 - share) * bound


def unvaried_estimate(
    share: float, n: int, n_groups: int, excluded: int, *, units: int | None = None, level: float = 0.95
) -> Estimate:
    """The estimate of n items that all have one value; `units`: independent trials, where not the groups.

    Example:
        >>> found = unvaried_estimate(1.0, 20, 10, 0)
        >>> round(found.low, 4), found.method
        (0.6915, 'Clopper-Pearson, 10 groups')
    """
    trials = n_groups if units is None else units
    ends = unvaried_interval(share, trials, level)
    if ends is None:
        return Estimate(share, None, None, n, n_groups, excluded, "no interval: a single group")
    of = "groups" if units is None else "independent units"
    return Estimate(share, *ends, n, n_groups, excluded, f"Clopper-Pearson, {trials} {of}")


def rare_interval(mean: float, n_events: int, n_groups: int, level: float = 0.95) -> tuple[float, float] | None:
    """Interval of a proportion of which at most half of the groups have an event; None if more have.

    Two things make the bootstrap and t intervals too short there, as they cannot draw what was not seen (Brown,
    Cai & DasGupta 2001, Stat. Sci. 16:101, on intervals of small expected counts):

    * the number of groups with an event: its Clopper-Pearson interval, in proportion, is the mean's. Exact if
      the items of a group always agree; conservative or nearly exact in the other extreme, single events;
    * what share of a group an event takes, of which fewer than `FEW_GROUPS` tell little: until then the upper
      end is no lower than it is without any event, so that it never falls as events are added. In groups of more
      than about five items a step down remains where this ends.

    Args:
        mean: the proportion.
        n_events: groups with an event, at least 1.
        n_groups: G.
        level: coverage aimed at.

    Example:
        >>> low, high = rare_interval(1 / 288, 1, 72)
        >>> round(low, 5), round(high, 4)
        (9e-05, 0.0499)
    """
    if 2 * n_events > n_groups:
        return None
    exact = stats.binomtest(n_events, n_groups).proportion_ci(level, method="exact")
    share = mean * n_groups / n_events
    floor = one_sided_bound(n_groups, level) if n_events < FEW_GROUPS else 0.0
    return share * float(exact.low), min(1.0, max(floor, share * float(exact.high)))


def widen_if_rare(estimate: Estimate, events: int, others: int, level: float) -> Estimate:
    """The hull with `rare_interval`, of the events and of the non-events, counted in groups."""
    if estimate.mean is None or estimate.low is None or estimate.high is None:
        return estimate
    low, high = estimate.low, estimate.high
    rare = rare_interval(estimate.mean, events, estimate.n_groups, level)
    if rare is not None:
        low, high = min(low, rare[0]), max(high, rare[1])
    rare = rare_interval(1 - estimate.mean, others, estimate.n_groups, level)
    if rare is not None:
        low, high = min(low, 1 - rare[1]), max(high, 1 - rare[0])
    if (low, high) == (estimate.low, estimate.high):
        return estimate
    method = f"{estimate.method}, {WIDENED}"
    return replace(estimate, low=low, high=high, method=method)
