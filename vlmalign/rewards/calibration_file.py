"""A calibration of one reward: calibrator, rule of abstention and what they promise, as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, ValidationError

from vlmalign.records import DataError
from vlmalign.records.base import Part
from vlmalign.records.hashing import config_hash
from vlmalign.records.suggestions import hint
from vlmalign.records.writing import write_atomic
from vlmalign.rewards.calibration import METHODS, Calibrator, Platt, Probabilities, knows_std
from vlmalign.rewards.calibration_items import ScoredItems, Target
from vlmalign.rewards.conformal import Abstention, Rule

PerGroup = Literal["all", "one"]


class Calibration(Part):
    """What `fit_calibration` made.

    Attributes:
        version: of the file's form.
        judge: name of the reward that it was fitted to; it is good for no other.
        target: what its probabilities are of; see `ScoredItems`.
        calibrator: score to probability.
        per_group: "one": one random item of each group was used, "all": all of them.
        n: items that the calibrator was fitted to.
        n_groups: groups that they come from.
        abstention: the rule, fitted to other groups, or None.
        notes: what it was fitted to, for the reader.
    """

    version: Literal[1] = 1
    judge: str
    target: Target
    calibrator: Calibrator
    per_group: PerGroup
    n: int = Field(gt=0)
    n_groups: int = Field(gt=0)
    abstention: Abstention | None = None
    notes: dict[str, Any] = Field(default_factory=dict)

    @property
    def guarantees(self) -> list[str]:
        """What is promised, with n; and where nothing is."""
        of = f"{self.n} items of {self.n_groups} groups"
        if self.calibrator.method == "venn_abers" and self.per_group == "one":
            item = "pair (in a random order)" if self.target == "pair" else "answer"
            told = [
                f"Venn-ABERS: of p0 and p1, the one of the true label is perfectly calibrated, for a random "
                f"{item} of a new group drawn like these (n = {self.n_groups} groups, one item of each)."
            ]
        elif self.calibrator.method == "venn_abers":
            told = [
                f"Venn-ABERS on {of}: no exact promise, as the items of a group are alike and those of a new "
                "group are not like them; with one item per group there is one."
            ]
        else:
            told = [f"{self.calibrator.method} on {of}: no promise for any finite n; look at the figures."]
        return told + ([self.abstention.guarantee] if self.abstention else [])

    @property
    def digest(self) -> str:
        """Short hash of all that decides its probabilities."""
        return config_hash(self.model_dump(mode="json", exclude={"notes"}))[:8]

    def predict(self, scores: ArrayLike, stds: ArrayLike | None = None) -> Probabilities:
        """Probabilities of N scores or margins."""
        return self.calibrator.predict(scores, stds)

    def keeps(self, p: ArrayLike) -> NDArray[np.bool_]:
        """Which of N items the rule keeps; all of them without a rule."""
        return self.abstention.keeps(p) if self.abstention else np.ones(len(np.asarray(p)), dtype=bool)

    def check_judge(self, name: str) -> None:
        """Refuse scores of another reward.

        Raises:
            ValueError: naming both.
        """
        if name != self.judge:
            raise ValueError(
                f"the calibration was fitted to {self.judge!r} and the scores are those of {name!r}: every reward "
                "has its own scale. Calibrate this one (vlmalign calibrate)."
            )

    def save(self, path: str | Path) -> Path:
        """Write the JSON file, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode())
        return path

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            DataError: no such file, or one that is no calibration.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError("no such file", "Make it with vlmalign calibrate.", file=path)
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            remedy, field = "Make it again with vlmalign calibrate.", ".".join(map(str, first["loc"]))
            raise DataError(first["msg"], remedy, file=path, field=field or None) from None


