"""Agreement of several judges: Cohen's and Fleiss' kappa, Krippendorff's alpha, with intervals over clusters.

The bootstrap draws clusters whole: what was said of one patient's cases, or of two texts of one case, hangs
together.

A figure that is not defined, because nobody varied or nobody was compared, is None with the reason. It is neither
0 nor 1.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from vlmalign.records import Judgement, RecordFolder

Level = Literal["nominal", "ordinal", "interval"]
Ratings = Sequence[Sequence[Hashable | None]]  # one row for each case, one column for each judge, None: no rating
Clusters = Sequence[Hashable] | None  # of each row, e.g. its patient; None: every row is one of its own
_Figure = Callable[[Ratings], "float | str"]  # the figure, or why there is none


@dataclass(frozen=True)
class Agreement:
    """A figure of agreement.

    Attributes:
        name: which.
        value: the figure; None where it is not defined.
        low: lower end of its 95 % percentile bootstrap interval over clusters; None where there is none, as with
            one cluster.
        high: upper end.
        n: cases that count.
        reason: why there is no value.
        resamples: bootstrap samples in which the figure was defined.
        clusters: patients (or whatever the rows were clustered by) that count.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None
    resamples: int = 0
    clusters: int = 0


def cohen_kappa(ratings: Ratings, *, clusters: Clusters = None, resamples: int = 1000, seed: int = 0) -> Agreement:
    """Cohen's kappa of two judges (Cohen 1960): (p_o - p_e) / (1 - p_e), over cases that both rated.

    Args:
        ratings: rows of two.
        clusters: of each row: the patient, or the case of several rows; the bootstrap draws them whole.
        resamples: bootstrap samples; 0 for no interval.
        seed: of the bootstrap.

    Raises:
        ValueError: a row has not two columns, or there is not one cluster for each row.

    Example:
        >>> table = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
        >>> round(cohen_kappa(table, resamples=0).value, 3)
        0.4
    """
    _check_columns(ratings, 2)
    both, of = _kept(ratings, clusters, lambda row: None not in row)
    return _with_interval("Cohen's kappa", _cohen, both, of, resamples, seed)


def fleiss_kappa(
    ratings: Ratings, *, clusters: Clusters = None, resamples: int = 1000, seed: int = 0
) -> Agreement:
    """Fleiss' kappa (Fleiss 1971) of judges who all rated, over cases without a missing rating.

    Args:
        ratings: rows of equally many, two or more.
        clusters: of each row: the patient, or the case of several rows; the bootstrap draws them whole.
        resamples: bootstrap samples; 0 for no interval.
        seed: of the bootstrap.

    Raises:
        ValueError: rows differ in length or have fewer than two columns, or not one cluster each.

    Example:
        >>> round(fleiss_kappa([(1, 1, 1), (1, 1, 2), (2, 2, 2)], resamples=0).value, 3)
        0.55
    """
    _check_columns(ratings)
    whole, of = _kept(ratings, clusters, lambda row: None not in row)
    return _with_interval("Fleiss' kappa", _fleiss, whole, of, resamples, seed)


