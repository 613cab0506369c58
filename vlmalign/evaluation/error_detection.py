"""Does an uncertainty find the reward's own errors: AUROC, and what the standard deviation adds to the margin."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import Array, Statistic, estimate_statistic, number_cells
from vlmalign.evaluation.rare_events import one_sided_bound

_CHUNK = 4_000_000  # numbers at once


def error_auroc(
    uncertainty: ArrayLike,
    wrong: ArrayLike,
    groups: Sequence[Hashable],
    *,
    other: ArrayLike | None = None,
    seeds: Sequence[Hashable] | None = None,
    strata: ArrayLike | None = None,
) -> Estimate:
    """Probability that an error is more uncertain than a right item, ties one half; or a paired difference of two.

    Args:
        uncertainty: (N,) larger for what is less sure, e.g. -|margin|.
        wrong: (N,) of 0 and 1: whether the reward errs.
        groups: (N,) cluster of each item.
        other: (N,) a second uncertainty: the estimate is then the first's AUROC minus its, on the same resamples.
        seeds: (N,) training seed of each item.
        strata: (N,) numbers: an error is compared with right items of its own stratum only, as uncertainties of
            different ones are on different scales; default one for all.

    Returns:
        `Estimate.nothing` if no item is wrong, or none right (in any stratum): there is no AUROC then. Where
        errors and right items do not overlap a resample has no spread: there the interval is Clopper and
        Pearson's, with a trial per group with errors (or with right items, if those are fewer).

    Raises:
        ValueError: lengths that differ, a value that is not finite, a `wrong` that is neither 0 nor 1.

    Example:
        >>> error_auroc([0.9, 0.1, 0.5, 0.2], [1, 0, 1, 0], list("abcd")).mean
        1.0
    """
    values, errors = check_errors(uncertainty, wrong, groups)
    stratum = np.zeros(len(errors)) if strata is None else np.asarray(strata)
    if len(stratum) != len(errors):
        raise ValueError(f"strata has {len(stratum)} entries for {len(errors)} items: give one each")
    if not set(stratum[errors == 1].tolist()) & set(stratum[errors == 0].tolist()):
        return Estimate.nothing(len(errors))
    cells, cell_seeds, cell_groups = number_cells(groups, seeds, False)
    statistic = _auroc(values, errors, cells, stratum)
    if other is not None:
        mine, its = statistic, _auroc(check_errors(other, wrong, groups)[0], errors, cells, stratum)

        def statistic(weights: Array) -> Array:
            return mine(weights) - its(weights)

    found = estimate_statistic(statistic, cell_seeds, cell_groups, n=len(errors), excluded=0)
    if other is not None or found.mean is None or found.low is None or found.high is None:
        return found
    low, high, method = max(0.0, found.low), min(1.0, found.high), found.method
    if found.mean in (0.0, 1.0):
        few = min(len(np.unique(cells[errors == label])) for label in (0, 1))
        bound = one_sided_bound(few)
        low, high = (0.0, max(high, bound)) if found.mean == 0 else (min(low, 1 - bound), 1.0)
        method = f"{method}, widened as errors and right items do not overlap ({few} groups)"
    return replace(found, low=low, high=high, method=method)


class StdGain(NamedTuple):
    """What the standard deviation of a margin tells of the reward's errors beyond the margin.

    Attributes:
        auroc_margin: of -|margin| for the reward's own errors, within folds.
        auroc_margin_and_std: of a logistic regression on |margin| and std, fitted on other groups; within folds.
        difference: the second minus the first, paired.
        excluded: pairs without a standard deviation, or with a tie, which is neither right nor wrong.
    """

    auroc_margin: Estimate
    auroc_margin_and_std: Estimate
    difference: Estimate
    excluded: int

    def to_dict(self) -> dict[str, Any]:
        """The form in which results.json holds it."""
        names = ("auroc_margin", "auroc_margin_and_std", "difference")
        return {**{name: getattr(self, name).to_dict() for name in names}, "excluded": self.excluded}


def std_gain(
    margins: ArrayLike, stds: ArrayLike, groups: Sequence[Hashable], *, folds: int = 5, seed: int = 0
) -> StdGain:
    """Does the standard deviation help to find the reward's errors.

    Of every fold of groups, errors are predicted by a regression that was fitted on the groups of the other folds.
    Errors are compared with right pairs of their own fold, for both figures: a fold with many errors leaves few to
    fit on, so that its regression expects few, and across folds even a regression on |margin| alone, which orders
    every fold as |margin| does, falls short of it (Airola et al. 2011, Comput. Stat. Data Anal. 55:1828, on pooled
    cross-validation).

    Args:
        margins: (N,) score of the better answer minus that of the other; below 0 the reward errs.
        stds: (N,) standard deviation of each margin; NaN = not known.
        groups: (N,) cluster of each pair.
        folds: at most so many; no more than there are groups.
        seed: of the folds.

    Raises:
        ValueError: lengths that differ; fewer than two groups; no error, or nothing but errors, in the groups that
            a regression is fitted on.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    m, v = np.asarray(margins, dtype=np.float64), np.asarray(stds, dtype=np.float64)
    if not len(m) == len(v) == len(groups):
        raise ValueError(f"margins, stds, groups have {len(m)}, {len(v)}, {len(groups)} entries: give as many")
    usable = np.isfinite(m) & np.isfinite(v) & (m != 0)
    excluded = int((~usable).sum())
    m, v = m[usable], v[usable]
    names = [groups[i] for i in np.flatnonzero(usable).tolist()]
    distinct = sorted(set(names), key=str)
    if len(distinct) < 2:
        raise ValueError(f"{len(m)} pairs with a std come from {len(distinct)} groups: 2 are needed")
    order = np.random.default_rng(seed).permutation(len(distinct))
    fold_of = {distinct[place]: i % min(folds, len(distinct)) for i, place in enumerate(order)}
    fold = np.array([fold_of[name] for name in names])
    wrong, features = (m < 0).astype(np.float64), np.stack([np.abs(m), v], axis=1)
    combined = np.zeros(len(m))
    for k in np.unique(fold):
        fitted_on = fold != k
        if len(np.unique(wrong[fitted_on])) < 2:
            which = "is wrong" if not wrong[fitted_on].any() else "is right"
            raise ValueError(f"no pair {which} outside fold {k}: errors cannot be told apart, give more pairs")
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features[fitted_on], wrong[fitted_on])
        combined[~fitted_on] = model.decision_function(features[~fitted_on])
    return StdGain(
        error_auroc(-np.abs(m), wrong, names, strata=fold),
        error_auroc(combined, wrong, names, strata=fold),
        error_auroc(combined, wrong, names, other=-np.abs(m), strata=fold),
        excluded,
    )


