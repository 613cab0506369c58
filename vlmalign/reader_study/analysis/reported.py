"""A figure over readers and cases with its estimand named, and a test against a value of no effect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import logit

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.paired_tests import flip_signs
from vlmalign.evaluation.readers_and_cases import Estimand, ReaderFigure, reader_figure

Bounds = tuple[float, float]
SHARE: Bounds = (0.0, 1.0)


@dataclass(frozen=True)
class Reported:
    """A mean over readers and cases.

    Attributes:
        figure: for both estimands.
        estimand: the one that is reported.
        null: the value of no effect; None where nothing is tested.
        p: two-sided, for the reported estimand; None where it cannot be had.
        p_method: how, in words.
    """

    figure: ReaderFigure
    estimand: Estimand
    null: float | None = None
    p: float | None = None
    p_method: str = ""

    @property
    def estimate(self) -> Estimate:
        """The mean with the interval of the reported estimand."""
        return self.figure.new_readers if self.estimand == "new readers" else self.figure.these_readers

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it: the reported estimate's own fields, then all else."""
        figure = self.figure
        return {
            **self.estimate.to_dict(),
            "estimand": self.estimand,
            "these_readers": figure.these_readers.to_dict(),
            "new_readers": figure.new_readers.to_dict(),
            "variance_components": figure.components._asdict() if figure.components else None,
            "df": figure.df,
            "n_readers": figure.n_readers,
            "n_cases": figure.n_cases,
            "null": self.null,
            "p": self.p,
            "p_method": self.p_method,
        }


def report(
    values: Sequence[float | None],
    readers: Sequence[Hashable],
    cases: Sequence[Hashable],
    *,
    bounds: Bounds | None = SHARE,
    null: float | None = None,
    estimand: Estimand | None = None,
    seed: int = 0,
) -> Reported:
    """A mean of values of readers on cases; see `reader_figure` for its intervals.

    The test for these readers flips the signs of cases (a case's values share a sign). For new readers it is the t
    of the interval; where the interval has none (all values the same, or no case read twice), the signs of readers
    are flipped.

    Args:
        values: (n,) None: not answered; excluded and counted.
        readers: (n,) who.
        cases: (n,) the case's cluster.
        bounds: least and largest possible value. Where all values are equal an interval rests on them; else they
            matter for shares only. None: not bounded.
        null: the value of no effect, e.g. 0.5 of a win rate.
        estimand: default new readers from five readers on, else these readers.
        seed: of the bootstrap and the flips.

    Example:
        >>> found = report([1, 1, 1, 0.5, 1, 1], list("aaabbb"), [1, 2, 3] * 2, null=0.5)
        >>> found.estimand, round(found.estimate.mean, 3), found.p
        ('these readers', 0.917, 0.25)
    """
    known = {v for v in values if v is not None}
    if bounds is not None and bounds != SHARE and len(known) == 1:
        low, span = bounds[0], bounds[1] - bounds[0]
        shares = [None if v is None else (v - low) / span for v in values]
        figure = _unscaled(reader_figure(shares, readers, cases, seed=seed), low, span)
    else:
        figure = reader_figure(values, readers, cases, proportion=bounds == SHARE, seed=seed)
    chosen = estimand or figure.reported
    if null is None or not known:
        return Reported(figure, chosen, null)
    p, method = _p(figure, chosen, values, readers, cases, null, bounds == SHARE, seed)
    return Reported(figure, chosen, null, p, method)


def p_text(p: float | None) -> str:
    """A p value as it is printed.

    Example:
        >>> p_text(0.0004), p_text(0.03), p_text(None)
        ('p < 0.001', 'p 0.030', 'no p')
    """
    return "no p" if p is None else "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def _unscaled(figure: ReaderFigure, low: float, span: float) -> ReaderFigure:
    def back(estimate: Estimate) -> Estimate:
        mean, a, b = (None if x is None else low + span * x for x in (estimate.mean, estimate.low, estimate.high))
        return replace(estimate, mean=mean, low=a, high=b)

    return replace(figure, new_readers=back(figure.new_readers), these_readers=back(figure.these_readers))


def _p(
    figure: ReaderFigure,
    estimand: Estimand,
    values: Sequence[float | None],
    readers: Sequence[Hashable],
    cases: Sequence[Hashable],
    null: float,
    share: bool,
    seed: int,
) -> tuple[float | None, str]:
    if estimand == "these readers":
        return flip_signs(_sums(values, readers, cases, cases, null), seed=seed), "signs of cases flipped"
    new = figure.new_readers
    if new.mean is None or new.low is None or new.high is None:
        return None, new.method
    if figure.df is None or new.low == new.high:
        return flip_signs(_sums(values, readers, cases, readers, null), seed=seed), "signs of readers flipped"
    mean, low, high, centre = (float(logit(x)) if share else x for x in (new.mean, new.low, new.high, null))
    error = (high - low) / 2 / float(stats.t.ppf(0.975, figure.df))
    return float(2 * stats.t.sf(abs(mean - centre) / error, figure.df)), f"t with {figure.df:.1f} df"


def _sums(
    values: Sequence[float | None],
    readers: Sequence[Hashable],
    cases: Sequence[Hashable],
    clusters: Sequence[Hashable],
    null: float,
) -> np.ndarray:
    """Sum over each cluster of value less null, each reader and case once; doubled, as halves stand for ties."""
    cells: dict[tuple[Hashable, Hashable], list[float]] = defaultdict(list)
    cluster_of: dict[tuple[Hashable, Hashable], Hashable] = {}
    for value, reader, case, cluster in zip(values, readers, cases, clusters, strict=True):
        if value is not None:
            cells[reader, case].append(value - null)
            cluster_of[reader, case] = cluster
    sums: dict[Hashable, float] = defaultdict(float)
    for cell, found in cells.items():
        sums[cluster_of[cell]] += 2 * sum(found) / len(found)
    return np.where(np.abs(list(sums.values())) < 1e-12, 0.0, list(sums.values()))
