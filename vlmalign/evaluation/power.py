"""How many patients a comparison of two models needs, and what a given number can show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

#: where searches for a number of clusters end
MOST = 10_000_000


@dataclass(frozen=True)
class Differences:
    """How paired differences of two models vary.

    Attributes:
        std: of a single item's difference.
        correlation: of two items' differences in one cluster (intraclass).
        items_per_group: items of a cluster, on average.
        size_variation: standard deviation of the clusters' sizes over their mean.
    """

    std: float
    correlation: float = 0.0
    items_per_group: float = 1.0
    size_variation: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.std < math.inf and 1 <= self.items_per_group < math.inf
                and 0 <= self.size_variation < math.inf):  # fmt: skip
            raise ValueError(
                f"std={self.std}, items_per_group={self.items_per_group}, size_variation={self.size_variation}: "
                "expected a std > 0, one item at least, and no negative variation"
            )
        if not 0 <= self.correlation <= 1:
            raise ValueError(f"correlation is {self.correlation}: expected 0 to 1")

    @property
    def design_effect(self) -> float:
        """1 + ((1 + cv^2) m - 1) rho (Eldridge et al. 2006, Int. J. Epidemiol. 35:1292).

        Example:
            >>> Differences(0.5, correlation=0.2, items_per_group=6).design_effect
            2.0
        """
        return 1 + ((1 + self.size_variation**2) * self.items_per_group - 1) * self.correlation

    def standard_error(self, n_groups: int) -> float:
        """Of the mean difference over all items of so many clusters."""
        return self.std * (self.design_effect / (n_groups * self.items_per_group)) ** 0.5


def of_shares(discordant: float, difference: float, **clusters: float) -> Differences:
    """Differences of right and wrong answers: variance = (share of items where one alone is right) - difference^2.

    Args:
        discordant: share of items that exactly one model has right.
        difference: of the two shares that are right.
        clusters: further fields of `Differences`.

    Raises:
        ValueError: the difference is larger than the discordant share, which cannot be.

    Example:
        >>> round(of_shares(0.25, 0.05).std, 3)  # sqrt(0.25 - 0.0025)
        0.497
    """
    if not abs(difference) <= discordant <= 1:
        raise ValueError(
            f"a difference of {difference} with {discordant} discordant: |difference| <= discordant <= 1 always"
        )
    return Differences(std=(discordant - difference**2) ** 0.5, **clusters)


def from_pilot(differences: Sequence[float | None], groups: Sequence[Hashable]) -> Differences:
    """Std and intraclass correlation from a pilot's paired differences, by one-way analysis of variance.

    rho = (MSB - MSW) / (MSB + (m0 - 1) MSW), m0 = (N - sum m_g^2 / N) / (G - 1) (Donner 1986, Int. Stat. Rev.
    54:67), from 0 to 1.

    Raises:
        ValueError: fewer than two clusters with a difference, or none that varies.

    Example:
        >>> found = from_pilot([1, 1, 0, 0], list("aabb"))
        >>> round(found.std, 3), found.correlation, found.items_per_group
        (0.577, 1.0, 2.0)
    """
    known = [(float(d), g) for d, g in zip(differences, groups, strict=True) if d is not None]
    sizes = np.array(list(Counter(g for _, g in known).values()), dtype=np.float64)
    n, k = len(known), len(sizes)
    values = np.array([d for d, _ in known])
    if k < 2 or not values.std():
        raise ValueError(f"{n} differences in {k} clusters: give two clusters at least, and differences that vary")
    number = {g: i for i, g in enumerate(dict.fromkeys(g for _, g in known))}
    labels = np.array([number[g] for _, g in known])
    means = np.bincount(labels, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum() / (k - 1))
    within = float(((values - means[labels]) ** 2).sum() / (n - k)) if n > k else 0.0
    typical = (n - float((sizes**2).sum()) / n) / (k - 1)
    rho = 0.0 if n == k else (between - within) / (between + (typical - 1) * within)
    return Differences(
        float(values.std(ddof=1)), min(1.0, max(0.0, rho)), float(sizes.mean()),
        float(sizes.std() / sizes.mean()),
    )  # fmt: skip


def power_for(
    n_groups: int, effect: float, varies: Differences, *, margin: float = 0.0, alpha: float = 0.05
) -> float:
    """Chance that the two-sided 1 - alpha interval of the difference lies above -margin.

    From the noncentral t of G - 1 degrees of freedom, noncentrality (effect + margin) / standard error. margin =
    0: superiority; margin > 0: non-inferiority (effect 0: truly equal).

    Args:
        n_groups: clusters, e.g. patients.
        effect: the true difference.
        varies: see `Differences`.
        margin: of non-inferiority.
        alpha: two-sided.

    Example:
        >>> round(power_for(34, 0.5, Differences(1.0)), 3)  # the one-sample t test of Cohen's tables
        0.808
    """
    _check(n_groups, effect, alpha)
    if not 0 <= margin < math.inf:
        raise ValueError(f"margin is {margin}: expected 0 (superiority) or more (non-inferiority)")
    shift = (effect + margin) / varies.standard_error(n_groups)
    return float(stats.nct.sf(stats.t.ppf(1 - alpha / 2, n_groups - 1), n_groups - 1, shift))


def _check(n_groups: int, effect: float, alpha: float) -> None:
    """Refuse what no power can be computed of; nan would pass for a number, and come back as one."""
    if n_groups < 2:
        raise ValueError(f"n_groups is {n_groups}: give two clusters at least")
    if not math.isfinite(effect):
        raise ValueError(f"effect is {effect}: expected a finite number")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: expected more than 0 and less than 1, e.g. 0.05")


def groups_for(
    effect: float,
    varies: Differences,
    *,
    power: float = 0.8,
    margin: float = 0.0,
    alpha: float = 0.05,
) -> int:
    """The fewest clusters with which `power_for` reaches `power`.

    Raises:
        ValueError: effect + margin is not positive, so that no number helps; power not in (0, 1); or more than
            `MOST` are needed.

    Example:
        >>> groups_for(0.5, Differences(1.0)), groups_for(0.05, of_shares(0.25, 0.05))
        (34, 779)
    """
    if not 0 < effect + margin < math.inf or not 0 < power < 1:
        raise ValueError(
            f"effect {effect} + margin {margin}, power {power}: expected a sum > 0 and a power between 0 and 1"
        )
    return fewest(lambda n: power_for(n, effect, varies, margin=margin, alpha=alpha) >= power, MOST)


def power_for_equivalence(
    n_groups: int, varies: Differences, *, margin: float, effect: float = 0.0, alpha: float = 0.05
) -> float:
    """Chance that the 1 - 2 alpha interval lies within +-margin (Phillips 1990, J. Pharmacokinet. Biopharm.
    18:137).

    By the difference of two noncentral t probabilities, which is the exact power of t intervals of normal data but
    for very few clusters. Of right and wrong answers it is an approximation that is mostly too high: a mean of G
    such differences moves in steps of 1 / G, and so do the ends of a bootstrap's percentile interval, which must
    lie inside the margin by a whole step. Simulated (equal models, one item a cluster; 3,000 to 4,000 studies),
    formula / normal data, t / right and wrong, t / right and wrong, bootstrap:

    * 130 clusters, discordant .155, margin .1: .784 / .785 / .774 / .739;
    * 130 clusters, discordant .058, margin .06: .762 / .762 / .739 / .709;
    * 130 clusters, discordant .0975, margin .08: .793 / .792 / .787 / .804;
    * 60 clusters, discordant .07, margin .1: .788 / - / .752 / .688.

    Example:
        >>> round(power_for_equivalence(100, Differences(0.3), margin=0.1), 3)
        0.904
    """
    _check(n_groups, effect, alpha)
    if not 0 < margin < math.inf:
        raise ValueError(
            f"margin is {margin}: state the largest difference of no interest, e.g. 0.02 for 2 points"
        )
    error, df = varies.standard_error(n_groups), n_groups - 1
    quantile = stats.t.ppf(1 - alpha, df)
    upper = stats.nct.cdf(-quantile, df, (effect - margin) / error)
    lower = stats.nct.cdf(quantile, df, (effect + margin) / error)
    return float(max(0.0, upper - lower))


def groups_for_equivalence(
    varies: Differences,
    *,
    margin: float,
    effect: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """The fewest clusters with which `power_for_equivalence` reaches `power`.

    Raises:
        ValueError: the effect lies outside the margin, so that no number helps; power not in (0, 1); or more than
            `MOST` are needed.

    Example:
        >>> groups_for_equivalence(Differences(0.3), margin=0.1, power=0.9)
        99
    """
    if not abs(effect) < margin or not 0 < power < 1:
        raise ValueError(
            f"effect {effect}, margin {margin}, power {power}: expected |effect| < margin and a power "
            "between 0 and 1"
        )
    return fewest(
        lambda n: power_for_equivalence(n, varies, margin=margin, effect=effect, alpha=alpha) >= power, MOST
    )


def half_width_for(n_groups: int, varies: Differences, *, alpha: float = 0.05) -> float:
    """Half the width of the 1 - alpha t interval of a mean over clusters: t(1 - alpha / 2, G - 1) standard errors.

    Example:
        >>> round(half_width_for(100, of_share(0.8)), 3)  # 1.984 * 0.4 / 10
        0.079
    """
    _check(n_groups, 0.0, alpha)
    return float(stats.t.ppf(1 - alpha / 2, n_groups - 1)) * varies.standard_error(n_groups)


def groups_for_half_width(half_width: float, varies: Differences, *, alpha: float = 0.05) -> int:
    """The fewest clusters with which the interval is no wider than wanted.

    Example:
        >>> groups_for_half_width(0.08, of_share(0.8))
        99
    """
    if not 0 < half_width < math.inf:
        raise ValueError(f"half_width is {half_width}: expected more than 0")
    return fewest(lambda n: half_width_for(n, varies, alpha=alpha) <= half_width, MOST)


def of_share(share: float, **clusters: float) -> Differences:
    """How single right and wrong answers vary: variance p (1 - p).

    Args:
        share: that is right, p.
        clusters: further fields of `Differences`.

    Raises:
        ValueError: the share is not between 0 and 1, where nothing varies.

    Example:
        >>> of_share(0.5).std
        0.5
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}: expected more than 0 and less than 1")
    return Differences(std=(share * (1 - share)) ** 0.5, **clusters)


def fewest(reached: Callable[[int], bool], most: int) -> int:
    """The least number, from two on, with which something is reached that more only helps.

    Args:
        reached: whether a number is enough; once it is, so is every larger one.
        most: where the search ends.

    Raises:
        ValueError: more than `most` would be needed.

    Example:
        >>> fewest(lambda n: n * n >= 50, 100)
        8
    """
    low, high = 2, 2
    while not reached(high):
        if high >= most:
            raise ValueError(f"more than {most} clusters would be needed: is so small an effect of interest?")
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return high
