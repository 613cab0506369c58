"""When to abstain, with a promise: marginal coverage, risk of a wrong answer kept, or risk among the kept ones.

A calibrated probability p says of an item which label is likelier, and its confidence max(p, 1 - p). A rule keeps
the item or abstains. The items of one patient are not exchangeable with those of another, the patients are: losses
are averaged within a group first, so that n is the number of groups and the promise is about a random item of a
new group. It holds on average over calibration sets and new groups, drawn alike; not for a single group, and not
for the answers of another policy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy import stats

from vlmalign.records.base import Part
from vlmalign.rewards.calibration_items import Array, ScoredItems

Rule = Literal["coverage", "risk", "selective"]
#: added to thresholds, to the safe side: what equals one in exact arithmetic shall not lie above it
ROUNDING = 1e-12
#: thresholds among which the selective rule chooses, fixed before any data are seen
SELECTIVE_GRID = tuple(float(x) for x in np.round(np.arange(0.5, 1.0, 0.025), 3))


class Abstention(Part):
    """A fitted rule.

    Attributes:
        rule: "coverage": the true label is in the set {y: 1 - p(y) <= threshold} with probability at least
            1 - alpha, and an item is kept where the set has one label (split conformal prediction, Vovk, Gammerman
            & Shafer 2005; Angelopoulos & Bates 2021, arXiv:2107.07511, sec. 1). "risk": an item is kept and wrong
            with probability at most alpha; kept where confidence > threshold (conformal risk control, Angelopoulos
            et al. 2022, arXiv:2208.02814, theorem 1). "selective": of the kept ones at most alpha are wrong, with
            probability 1 - delta over calibration sets (Learn then Test, Angelopoulos et al. 2021,
            arXiv:2110.01052, with binomial tails and Bonferroni's correction).
        alpha: what is promised.
        threshold: see `rule`.
        n: groups that the promise rests on.
        delta: of "selective".
    """

    rule: Rule
    alpha: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0, le=1)
    n: int = Field(gt=0)
    delta: float | None = None

    @classmethod
    def fit(
        cls,
        rule: Rule,
        p: ArrayLike,
        items: ScoredItems,
        *,
        alpha: float,
        delta: float = 0.1,
        seed: int = 0,
    ) -> Self:
        """Choose the threshold.

        "coverage" and "risk" take the least threshold at which (sum of the G groups' mean losses + 1) / (G + 1) is
        at most alpha; with one item per group and the loss "not covered" this is the usual conformal quantile.
        "selective" takes one random item of each group, so that the tails are exact.

        Args:
            rule: which promise.
            p: (N,) calibrated probabilities; the calibration was fitted on other groups.
            items: their labels and groups.
            alpha: what is promised.
            delta: of "selective": how often the promise may fail.
            seed: of the random items of "selective".

        Raises:
            ValueError: alpha (or delta) outside (0, 1), or out of reach with so few groups or such scores; the
                message names the smallest reachable alpha.

        Example:
            >>> items = ScoredItems.of("answer", [0.0] * 9, [1] * 9, [f"g{i}" for i in range(9)])
            >>> p = [0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
            >>> rule = Abstention.fit("coverage", p, items, alpha=0.2)
            >>> round(rule.threshold, 2), rule.keeps([0.55, 0.7]).tolist()  # 8 of 10 * 0.8: the second largest
            (0.4, [False, True])
        """
        if not 0 < alpha < 1 or not 0 < delta < 1:
            raise ValueError(f"alpha is {alpha} and delta {delta}: give numbers between 0 and 1")
        values = np.asarray(p, dtype=np.float64)
        if len(values) != len(items):
            raise ValueError(f"p has {len(values)} entries for {len(items)} items: give one per item")
        if rule == "selective":
            return cls._fit_selective(values, items, alpha, delta, seed)
        least = 1 / (items.n_groups + 1)
        if alpha < least:
            raise ValueError(
                f"alpha is {alpha:g}, and with {items.n_groups} groups no less than {least:.3g} can be promised: "
                f"raise alpha, or calibrate on {int(np.ceil(1 / alpha - 1 - 1e-9))} groups or more"
            )
        if rule == "coverage":
            losing, at = np.ones(len(items), dtype=bool), strangeness(values, items.labels)
        else:
            losing, at = is_wrong(values, items.labels), np.maximum(values, 1 - values)
        threshold = _control(losing, at, items, alpha)
        if rule == "risk":
            threshold = max(threshold, 0.5)  # of a confidence of one half nothing could be kept
        return cls(rule=rule, alpha=alpha, threshold=threshold, n=items.n_groups)

    @classmethod
    def _fit_selective(cls, p: Array, items: ScoredItems, alpha: float, delta: float, seed: int) -> Self:
        index = replace(items, scores=np.arange(len(items), dtype=np.float64)).one_per_group(seed)
        own = p[index.scores.astype(int)]
        confidence, wrong = np.maximum(own, 1 - own), is_wrong(own, index.labels)
        level = delta / len(SELECTIVE_GRID)
        bounds = {}
        for threshold in SELECTIVE_GRID:
            kept = confidence > threshold
            bounds[threshold] = _upper_bound(int(wrong[kept].sum()), int(kept.sum()), level)
            if bounds[threshold] <= alpha:
                return cls(rule="selective", alpha=alpha, threshold=threshold, n=len(index), delta=delta)
        raise ValueError(
            f"alpha is {alpha:g}, and no threshold keeps the share of wrong answers below it with probability "
            f"{1 - delta:g}: with {len(index)} groups the smallest alpha is {min(bounds.values()):.3g}. "
            "Raise alpha or delta, or calibrate on more groups."
        )

    def keeps(self, p: ArrayLike) -> NDArray[np.bool_]:
        """Which of N items are kept, by their calibrated probabilities (N,)."""
        values = np.asarray(p, dtype=np.float64)
        if self.rule == "coverage":
            return self.label_sets(values).sum(1) == 1
        return np.asarray(np.maximum(values, 1 - values) > self.threshold)

    def label_sets(self, p: ArrayLike) -> NDArray[np.bool_]:
        """Of "coverage": whether label 0 and label 1 are in the set, (N, 2)."""
        values = np.asarray(p, dtype=np.float64)
        return np.stack([values, 1 - values], axis=1) <= self.threshold

    def losses(self, p: ArrayLike, labels: ArrayLike) -> Array:
        """What the promise is about, of N items: not covered, kept and wrong, or wrong (NaN where abstained)."""
        values, truth = np.asarray(p, dtype=np.float64), np.asarray(labels, dtype=np.float64)
        if self.rule == "coverage":
            return (strangeness(values, truth) > self.threshold).astype(np.float64)
        kept, wrong = self.keeps(values), is_wrong(values, truth)
        return (kept & wrong).astype(np.float64) if self.rule == "risk" else np.where(kept, wrong, np.nan)

    def reason(self, p: float) -> str:
        """Why an item is not kept."""
        if self.rule != "coverage":
            likelier = max(p, 1 - p)
            return f"abstained: confidence {likelier:.3f} is not above {self.threshold:.3f} ({self.promise})"
        neither = not self.label_sets([p]).any()
        both = "neither label is" if neither else "both labels are"
        return f"abstained: at probability {p:.3f} {both} in the conformal set ({self.promise})"

    @property
    def promise(self) -> str:
        """The promise in a few words."""
        if self.rule == "selective":
            return f"wrong among kept <= {self.alpha:g} with probability {1 - (self.delta or 0):g}"
        if self.rule == "coverage":
            return f"coverage >= {1 - self.alpha:g}"
        return f"kept and wrong <= {self.alpha:g}"

    @property
    def guarantee(self) -> str:
        """The promise in full, with its n."""
        if self.rule == "selective":
            return (
                f"Selective risk: with probability {1 - (self.delta or 0):g} over calibration sets, of the kept "
                f"items at most {self.alpha:g} are wrong, for a random item of a new group (n = {self.n} groups)."
            )
        what = {
            "coverage": f"Marginal coverage: the true label is in the conformal set with probability at least "
            f"{1 - self.alpha:g} (of all items; nothing is promised of the kept ones alone)",
            "risk": f"Conformal risk control: an item is kept and wrong with probability at most {self.alpha:g} "
            "(of all items; of the kept ones alone the share may be higher)",
        }[self.rule]
        return f"{what}, on average, for a random item of a new group drawn like these (n = {self.n} groups)."


def is_wrong(p: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
    """Whether the likelier label is not the true one, (N,); at one half neither is likelier, which is wrong."""
    return np.asarray(strangeness(p, labels) >= 0.5)


def strangeness(p: ArrayLike, labels: ArrayLike) -> Array:
    """Nonconformity score (N,): one minus the probability of the true label."""
    values = np.asarray(p, dtype=np.float64)
    return np.where(np.asarray(labels) == 1, 1 - values, values)


def _control(losing: NDArray[np.bool_], at: Array, items: ScoredItems, alpha: float) -> float:
    """Least threshold whose bound on the groups' mean loss is at most alpha.

    An item that is `losing` costs 1 while the threshold is below its value `at`, and nothing from there on; the
    loss is bounded by 1, falls with the threshold and is continuous from the right, as the theorem asks.
    """
    names, group = np.unique(np.array(items.groups), return_inverse=True)
    weight = 1 / np.bincount(group)[group]
    order = np.argsort(-at[losing], kind="stable")
    values, weights = at[losing][order], weight[losing][order]
    budget = alpha * (len(names) + 1) - 1 + 1e-9  # alpha * (G + 1) may be a whole number but for rounding
    above = np.cumsum(weights)  # loss of all groups while the threshold is below values[i]
    over = np.flatnonzero(above > budget)
    return float(np.clip(values[over[0]] + ROUNDING, 0, 1)) if len(over) else 0.0


def _upper_bound(events: int, trials: int, level: float) -> float:
    """One-sided Clopper-Pearson upper bound; 1 without trials."""
    return 1.0 if events >= trials else float(stats.beta.ppf(1 - level, events + 1, trials - events))
