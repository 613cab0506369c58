"""From a reward's score to a probability: temperature, Platt, isotonic, Venn-ABERS.

All are antisymmetric on pairs: the probability that the first answer is better at margin m, and at -m, add up to
one, as nobody asked which answer stands first. Temperature and Platt have no intercept there; isotonic and
Venn-ABERS see every pair in both orders. All are monotone: a reward that orders the calibration data no better
than a coin gets one half everywhere, never an inverted score.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field
from scipy.optimize import brentq, minimize
from scipy.special import expit, log_expit
from sklearn.isotonic import IsotonicRegression, isotonic_regression

from vlmalign.records.base import Part
from vlmalign.rewards.calibration_items import Array, ScoredItems


class Probabilities(NamedTuple):
    """Probabilities of N items.

    Attributes:
        p: (N,) that the first answer is better, or that the answer is right.
        p0: (N,) lower end of the Venn-ABERS interval; p where the method has none.
        p1: (N,) upper end.
    """

    p: Array
    p0: Array
    p1: Array

    @property
    def confidence(self) -> Array:
        """(N,) probability of the likelier of the two labels."""
        return np.maximum(self.p, 1 - self.p)


def check_fit(items: ScoredItems) -> None:
    """Refuse data to which nothing can be fitted.

    Raises:
        ValueError: fewer than two groups, one class of answers only, or all scores equal.
    """
    if items.n_groups < 2:
        raise ValueError(f"{len(items)} items of {items.n_groups} group: a calibration needs 2 groups or more")
    if items.target == "pair":
        if not items.scores.any():
            raise ValueError(f"all {len(items)} pairs are ties (margin 0): the reward does not tell answers apart")
        return
    if len(np.unique(items.labels)) < 2:
        which = "right" if items.labels[0] else "wrong"
        raise ValueError(f"all {len(items)} answers are {which}: a calibration needs both right and wrong ones")
    if len(np.unique(items.scores)) < 2:
        raise ValueError(f"all {len(items)} answers score {items.scores[0]}: the reward does not tell them apart")


def knows_std(items: ScoredItems) -> bool:
    """Whether every item is a pair whose margin has a standard deviation, and they are not all 0."""
    return items.target == "pair" and bool(np.isfinite(items.stds).all() and (items.stds > 0).any())


def mirrored(items: ScoredItems) -> tuple[Array, Array]:
    """Scores and labels, pairs in both orders."""
    if items.target == "answer":
        return items.scores, items.labels
    return np.concatenate([items.scores, -items.scores]), np.concatenate([items.labels, 1 - items.labels])


def smoothed(labels: Array) -> Array:
    """Platt's targets, (n1 + 1) / (n1 + 2) and 1 / (n0 + 2): the fit stays finite if the scores separate all."""
    ones = labels.sum()
    return np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (len(labels) - ones + 2))


class Temperature(Part):
    """sigmoid(s / T), T by maximum likelihood (Guo et al. 2017, arXiv:1706.04599, sec. 4.2, with two classes).

    Attributes:
        slope: 1 / T; 0 where the scores say nothing of the labels.

    Example:
        >>> items = ScoredItems.of("pair", [2.0, 2.0, 2.0, -2.0], [1, 1, 1, 1], list("abcd"))
        >>> fitted = Temperature.fit(items)  # right in 3 of 4; in both orders with Platt's targets 0.667
        >>> fitted.predict([2.0, -2.0]).p.round(3).tolist()
        [0.667, 0.333]
    """

    method: Literal["temperature"] = "temperature"
    slope: float = Field(ge=0)

    @classmethod
    def fit(cls, items: ScoredItems) -> Self:
        """Fit; see `check_fit` for what is refused."""
        check_fit(items)
        scores, labels = mirrored(items)
        scale = float(np.abs(scores).max())
        x, targets = scores / scale, smoothed(labels)

        def slope_of_loss(slope: float) -> float:
            return float(((expit(slope * x) - targets) * x).sum())

        if slope_of_loss(0.0) >= 0:
            return cls(slope=0.0)
        high = 1.0
        while slope_of_loss(high) < 0 and high < 1e12:
            high *= 2
        return cls(slope=float(brentq(slope_of_loss, 0.0, high)) / scale)

    def predict(self, scores: ArrayLike, stds: ArrayLike | None = None) -> Probabilities:
        """Probabilities of scores (N,); `stds` is not used."""
        p = expit(self.slope * np.asarray(scores, dtype=np.float64))
        return Probabilities(p, p, p)