def _auroc(values: Array, errors: Array, cells: NDArray[np.int64], strata: NDArray[Any]) -> Statistic:
    """AUROC as a function of cell weights (R, C): pairs won over pairs compared, summed over strata."""
    count = int(cells.max()) + 1
    parts = []
    for stratum in np.unique(strata):
        here = strata == stratum
        sizes, events = by_level(values[here], errors[here], cells[here], count)
        parts.append((sizes - events, events))

    def statistic(weights: Array) -> Array:
        won, total = np.zeros(len(weights)), np.zeros(len(weights))
        for others, events in parts:
            right, wrong = weights @ others, weights @ events
            below = np.cumsum(right, 1) - right
            won += (wrong * (below + 0.5 * right)).sum(1)
            total += right.sum(1) * wrong.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(won / np.where(total > 0, total, np.nan))

    return in_chunks(statistic, max(others.shape[1] for others, _ in parts))


def by_level(
    values: Array, errors: Array, cells: NDArray[np.int64], count: int | None = None
) -> tuple[Array, Array]:
    """Items and errors of each cell at each distinct uncertainty, ascending, (C, L) each; C may be given."""
    levels, level = np.unique(values, return_inverse=True)
    shape = (int(cells.max()) + 1 if count is None else count, len(levels))
    sizes, events = np.zeros(shape), np.zeros(shape)
    np.add.at(sizes, (cells, level), 1.0)
    np.add.at(events, (cells, level), errors)
    return sizes, events


def in_chunks(statistic: Statistic, width: int) -> Statistic:
    """The same statistic, computed for some of the resamples at a time, as it takes `width` numbers for each."""
    rows = max(1, _CHUNK // max(1, width))

    def whole(weights: Array) -> Array:
        return np.concatenate([statistic(weights[i : i + rows]) for i in range(0, len(weights), rows)])

    return whole


def check_errors(
    uncertainty: ArrayLike, wrong: ArrayLike, groups: Sequence[Hashable], *, binary: bool = True
) -> tuple[Array, Array]:
    """The arrays, if they are what they should be."""
    values, errors = np.asarray(uncertainty, dtype=np.float64), np.asarray(wrong, dtype=np.float64)
    if not len(values) == len(errors) == len(groups) or not len(values):
        lengths = f"{len(values)}, {len(errors)}, {len(groups)}"
        raise ValueError(f"uncertainty, wrong, groups have {lengths} entries: give one per item, and one at least")
    if not np.isfinite(values).all():
        raise ValueError("uncertainty has a value that is not finite: leave out what is unscored")
    if not (np.isin(errors, (0.0, 1.0)) if binary else (errors >= 0) & (errors <= 1)).all():
        raise ValueError(f"wrong must be {'0 or 1: leave out ties' if binary else 'from 0 to 1'}")
    return values, errors
