"""Online runs on a common grid of KL: what was maximised and what is true, at equal distance from the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.seed_variance import over_seeds

Evaluations = Sequence[Mapping[str, Any]]


class KlPoint(NamedTuple):
    """Runs of several seeds at one KL.

    Attributes:
        kl: nats per answer.
        proxy: what was maximised, over seeds.
        gold: what is true, over seeds.
    """

    kl: float
    proxy: Estimate
    gold: Estimate

    def to_dict(self) -> dict[str, Any]:
        """`kl`, and mean, low, high of both under `proxy`, `proxy_low` ...; `n` is the number of seeds."""
        found: dict[str, Any] = {"kl": self.kl, "n": self.gold.n}
        for name in ("proxy", "gold"):
            estimate: Estimate = getattr(self, name)
            found |= {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return found


def at_kl(evaluations: Evaluations, name: str, kl: float) -> float | None:
    """A figure of one run where it first comes to a KL, between two evaluations on a straight line.

    Args:
        evaluations: in the order of the run, each with `kl` and the figure (None where not known).
        name: of the figure.
        kl: the distance.

    Returns:
        The figure; None if the run never comes so far, or the figure is not known there.

    Example:
        >>> at_kl([{"kl": 0.0, "gold": 1.0}, {"kl": 4.0, "gold": 0.0}, {"kl": 2.0, "gold": 9.0}], "gold", 1.0)
        0.75
    """
    before: Mapping[str, Any] | None = None
    for point in evaluations:
        if point["kl"] is None or point.get(name) is None:
            continue
        if point["kl"] >= kl:
            if before is None or point["kl"] == before["kl"]:
                return float(point[name]) if point["kl"] == kl or before is not None else None
            share = (kl - before["kl"]) / (point["kl"] - before["kl"])
            return float(before[name] + share * (point[name] - before[name]))
        before = point
    return None


def common_grid(arms: Mapping[str, Sequence[Evaluations]], n: int = 9) -> list[float]:
    """KLs from 0 to the furthest that every run of every arm comes to, n of them, equally far apart.

    Raises:
        ValueError: a run without evaluations.
    """
    furthest = []
    for name, runs in arms.items():
        for run in runs:
            known = [point["kl"] for point in run if point["kl"] is not None]
            if not known:
                raise ValueError(f"a run of {name!r} has no evaluation with a KL: follow it on held-out cases")
            furthest.append(max(known))
    return [float(value) for value in np.linspace(0.0, min(furthest), n)]


def curve(runs: Sequence[Evaluations], grid: Sequence[float]) -> list[KlPoint]:
    """Mean over seeds at each KL, with t intervals over seeds.

    Args:
        runs: one per seed.
        grid: KLs; a run that does not come to one is left out there and counted as excluded.
    """
    return [
        KlPoint(kl, *(over_seeds([at_kl(run, name, kl) for run in runs]) for name in ("reward", "gold")))
        for kl in grid
    ]


def differences(a: Sequence[Evaluations], b: Sequence[Evaluations], grid: Sequence[float]) -> list[KlPoint]:
    """Arm a less arm b, paired by seed, at each KL.

    Args:
        a: runs by seed.
        b: runs of the other arm, the same seeds in the same order.
        grid: KLs.

    Raises:
        ValueError: arms of differing numbers of seeds.
    """
    if len(a) != len(b):
        raise ValueError(f"arms have {len(a)} and {len(b)} runs, expected as many: pair them by seed")

    def apart(name: str, kl: float) -> Estimate:
        both = [(at_kl(x, name, kl), at_kl(y, name, kl)) for x, y in zip(a, b, strict=True)]
        return over_seeds([None if x is None or y is None else x - y for x, y in both])

    return [KlPoint(kl, apart("reward", kl), apart("gold", kl)) for kl in grid]
