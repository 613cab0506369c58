"""Win rates and ratings of several readers on several cases: both were drawn, and both make the figure uncertain.

Name the estimand first. *These readers*: what the same readers would say on new cases; only cases are random.
*New readers*: what readers like these would say; readers and cases are random, and few readers tell little of
others. A bootstrap over readers is too narrow for few of them, and so is any interval that leaves readers out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import Array, cluster_estimate
from vlmalign.evaluation.rare_events import one_sided_bound

Estimand = Literal["new readers", "these readers"]
#: fewer readers are not a sample to speak of: what to report by default is then these readers
NEW_READERS_FROM = 5


class Components(NamedTuple):
    """Variance between readers, between cases, and of what is left (reader by case, and chance)."""

    readers: float
    cases: float
    rest: float


@dataclass(frozen=True)
class ReaderFigure:
    """A mean over readers and cases, for both estimands.

    Attributes:
        new_readers: what readers like these would say; None as an interval below two readers.
        these_readers: what these readers would say on new cases.
        reported: which of the two to report by default, see `NEW_READERS_FROM`.
        components: variance components; None where the design does not tell them apart.
        df: Satterthwaite's degrees of freedom of the interval for new readers; None where it is another one.
        n_readers: readers with a value.
        n_cases: cases with a value.
        repeats: values beyond the first of the same reader on the same case, averaged with it.
    """

    new_readers: Estimate
    these_readers: Estimate
    reported: Estimand
    components: Components | None
    df: float | None
    n_readers: int
    n_cases: int
    repeats: int


def reader_figure(
    values: Sequence[float | None],
    readers: Sequence[Hashable],
    cases: Sequence[Hashable],
    *,
    proportion: bool = True,
    seed: int = 0,
    level: float = 0.95,
) -> ReaderFigure:
    """Mean of values of readers on cases with intervals for these and for new readers.

    The mean is over pairs of a reader and a case, each once. With variances s_r, s_c, s_e of readers, cases and
    the rest, n_i pairs of reader i, m_j of case j, N in all, the mean's variance is

        V = s_r sum n_i^2 / N^2 + s_c sum m_j^2 / N^2 + s_e / N = R + C - E,

    R = s_r sum n_i^2 / N^2 + E, C = s_c sum m_j^2 / N^2 + E, E = s_e / N; fully crossed it is
    (MS_readers + MS_cases - MS_rest) / (I J). Degrees of freedom after Satterthwaite 1946 (Biometrics 2:110),
    V^2 / (R^2 / (I - 1) + C^2 / (J - 1) + E^2 / ((I - 1)(J - 1))), and as in Hillis 2007 (Stat. Med. 26:596) no
    negative component shortens V. The interval of a proportion p is made for its logit, with V / (p (1 - p))^2, as
    a symmetric one is too short on the side of one half. For these readers: clusters are cases, see
    `cluster_estimate`. Where all values are the same (all wins, all ties), Clopper-Pearson with one trial per
    reader, or per case, that might have differed.

    Args:
        values: (n,) a win as 1, a tie as 0.5, a loss as 0; or ratings. None: excluded, and counted.
        readers: (n,) who.
        cases: (n,) on which case, or patient where several cases are of one.
        proportion: values lie in [0, 1], and so do the intervals.
        seed: of the bootstrap for these readers.
        level: coverage aimed at.

    Raises:
        ValueError: lengths differ, a value is not finite, or a proportion outside [0, 1].

    Example:
        >>> wins = [1, 1, 0, 1, 1, 0, 0, 1, 1]
        >>> found = reader_figure(wins, list("aaabbbccc"), [1, 2, 3] * 3)
        >>> round(found.new_readers.mean, 3), found.n_readers, found.n_cases, found.reported
        (0.667, 3, 3, 'these readers')
    """
    kept, excluded = _kept(values, readers, cases, proportion)
    if not kept:
        nothing = Estimate.nothing(excluded)
        return ReaderFigure(nothing, nothing, "these readers", None, None, 0, 0, 0)
    cells: dict[tuple[Hashable, Hashable], list[float]] = {}
    for value, reader, case in kept:
        cells.setdefault((reader, case), []).append(value)
    means = np.array([np.mean(found) for found in cells.values()])
    of_reader, of_case = (_numbers([key[side] for key in cells]) for side in (0, 1))
    n_readers, n_cases = int(of_reader.max()) + 1, int(of_case.max()) + 1
    these = cluster_estimate(
        means.tolist(), of_case.tolist(), excluded=excluded, proportion=proportion, seed=seed, level=level
    )
    if proportion and (means == means[0]).all() and n_cases > 1:
        these = _all_the_same(float(means[0]), len(means), n_cases, excluded, level, "cases")
    new, components, df = _new_readers(means, of_reader, of_case, excluded, proportion, level)
    reported: Estimand = "new readers" if n_readers >= NEW_READERS_FROM else "these readers"
    return ReaderFigure(
        new, these, reported, components, df, n_readers, n_cases, len(kept) - len(means)
    )  # fmt: skip


def variance_components(values: Array, readers: NDArray[np.int64], cases: NDArray[np.int64]) -> Components | None:
    """Variances of readers, cases and the rest, from one value per pair; unbiased in any design that tells them.

    Half the mean squared difference of two values is s_c + s_e for one reader's on two cases, s_r + s_e for one
    case's by two readers, and s_r + s_c + s_e for two of neither. Fully crossed these are the estimates of the
    analysis of variance; a negative one is set to 0.

    Args:
        values: (N,) values.
        readers: (N,) reader number of each.
        cases: (N,) case number.

    Returns:
        The components, or None where one of the three kinds of pairs does not occur.

    Example:
        >>> readers, cases = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
        >>> found = variance_components(np.array([1.0, 2.0, 3.0, 4.0]), readers, cases)
        >>> found.readers, found.cases, found.rest
        (2.0, 0.5, 0.0)
    """
    centred = values - values.mean()

    def within(labels: NDArray[np.int64]) -> tuple[float, float]:
        """Sum over ordered pairs that share the label of (a - b)^2 / 2, and their number."""
        n, total, squares = (np.bincount(labels, w) for w in (np.ones(len(values)), centred, centred**2))
        return float((n * squares - total**2).sum()), float((n * (n - 1)).sum())

    same_reader, same_case = within(readers), within(cases)
    every = within(np.zeros(len(values), dtype=np.int64))
    neither = (every[0] - same_reader[0] - same_case[0], every[1] - same_reader[1] - same_case[1])
    if min(same_reader[1], same_case[1], neither[1]) < 0.5:
        return None
    one_reader, one_case, none = (a / n for a, n in (same_reader, same_case, neither))
    rest = max(one_reader + one_case - none, 0.0)
    return Components(max(none - one_reader, 0.0), max(none - one_case, 0.0), rest)


def _new_readers(
    means: Array,
    of_reader: NDArray[np.int64],
    of_case: NDArray[np.int64],
    excluded: int,
    proportion: bool,
    level: float,
) -> tuple[Estimate, Components | None, float | None]:
    """The mean with its interval over readers and cases, the components and degrees of freedom."""
    mean, n = float(means.mean()), len(means)
    n_readers, n_cases = int(of_reader.max()) + 1, int(of_case.max()) + 1
    if n_readers < 2 or n_cases < 2:
        what = "a single reader says nothing of others" if n_readers < 2 else "a single case"
        return Estimate(mean, None, None, n, n_readers, excluded, f"no interval: {what}"), None, None
    if proportion and (means == means[0]).all():
        found = _all_the_same(mean, n, n_readers, excluded, level, "readers")
        return found, None, None
    components = variance_components(means, of_reader, of_case)
    if components is None:  # each case was read once: a reader's values hold all that varies
        found = cluster_estimate(
            means.tolist(), of_reader.tolist(), excluded=excluded, proportion=proportion, level=level
        )
        return found, None, None
    variance, df = _variance(components, of_reader, of_case)
    half = float(stats.t.ppf((1 + level) / 2, df)) * variance**0.5
    low, high = mean - half, mean + half
    if proportion:
        half /= mean * (1 - mean)
        low, high = (float(expit(logit(mean) + sign * half)) for sign in (-1, 1))
    method = f"two-way over {n_readers} readers and {n_cases} cases, t with {df:.1f} df"
    return Estimate(mean, low, high, n, n_readers, excluded, method), components, df


def _all_the_same(mean: float, n: int, n_units: int, excluded: int, level: float, units: str) -> Estimate:
    """Nothing varies: as far from the mean as the share of units that might have differed can bring it."""
    bound = one_sided_bound(n_units, level)
    low, high = mean - mean * bound, mean + (1 - mean) * bound
    return Estimate(mean, low, high, n, n_units, excluded, f"Clopper-Pearson, {n_units} {units}")


def _variance(
    components: Components, of_reader: NDArray[np.int64], of_case: NDArray[np.int64]
) -> tuple[float, float]:
    """V and Satterthwaite's degrees of freedom, at least 1."""
    n, i, j = len(of_reader), int(of_reader.max()) + 1, int(of_case.max()) + 1
    rest = components.rest / n
    reader = components.readers * float((np.bincount(of_reader) ** 2).sum()) / n**2 + rest
    case = components.cases * float((np.bincount(of_case) ** 2).sum()) / n**2 + rest
    variance = reader + case - rest
    spread = reader**2 / (i - 1) + case**2 / (j - 1) + rest**2 / ((i - 1) * (j - 1))
    return variance, max(1.0, variance**2 / spread) if spread > 0 else float(i - 1)


def _numbers(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(label, len(known)) for label in labels], dtype=np.int64)


def _kept(
    values: Sequence[float | None], readers: Sequence[Hashable], cases: Sequence[Hashable], proportion: bool
) -> tuple[list[tuple[float, Hashable, Hashable]], int]:
    if not len(values) == len(readers) == len(cases):
        raise ValueError(
            f"values, readers, cases have {len(values)}, {len(readers)}, {len(cases)} entries: give one each"
        )
    kept = [(float(v), r, c) for v, r, c in zip(values, readers, cases, strict=True) if v is not None]
    for value, reader, case in kept:
        if not np.isfinite(value):
            raise ValueError(f"reader {reader!r} has {value} on case {case!r}: pass None for what is not known")
        if proportion and not 0 <= value <= 1:
            raise ValueError(
                f"reader {reader!r} has {value} on case {case!r}, outside [0, 1]: pass proportion=False"
            )
    return kept, len(values) - len(kept)
