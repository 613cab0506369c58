"""Do two models differ on the same items? McNemar's test for clustered items, and an exact test by signs."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vlmalign.evaluation.intervals import Array

#: where fewer clusters differ, the exact test decides
EXACT_BELOW = 30
ENUMERATE_UP_TO = 14
COUNT_OUT_UP_TO = 100_000
FLIPS = 9_999
#: a p below it, after Holm, is told as a difference
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class PairedTest:
    """What two models' answers to the same items say of a difference.

    Attributes:
        p: two-sided, by `method`; None where nothing could be compared.
        method: in words.
        first_only: items that only the first model has right.
        second_only: items that only the second has right.
        both: items that both have right.
        neither: items that neither has right.
        n_groups: clusters.
        differ: clusters whose sums differ, all that a test can go by.
        statistic: the clustered chi-square of 1 df; None where no cluster differs.
        p_clustered: its p.
        p_exact: by flipping signs of clusters.
        excluded: items of which either model has no value.
    """

    p: float | None
    method: str
    first_only: int
    second_only: int
    both: int
    neither: int
    n_groups: int
    differ: int
    statistic: float | None
    p_clustered: float | None
    p_exact: float | None
    excluded: int

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        return asdict(self)


def clustered_mcnemar(
    a: Sequence[float | None], b: Sequence[float | None], groups: Sequence[Hashable], *, excluded: int = 0
) -> PairedTest:
    """Compare two models' right and wrong answers to the same clustered items.

    With d_k the sum over cluster k of (first right) - (second right), K clusters,

        X^2 = (K - 1) / K * (sum_k d_k)^2 / sum_k d_k^2,   1 degree of freedom,

    Obuchowski 1998 (Stat. Med. 17:1495, variance under the null hypothesis). With one item per cluster this is
    (K - 1) / K times McNemar's statistic without continuity correction. Where fewer than 30 clusters differ, the
    exact test decides, `flip_signs`: with one item per cluster it is the binomial form of McNemar's test.

    Args:
        a: (n,) 1 right, 0 wrong, None: not known; of the first model.
        b: (n,) of the second.
        groups: (n,) cluster of each item.
        excluded: further items that were excluded before this call.

    Raises:
        ValueError: lengths differ, or a value is neither 0 nor 1.

    Example:
        >>> found = clustered_mcnemar([1] * 8 + [0] * 2, [0] * 8 + [1] * 2, range(10))
        >>> found.first_only, found.second_only, round(found.statistic, 2), round(found.p, 4)  # 2 * P(X <= 2)
        (8, 2, 3.24, 0.1094)
    """
    pairs, left_out = _pairs(a, b, groups)
    for x, y, group in pairs:
        if x not in (0.0, 1.0) or y not in (0.0, 1.0):
            raise ValueError(
                f"an item of {group!r} has {x} and {y}: give 0, 1 or None; test shares with flip_signs"
            )
    sums = _sums(pairs)
    table = {(x, y): sum((x, y) == (p, q) for p, q, _ in pairs) for x in (0.0, 1.0) for y in (0.0, 1.0)}
    differ, k = int((sums != 0).sum()), len(sums)
    statistic = p_clustered = p_exact = p = None
    method = "nothing compared" if not pairs else "no cluster differs"
    if pairs:
        p = p_exact = flip_signs(sums)
    if differ and k > 1:
        statistic = (k - 1) / k * float(sums.sum()) ** 2 / float((sums**2).sum())
        p_clustered = float(stats.chi2.sf(statistic, 1))
    if differ:
        method = f"exact, signs of {differ} clusters flipped"
    if differ >= EXACT_BELOW:
        p, method = p_clustered, f"McNemar over {k} clusters (Obuchowski), 1 df"
    return PairedTest(
        p, method, table[1.0, 0.0], table[0.0, 1.0], table[1.0, 1.0], table[0.0, 0.0], k, differ,
        statistic, p_clustered, p_exact, excluded + left_out,
    )  # fmt: skip


def paired_p(
    a: Sequence[float | None], b: Sequence[float | None], groups: Sequence[Hashable], *, seed: int = 0
) -> float | None:
    """P of no difference between scores of any kind: McNemar's if all are 0 or 1, else `flip_signs`.

    Returns:
        The p, or None where nothing can be compared.

    Example:
        >>> paired_p([0.5, 0.75, 1.0], [0.25, 0.5, 0.5], list("abc"))  # all three clusters up: 2 / 2^3
        0.25
    """
    pairs, _ = _pairs(a, b, groups)
    if not pairs:
        return None
    if all(value in (0.0, 1.0) for x, y, _ in pairs for value in (x, y)):
        return clustered_mcnemar(a, b, groups).p
    return flip_signs(_sums(pairs), seed=seed)


def flip_signs(sums: Array, *, flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided p of a total of cluster sums, had each cluster's sign been tossed by a coin.

    If the two models are exchangeable within each cluster this is exact (Fisher's randomisation test). Whole
    numbers that add up to at most 100,000 are counted out in full, however many there are; others for up to 14
    clusters that differ; beyond, signs are drawn, and p is (1 + as extreme) / (1 + draws) (Phipson & Smyth 2010,
    Stat. Appl. Genet. Mol. Biol. 9:39).

    Args:
        sums: (K,) sum of the differences of each cluster; 0 for a cluster that does not differ.
        flips: draws, where they are drawn.
        seed: of the draws.

    Example:
        >>> flip_signs(np.array([3.0, 2.0, -1.0]))  # 4 of +-3 +-2 +-1: 6, 4, 2, 0, 0, ...: 4 of 8 reach 4
        0.5
    """
    sizes = np.abs(np.asarray(sums, dtype=np.float64))
    total = abs(float(np.sum(sums)))
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return 1.0
    if sizes.sum() <= COUNT_OUT_UP_TO and np.array_equal(sizes, np.round(sizes)):
        return _whole_numbers(sizes.astype(np.int64), round(total))
    if len(sizes) <= ENUMERATE_UP_TO:
        signs = 1 - 2 * ((np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes))) & 1)
        return float((np.abs(signs @ sizes) >= total * (1 - 1e-12) - 1e-9).mean())
    signs = np.random.default_rng(seed).integers(0, 2, (flips, len(sizes))) * 2 - 1
    return float((1 + (np.abs(signs @ sizes) >= total * (1 - 1e-12) - 1e-9).sum()) / (1 + flips))