class Platt(Part):
    """sigmoid(a s + b) with Platt's targets (Platt 1999, Advances in Large Margin Classifiers, p. 61).

    On pairs b is 0. What Platt adds there is the standard deviation v of the margin, where it is known of every
    pair: sigmoid(a m / sqrt(1 + c v^2)), the logistic-normal form of MacKay 1992 (Neural Computation 4:720) with
    a, c >= 0 fitted. Without it Platt and temperature are the same on pairs.

    Attributes:
        slope: a.
        intercept: b.
        std_weight: c; 0 without standard deviations.
        uses_std: whether `predict` needs them.
    """

    method: Literal["platt"] = "platt"
    slope: float = Field(ge=0)
    intercept: float = 0.0
    std_weight: float = Field(0.0, ge=0)
    uses_std: bool = False

    @classmethod
    def fit(cls, items: ScoredItems, *, use_std: bool | None = None) -> Self:
        """Fit.

        Args:
            items: see `check_fit` for what is refused.
            use_std: of pairs; None: see `knows_std`.

        Raises:
            ValueError: `use_std` with answers, or with a pair whose standard deviation is not known.
        """
        check_fit(items)
        if use_std and (items.target != "pair" or not np.isfinite(items.stds).all()):
            raise ValueError("use_std needs the standard deviation of both answers of every pair: leave it out")
        uses_std = knows_std(items) if use_std is None else use_std
        scores, labels = mirrored(items)
        scale = float(np.sqrt(np.mean((scores - (0 if items.target == "pair" else scores.mean())) ** 2)))
        targets = smoothed(labels)
        spread = np.tile(items.stds, 2) if uses_std else np.zeros(len(scores))
        unit = float(np.sqrt(np.mean(spread**2))) or 1.0

        def loss(values: Array) -> float:
            slope, intercept, weight = values
            z = slope * scores / scale / np.sqrt(1 + weight * (spread / unit) ** 2) + intercept
            return -float((targets * log_expit(z) + (1 - targets) * log_expit(-z)).mean())

        free = (None, None) if items.target == "answer" else (0.0, 0.0)
        bounds = [(0.0, None), free, (0.0, 1e6) if uses_std else (0.0, 0.0)]
        starts = [np.array([1.0, 0.0, w]) for w in ([0.1, 1.0] if uses_std else [0.0])]
        options = {"ftol": 1e-13, "gtol": 1e-9, "maxiter": 500}
        tried = [minimize(loss, start, method="L-BFGS-B", bounds=bounds, options=options) for start in starts]
        slope, intercept, weight = min(tried, key=lambda result: result.fun).x
        return cls(
            slope=float(slope) / scale,
            intercept=float(intercept),
            std_weight=float(weight) / unit**2,
            uses_std=uses_std,
        )

    def predict(self, scores: ArrayLike, stds: ArrayLike | None = None) -> Probabilities:
        """Probabilities of scores (N,).

        Raises:
            ValueError: the fit used standard deviations (N,) and one is missing.
        """
        values = np.asarray(scores, dtype=np.float64)
        spread = np.zeros(len(values))
        if self.uses_std:
            spread = np.full(len(values), np.nan) if stds is None else np.asarray(stds, dtype=np.float64)
            if not np.isfinite(spread).all():
                raise ValueError(
                    "the calibration uses standard deviations and one is not known: give judgements that tell "
                    "them of every item, or calibrate by temperature"
                )
        p = expit(self.slope * values / np.sqrt(1 + self.std_weight * spread**2) + self.intercept)
        return Probabilities(p, p, p)