def krippendorff_alpha(
    ratings: Ratings,
    level: Level = "nominal",
    *,
    clusters: Clusters = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Krippendorff's alpha = 1 - D_o / D_e (Krippendorff, Content Analysis, 2004, sec. 11.3); ratings may be
    missing.

    Args:
        ratings: rows of equally many; numbers for the levels `ordinal` and `interval`. Rows with fewer than two
            ratings do not count.
        level: of measurement.
        clusters: of each row: the patient, or the case of several rows; the bootstrap draws them whole.
        resamples: bootstrap samples; 0 for no interval.
        seed: of the bootstrap.

    Raises:
        ValueError: rows differ in length or have fewer than two columns, or not one cluster each.

    Example:
        >>> round(krippendorff_alpha([(1, 1), (2, 2), (1, 2), (2, None)], resamples=0).value, 3)
        0.444
    """
    _check_columns(ratings)
    paired, of = _kept(ratings, clusters, lambda row: sum(value is not None for value in row) >= 2)
    name = f"Krippendorff's alpha ({level})"
    return _with_interval(name, lambda rows: _krippendorff(rows, level), paired, of, resamples, seed)


def _kept(
    ratings: Ratings, clusters: Clusters, counts: Callable[[Sequence[Hashable | None]], bool]
) -> tuple[list[Sequence[Hashable | None]], list[Hashable]]:
    """The rows that count, with the cluster of each."""
    of = list(range(len(ratings))) if clusters is None else list(clusters)
    if len(of) != len(ratings):
        raise ValueError(f"{len(of)} clusters for {len(ratings)} rows: give one each")
    kept = [(row, cluster) for row, cluster in zip(ratings, of, strict=True) if counts(row)]
    return [row for row, _ in kept], [cluster for _, cluster in kept]


def _check_columns(ratings: Ratings, exactly: int | None = None) -> None:
    widths = {len(row) for row in ratings}
    if len(widths) > 1 or any(width < 2 or exactly not in (None, width) for width in widths):
        rule = f"{exactly} in every row" if exactly else "the same in every row, two or more"
        raise ValueError(f"the rows hold {sorted(widths)} ratings, expected {rule}: None for a missing one.")


def _with_interval(
    name: str, figure: _Figure, rows: Ratings, clusters: Sequence[Hashable], resamples: int, seed: int
) -> Agreement:
    members: dict[Hashable, list[int]] = defaultdict(list)
    for number, cluster in enumerate(clusters):
        members[cluster].append(number)
    units = list(members.values())
    value = figure(rows) if rows else "no case was rated by two judges"
    if isinstance(value, str):
        return Agreement(name, None, None, None, len(rows), value, clusters=len(units))
    rng = np.random.default_rng(seed)
    picks = (rng.integers(len(units), size=len(units)) for _ in range(resamples if len(units) > 1 else 0))
    drawn = (figure([rows[i] for unit in picked for i in units[unit]]) for picked in picks)
    found = [each for each in drawn if not isinstance(each, str)]
    if not found:
        return Agreement(name, value, None, None, len(rows), clusters=len(units))
    low, high = np.quantile(found, [0.025, 0.975])
    return Agreement(name, value, float(low), float(high), len(rows), resamples=len(found), clusters=len(units))


def _cohen(rows: Ratings) -> float | str:
    n = len(rows)
    observed = sum(a == b for a, b in rows) / n
    first, second = Counter(a for a, _ in rows), Counter(b for _, b in rows)
    expected = sum(first[value] * second[value] for value in first) / n**2
    return "both judges gave one and the same rating throughout" if expected == 1 else _kappa(observed, expected)


def _fleiss(rows: Ratings) -> float | str:
    n, k = len(rows), len(rows[0])
    agreed = sum(c * (c - 1) for row in rows for c in Counter(row).values()) / (n * k * (k - 1))
    shares = [c / (n * k) for c in Counter(value for row in rows for value in row).values()]
    expected = math.fsum(share**2 for share in shares)
    return "all judges gave one and the same rating throughout" if len(shares) == 1 else _kappa(agreed, expected)


def _kappa(observed: float, expected: float) -> float:
    return (observed - expected) / (1 - expected)


def _krippendorff(rows: Ratings, level: Level) -> float | str:
    units = [[value for value in row if value is not None] for row in rows]
    values = sorted({value for unit in units for value in unit})  # type: ignore[type-var]
    if len(values) < 2:
        return "all ratings are the same: there is no variation to agree on"
    place = {value: k for k, value in enumerate(values)}
    together = np.zeros((len(values), len(values)))
    for unit in units:
        for a, b in combinations([place[value] for value in unit], 2):
            together[a, b] += 1 / (len(unit) - 1)
            together[b, a] += 1 / (len(unit) - 1)
    totals = together.sum(axis=0)
    n = totals.sum()
    apart = _distances(values, totals, level)
    expected = (np.outer(totals, totals) * apart).sum() / (n - 1)
    return float(1 - (together * apart).sum() / expected)


def _distances(values: Sequence[Hashable], totals: np.ndarray, level: Level) -> np.ndarray:
    """Squared differences between values (V, V); equal ones are 0 apart."""
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    if level == "interval":
        numbers = np.asarray(values, dtype=float)
        return (numbers[:, None] - numbers[None, :]) ** 2
    ranks = np.cumsum(totals) - totals / 2  # sum of n_g from c to k, less half of both ends
    return (ranks[:, None] - ranks[None, :]) ** 2


def jury_agreement(folder: str | Path | Sequence[str | Path], criterion: str, *, seed: int = 0) -> list[Agreement]:
    """How far the judges of a Judgement folder, or of several folders on the same answers, agree on one criterion.

    Intervals are over cases, whose candidates are drawn together. Verdicts are nominal; scores interval. An
    invalid judgement is a missing rating. For verdicts of two judges Cohen's kappa is given as well, of more
    Fleiss' kappa.

    Args:
        folder: of judgements by two or more judges; or several folders, read as one.
        criterion: e.g. `pairwise`.
        seed: of the bootstrap.

    Raises:
        DataError: the folder cannot be used.
        ValueError: fewer than two judges judged by that criterion, or one judged the same twice.
    """
    folders = [folder] if isinstance(folder, (str, Path)) else list(folder)
    found: dict[tuple[str, ...], dict[str, Judgement]] = defaultdict(dict)
    case_of: dict[tuple[str, ...], str] = {}
    for judgement in (record for one in folders for record in RecordFolder(one, Judgement)):
        if judgement.criterion != criterion:
            continue
        if judgement.judge in found[judgement.candidate_ids]:
            raise ValueError(f"{judgement.judge} judges {judgement.candidate_ids} twice by {criterion!r}.")
        found[judgement.candidate_ids][judgement.judge] = judgement
        case_of[judgement.candidate_ids] = judgement.case_id
    judges = sorted({judge for by_judge in found.values() for judge in by_judge})
    if len(judges) < 2:
        raise ValueError(
            f"{', '.join(map(str, folders))}: {len(judges)} judge(s) on {criterion!r} ({', '.join(judges)}): two "
            "are needed."
        )
    rows = [[_rating(by_judge.get(judge)) for judge in judges] for by_judge in found.values()]
    cases = [case_of[candidates] for candidates in found]
    if any(isinstance(value, float) for row in rows for value in row):
        return [krippendorff_alpha(rows, "interval", clusters=cases, seed=seed)]
    kappa = cohen_kappa if len(judges) == 2 else fleiss_kappa
    return [krippendorff_alpha(rows, "nominal", clusters=cases, seed=seed), kappa(rows, clusters=cases, seed=seed)]


def _rating(judgement: Judgement | None) -> str | float | None:
    if judgement is None or not judgement.valid:
        return None
    return judgement.verdict or judgement.score