def _whole_numbers(sizes: NDArray[np.int64], total: int) -> float:
    """P(|sum of +-size| >= total) by adding the clusters one by one."""
    chances = np.ones(1)
    for size in sizes.tolist():
        grown = np.zeros(len(chances) + 2 * size)
        grown[: len(chances)] += chances / 2
        grown[2 * size :] += chances / 2
        chances = grown
    reached = np.abs(np.arange(len(chances)) - int(sizes.sum())) >= total
    return min(1.0, float(chances[reached].sum()))


def adjust_holm(tested: Iterable[dict[str, Any]]) -> None:
    """Holm's p over a family of tests: each one's `p_holm` from its `p`, in place.

    Example:
        >>> family = [{"p": 0.01}, {"p": 0.04}]
        >>> adjust_holm(family)
        >>> [each["p_holm"] for each in family]
        [0.02, 0.04]
    """
    family = list(tested)
    for each, p in zip(family, holm([each["p"] for each in family]), strict=True):
        each["p_holm"] = p


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p (Holm 1979, Scand. J. Stat. 6:65): max over smaller ones of (m - rank + 1) p, at most 1.

    Whoever says "different" where the adjusted p is below 0.05 is wrong anywhere among all m with a chance of at
    most 0.05, whatever their dependence. A p of None, nothing compared, stays None and is not among the m.

    Raises:
        ValueError: a p outside [0, 1].

    Example:
        >>> [None if p is None else round(p, 3) for p in holm([0.01, 0.04, None, 0.03])]
        [0.03, 0.06, None, 0.06]
    """
    known = [(p, i) for i, p in enumerate(p_values) if p is not None]
    for p, _ in known:
        if not 0 <= p <= 1:
            raise ValueError(f"a p is {p}: give numbers in [0, 1], or None for what was not tested")
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(sorted(known)):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[i] = largest
    return adjusted


def _pairs(
    a: Sequence[float | None], b: Sequence[float | None], groups: Sequence[Hashable]
) -> tuple[list[tuple[float, float, Hashable]], int]:
    if not len(a) == len(b) == len(groups):
        raise ValueError(f"a, b, groups have {len(a)}, {len(b)}, {len(groups)} entries: pair them item by item")
    rows = [
        (float(x), float(y), g) for x, y, g in zip(a, b, groups, strict=True) if x is not None and y is not None
    ]
    return rows, len(a) - len(rows)


def _sums(pairs: Sequence[tuple[float, float, Hashable]]) -> Array:
    """Sum of the differences of each cluster (K,); sums that are 0 but for rounding are 0."""
    sums: dict[Hashable, float] = {}
    for x, y, group in pairs:
        sums[group] = sums.get(group, 0.0) + x - y
    found = np.array(list(sums.values()))
    return np.where(np.abs(found) < 1e-12, 0.0, found)
