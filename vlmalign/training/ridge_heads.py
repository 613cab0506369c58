"""Linear heads on frozen states, one per attribute, from labels with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupShuffleSplit

Array = NDArray[np.float64]


class RidgeHead(NamedTuple):
    """One attribute's head; it predicts standardised labels, (label - mean) / std.

    Attributes:
        weight: (H,).
        intercept: of the line.
        penalty: the one that was chosen.
        validation_error: mean squared error of the held-out groups under it, in squared standard deviations. It
            chose the penalty, so it is a little too low.
        mean_error: of the same groups, what always answering the mean of the fitted rows costs.
        mean: of the labels.
        std: of the labels.
        labelled: how many answers have a label.
    """

    weight: Array
    intercept: float
    penalty: float
    validation_error: float
    mean_error: float
    mean: float
    std: float
    labelled: int


def split_by_group(groups: Sequence[str], share: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to fit and rows to validate on; no group is in both.

    Args:
        groups: of each row, N.
        share: of groups that are held out.
        seed: of the draw.

    Raises:
        ValueError: fewer than two groups.
    """
    if len(set(groups)) < 2:
        raise ValueError(f"the answers are of {len(set(groups))} group, expected at least 2: give more cases.")
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed % 2**32)
    fit, held = next(splitter.split(np.zeros(len(groups)), groups=list(groups)))
    return fit, held


def fit_ridge_head(
    states: Array,
    labels: Array,
    fit: NDArray[np.intp],
    held: NDArray[np.intp],
    *,
    name: str,
    penalties: Sequence[float],
) -> RidgeHead:
    """The head of one attribute: ridge regression with an intercept, which is not penalised.

    Answers without a label are left out, of fitting and of validating. The penalty with the least squared error on
    the held-out rows is chosen, the first one of equals; the head is then fitted again on all labelled rows. (The
    released ArmoRM code takes no intercept, which needs states whose mean is near 0, and does not fit again.)

    Args:
        states: of all answers, (N, H).
        labels: (N,), NaN where there is none.
        fit: rows to fit on while the penalty is chosen.
        held: rows to choose it by.
        name: of the attribute, for errors.
        penalties: to choose from.

    Raises:
        ValueError: no label among the rows of one kind, or labels that are all the same.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0], [5.0]]), np.array([1.0, 3.0, 5.0, np.nan])
        >>> head = fit_ridge_head(x, y, np.array([0, 2]), np.array([1, 3]), name="size", penalties=[1e-9])
        >>> round(float(head.weight[0]) * head.std, 4), head.labelled
        (2.0, 3)
    """
    known = ~np.isnan(labels)
    fit, held, every = fit[known[fit]], held[known[held]], known.nonzero()[0]
    for rows, what in ((fit, "to fit on"), (held, "to validate on")):
        if not len(rows):
            raise ValueError(f"attribute {name!r} has no label {what}: label answers of more groups, or drop it.")
    mean, std = float(labels[every].mean()), float(labels[every].std())
    if std < 1e-9 * max(1.0, abs(mean)) or np.ptp(labels[fit]) == 0:
        raise ValueError(
            f"attribute {name!r} is {labels[fit][0]:g} of (nearly) all {len(every)} labelled answers, expected "
            "labels that differ: leave it out."
        )
    target = (labels - mean) / std
    errors = []
    for penalty in penalties:
        model = Ridge(alpha=penalty).fit(states[fit], target[fit])
        errors.append(float(np.mean((model.predict(states[held]) - target[held]) ** 2)))
    best = int(np.argmin(errors))
    model = Ridge(alpha=penalties[best]).fit(states[every], target[every])
    plain = float(np.mean((target[held] - target[fit].mean()) ** 2))
    return RidgeHead(
        model.coef_, float(model.intercept_), penalties[best], errors[best], plain, mean, std, len(every)
    )
