"""Choosing the probability from which on a finding counts as present, on data that nobody trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from experts.performance import ratio_interval
from experts.protocol import OperatingPoint
from vlmalign.records.hashing import derive_seed

Floats = NDArray[np.float64]
DRAWS = 300
LEAST_SHARE = 0.5  # of the draws must have both classes for an interval


class Rule(NamedTuple):
    """How a threshold is chosen: youden, f1, or the least sensitivity asked for."""

    name: str
    target: float = 0.0


def parse_rule(text: str) -> Rule:
    """Read `youden`, `f1` or `sensitivity>=0.9`.

    Raises:
        ValueError: none of these, or a target that is not in (0, 1].

    Example:
        >>> parse_rule("sensitivity>=0.9")
        Rule(name='sensitivity', target=0.9)
    """
    if text in ("youden", "f1"):
        return Rule(text)
    match = re.fullmatch(r"sensitivity>=(0?\.\d+|1(?:\.0*)?)", text)
    if match and float(match[1]) > 0:
        return Rule("sensitivity", float(match[1]))
    raise ValueError(f"the rule is {text!r}: expected youden, f1 or sensitivity>=X with X in (0, 1]")


def choose_threshold(
    probabilities: ArrayLike,
    truth: ArrayLike,
    groups: Sequence[str],
    *,
    concept: str = "finding",
    rule: str = "youden",
    seed: int = 0,
) -> OperatingPoint:
    """The threshold that a rule takes from validation data, and what it gives there.

    Candidates lie half-way between neighbouring probabilities that occur (and at 0), so positives are p >= t.
    `youden` takes the largest sensitivity + specificity - 1 (Youden 1950, Cancer 3:32), `f1` the largest
    2 TP / (2 TP + FP + FN), `sensitivity>=X` the highest threshold that keeps so much sensitivity; on a tie the
    highest threshold. Sensitivity and specificity here are optimistic, since the threshold was chosen for them: a
    card's performance comes from other groups. Intervals are over groups; that of the threshold is a percentile
    bootstrap.

    Args:
        probabilities: (N,) in 0..1.
        truth: (N,) bool.
        groups: the group of each image.
        concept: for the record.
        rule: see above.
        seed: of the bootstrap.

    Raises:
        ValueError: lengths differ, a probability is not in 0..1, or one of the two classes does not occur.

    Example:
        >>> point = choose_threshold([0.1, 0.3, 0.4, 0.8], [0, 0, 1, 1], list("abcd"))
        >>> point.threshold, point.sensitivity, point.specificity, point.positives
        (0.35, 1.0, 1.0, 2)
    """
    parsed = parse_rule(rule)
    p, y = np.asarray(probabilities, dtype=float), np.asarray(truth, dtype=bool)
    check_labelled(p, y, groups)
    threshold = _best(p, y, np.ones(len(p)), parsed)
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(derive_seed(seed, "threshold", concept))
    drawn = []
    for _ in range(DRAWS if len(names) > 1 else 0):
        weight = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[index].astype(float)
        if weight[y].sum() > 0 and weight[~y].sum() > 0:
            drawn.append(_best(p, y, weight, parsed))
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) >= LEAST_SHARE * DRAWS else (None, None)
    positive = p >= threshold
    sensitivity = ratio_interval(positive & y, y, groups, share=True, seed=derive_seed(seed, "sensitivity"))
    specificity = ratio_interval(~positive & ~y, ~y, groups, share=True, seed=derive_seed(seed, "specificity"))
    return OperatingPoint(
        concept=concept,
        rule=rule,
        threshold=threshold,
        threshold_low=None if low is None else round(float(low), 6),
        threshold_high=None if high is None else round(float(high), 6),
        sensitivity=sensitivity.value,
        sensitivity_low=sensitivity.low,
        sensitivity_high=sensitivity.high,
        specificity=specificity.value,
        specificity_low=specificity.low,
        specificity_high=specificity.high,
        images=len(p),
        positives=int(y.sum()),
        groups=len(names),
    )


def check_labelled(p: Floats, y: NDArray[np.bool_], groups: Sequence[str]) -> None:
    """Refuse labelled probabilities from which nothing can be chosen or measured.

    Raises:
        ValueError: see `choose_threshold`.
    """
    if not len(p) == len(y) == len(groups):
        raise ValueError(f"{len(p)} probabilities, {len(y)} truths and {len(groups)} groups: give as many of each")
    if not (np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()):
        raise ValueError("a probability is not in 0..1: give probabilities, not logits")
    if y.all() or not y.any():
        have = "present" if len(y) and y.all() else "absent"
        raise ValueError(f"all {len(y)} images are {have}: give images with and without the finding")


def _best(p: Floats, y: NDArray[np.bool_], weight: Floats, rule: Rule) -> float:
    """The rule's threshold on weighted images."""
    values, index = np.unique(p, return_inverse=True)
    hits = np.bincount(index, weight * y, len(values))[::-1].cumsum()[::-1]  # at and above each value
    alarms = np.bincount(index, weight * ~y, len(values))[::-1].cumsum()[::-1]
    n_positive, n_negative = hits[0], alarms[0]
    candidates = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2])
    if rule.name == "sensitivity":
        score = (hits >= rule.target * n_positive - 1e-9).astype(float)
    elif rule.name == "f1":
        score = 2 * hits / (hits + alarms + n_positive)
    else:
        score = hits / n_positive - alarms / n_negative
    best = np.flatnonzero(score >= score.max() - 1e-12)[-1]
    return float(candidates[best])