class Isotonic(Part):
    """A non-decreasing function by least squares, straight between its knots, flat outside them.

    (Zadrozny & Elkan 2002, KDD, p. 694.) It can say 0 and 1.

    Attributes:
        knots: scores, ascending.
        values: probability at each.
    """

    method: Literal["isotonic"] = "isotonic"
    knots: tuple[float, ...] = Field(min_length=1)
    values: tuple[float, ...] = Field(min_length=1)

    @classmethod
    def fit(cls, items: ScoredItems) -> Self:
        """Fit; see `check_fit` for what is refused."""
        check_fit(items)
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(*mirrored(items))
        return cls(knots=tuple(fitted.X_thresholds_.tolist()), values=tuple(fitted.y_thresholds_.tolist()))

    def predict(self, scores: ArrayLike, stds: ArrayLike | None = None) -> Probabilities:
        """Probabilities of scores (N,); `stds` is not used."""
        p = np.interp(np.asarray(scores, dtype=np.float64), self.knots, self.values)
        return Probabilities(p, p, p)


class VennAbers(Part):
    """Inductive Venn-ABERS predictor (Vovk, Petej & Fedorova 2015, arXiv:1511.00213, sec. 2).

    p0 and p1 are isotonic fits at the score with the item added to the calibration data, once labelled 0 and once
    1. Of the two, the one of the true label is perfectly calibrated if the items are exchangeable; the wider
    [p0, p1], the less is known. Their one number is p1 / (1 - p0 + p1), which minimises the largest log loss.

    A pair is added in both orders, (m, y) and (-m, 1 - y): of an exchangeable pair in a random order the validity
    holds as before, and swapping the two answers turns [p0, p1] into [1 - p1, 1 - p0] exactly. The package
    venn-abers has no way to do so (and takes class probabilities in [0, 1] only), so the two fits are
    scikit-learn's.

    Attributes:
        levels: distinct calibration scores, ascending.
        counts: items at each level.
        ones: items of label 1 at each.
        paired: pairs, each counted in both orders.

    Example:
        >>> items = ScoredItems.of("answer", [0.0, 1.0], [0, 1], ["a", "b"])
        >>> found = VennAbers.fit(items).predict([1.0])
        >>> found.p0.tolist(), found.p1.tolist()  # with (1, 0) added: half of the items at 1; with (1, 1): all
        ([0.5], [1.0])
    """

    method: Literal["venn_abers"] = "venn_abers"
    levels: tuple[float, ...] = Field(min_length=1)
    counts: tuple[int, ...] = Field(min_length=1)
    ones: tuple[int, ...] = Field(min_length=1)
    paired: bool

    @classmethod
    def fit(cls, items: ScoredItems) -> Self:
        """Keep the calibration data; see `check_fit` for what is refused."""
        check_fit(items)
        scores, labels = mirrored(items)
        levels, place = np.unique(scores, return_inverse=True)
        counts, ones = np.bincount(place), np.bincount(place, labels)
        return cls(
            levels=tuple(levels.tolist()),
            counts=tuple(counts.tolist()),
            ones=tuple(int(n) for n in ones),
            paired=items.target == "pair",
        )

    def predict(self, scores: ArrayLike, stds: ArrayLike | None = None) -> Probabilities:
        """Probabilities with their interval, of scores (N,); `stds` is not used."""
        distinct, place = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
        ends = np.array([[self._fit_with(score, label) for label in (0, 1)] for score in distinct]).reshape(-1, 2)
        p0, p1 = ends[place, 0], ends[place, 1]
        return Probabilities(p1 / (1 - p0 + p1), p0, p1)

    def _fit_with(self, score: float, label: int) -> float:
        added = [(score, label), (-score, 1 - label)] if self.paired else [(score, label)]
        levels, counts, ones = (np.array(own, dtype=np.float64) for own in (self.levels, self.counts, self.ones))
        for where, what in added:
            at = int(np.searchsorted(levels, where))
            if at == len(levels) or levels[at] != where:
                levels, counts, ones = (np.insert(v, at, x) for v, x in ((levels, where), (counts, 0), (ones, 0)))
            counts[at] += 1
            ones[at] += what
        fitted = isotonic_regression(ones / counts, sample_weight=counts, y_min=0, y_max=1)
        return float(fitted[np.searchsorted(levels, score)])


Calibrator = Annotated[Temperature | Platt | Isotonic | VennAbers, Field(discriminator="method")]
METHODS: dict[str, type[Temperature] | type[Platt] | type[Isotonic] | type[VennAbers]] = {
    "temperature": Temperature,
    "platt": Platt,
    "isotonic": Isotonic,
    "venn_abers": VennAbers,
}