def fit_calibration(
    items: ScoredItems,
    *,
    method: str = "venn_abers",
    per_group: PerGroup | None = None,
    use_std: bool | None = None,
    rule: Rule | None = None,
    alpha: float = 0.1,
    delta: float = 0.1,
    seed: int = 0,
    notes: Mapping[str, Any] | None = None,
) -> Calibration:
    """Fit a calibrator and, if asked for, a rule of abstention to the other half of the groups.

    Args:
        items: scores of one reward with labels.
        method: one of `METHODS`.
        per_group: items that the calibrator sees; None: "one" for Venn-ABERS, whose promise needs it, else "all".
        use_std: of Platt's method on pairs; None: where all items know it, so that no part of them decides.
        rule: "coverage", "risk" or "selective" (see `Abstention`); the calibrator is then fitted to a random half
            of the groups only, and the threshold to the other half.
        alpha: what the rule promises.
        delta: how often the promise of "selective" may fail.
        seed: of the random items and the random half.
        notes: kept in the file.

    Raises:
        ValueError: an unknown method; data to which nothing can be fitted; an alpha out of reach.

    Example:
        >>> items = ScoredItems.of("pair", [3.0, 1.0, -1.0, 2.0, 4.0] * 8, [1] * 40, [f"g{i}" for i in range(40)])
        >>> found = fit_calibration(items, rule="risk", alpha=0.25)
        >>> found.n_groups, found.abstention.n, found.keeps(found.predict([0.0, 5.0]).p).tolist()
        (20, 20, [False, True])
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}. {hint(method, list(METHODS))}")
    chosen: PerGroup = per_group or ("one" if method == "venn_abers" else "all")
    half, other = items, None
    if rule is not None:
        if items.n_groups < 4:
            raise ValueError(
                f"{items.n_groups} groups: half of them calibrate and half set the threshold, give 4 or more"
            )
        fold = items.folds(2, seed)
        half, other = items.take(fold == 0), items.take(fold == 1)
    shown = half.one_per_group(seed) if chosen == "one" else half
    if METHODS[method] is Platt:
        calibrator: Calibrator = Platt.fit(shown, use_std=knows_std(items) if use_std is None else use_std)
    else:
        calibrator = METHODS[method].fit(shown)
    abstention = None
    if rule is not None and other is not None:
        p = calibrator.predict(other.scores, other.stds).p
        abstention = Abstention.fit(rule, p, other, alpha=alpha, delta=delta, seed=seed)
    return Calibration(
        judge=items.judge, target=items.target, calibrator=calibrator, per_group=chosen, n=len(shown),
        n_groups=shown.n_groups, abstention=abstention, notes=dict(notes or {}),
    )  # fmt: skip


class CrossFitted(NamedTuple):
    """What calibrations fitted to the other folds say of each item.

    Attributes:
        p: (N,) probabilities.
        p0: (N,) lower end of the interval.
        p1: (N,) upper end.
        kept: (N,) whether the rule keeps it.
        losses: (N,) what the rule promises about, NaN where it does not apply; all NaN without a rule.
    """

    p: NDArray[np.float64]
    p0: NDArray[np.float64]
    p1: NDArray[np.float64]
    kept: NDArray[np.bool_]
    losses: NDArray[np.float64]


def cross_fit(items: ScoredItems, *, folds: int = 5, seed: int = 0, **settings: Any) -> CrossFitted:
    """Probabilities of every item by a calibration that saw no item of its group.

    Args:
        items: scores of one reward with labels.
        folds: at most so many; no more than there are groups.
        seed: of the folds.
        settings: of `fit_calibration`.

    Raises:
        ValueError: as `fit_calibration`, for the groups outside a fold.
    """
    fold = items.folds(min(folds, items.n_groups), seed)
    settings = {"use_std": knows_std(items), **settings}
    n = len(items)
    p, p0, p1, losses = (np.full(n, np.nan) for _ in range(4))
    found = CrossFitted(p, p0, p1, np.ones(n, dtype=bool), losses)
    for k in range(int(fold.max()) + 1):
        here = fold == k
        calibration = fit_calibration(items.take(~here), seed=seed, **settings)
        mine = items.take(here)
        predicted = calibration.predict(mine.scores, mine.stds)
        for kept, values in zip(found[:3], predicted, strict=True):
            kept[here] = values
        found.kept[here] = calibration.keeps(predicted.p)
        if calibration.abstention is not None:
            found.losses[here] = calibration.abstention.losses(predicted.p, mine.labels)
    return found
