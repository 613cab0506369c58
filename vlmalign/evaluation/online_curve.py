"""Over-optimisation of online runs: proxy against gold over KL, seeds pooled.

Gao et al. 2023 (arXiv:2210.10760): the proxy rises with the distance from the start while gold first rises and
then falls. All figures are told at equal KL, never beyond what a run came to, with t intervals over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vlmalign.evaluation.answer_growth import growth, words_growth
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.kl_grid import at_kl, common_grid, differences
from vlmalign.evaluation.online_runs import OnlineRun
from vlmalign.evaluation.seed_variance import over_seeds

Z95 = 1.96
#: from so many runs on the peak is found on the other runs
CROSS_FIT_FROM = 3
FIGURES = {"proxy": "reward", "gold": "gold", "tokens": "tokens"}
ONE_SEED = "1.96 standard errors over groups of held-out cases of a single seed, others are not covered"
VERDICTS = ("over-optimised", "gold rises", "gold falls", "undecided", "gold not known")


def kl_grid_of(arms: Mapping[str, Sequence[OnlineRun]], points: int = 9, to: float | None = None) -> list[float]:
    """KLs from 0 on, equally far apart: to the furthest that every run comes to, or to a given one.

    Raises:
        ValueError: a run has no KL or never leaves the start, or no run comes as far as `to`.
    """
    if points < 2:
        raise ValueError(f"the grid has {points} points, expected 2 or more")
    found = common_grid({name: [run.evaluations for run in runs] for name, runs in arms.items()}, points)
    reach = {run.path: furthest(run) for runs in arms.values() for run in runs}
    if to is not None:
        if to <= 0 or to > max(reach.values()):
            raise ValueError(f"the grid is to end at KL {to:g}: no run comes beyond {max(reach.values()):.3g}, "
                             "and nothing is extrapolated: give less")  # fmt: skip
        return [float(kl) for kl in np.linspace(0.0, to, points)]
    if found[-1] <= 0:
        shortest = min(reach, key=lambda path: reach[path])
        raise ValueError(f"{shortest} never leaves the start (its largest KL is {reach[shortest]:.3g}): leave it "
                         "out, or end the grid at a KL that the others come to")  # fmt: skip
    return found


def furthest(run: OnlineRun) -> float:
    """The largest KL that a run came to on the held-out cases."""
    return max((float(point["kl"]) for point in run.evaluations if point["kl"] is not None), default=0.0)


def online_over_optimisation(
    arms: Mapping[str, Sequence[OnlineRun]], *, points: int = 9, to: float | None = None
) -> dict[str, Any]:
    """Each arm's curves on a common grid of KL, its peak of gold, the fall after it, growth, and a verdict.

    Args:
        arms: name -> runs, one per seed.
        points: of the grid.
        to: its end; None: the furthest that every run of every arm comes to.

    Returns:
        `grid`; `arms`: see `arm_over_kl`; `differences`: with two arms of the same seeds, the first less the
        second, seed by seed; `notes`.

    Raises:
        ValueError: see `kl_grid_of`.
    """
    grid = kl_grid_of(arms, points, to)
    results: dict[str, Any] = {
        "grid": grid,
        "arms": {name: arm_over_kl(runs, grid) for name, runs in arms.items()},
        "notes": _notes(arms, grid),
        "differences": None,
    }
    if len(arms) == 2:
        (first, a), (second, b) = arms.items()
        of_b = {run.seed: run for run in b}
        if len(a) == len(b) == len(of_b) and {run.seed for run in a} == set(of_b):
            apart = differences([r.evaluations for r in a], [of_b[r.seed].evaluations for r in a], grid)
            points_of = [
                {"kl": point.kl, "proxy": point.proxy.to_dict(), "gold": point.gold.to_dict()} for point in apart
            ]
            results["differences"] = {"names": [first, second], "points": points_of}
    return results


def arm_over_kl(runs: Sequence[OnlineRun], grid: Sequence[float]) -> dict[str, Any]:
    """Curves of one arm.

    The peak is the KL of the grid with the highest mean gold, of those that all runs whose gold is known come to.
    A fall from a peak that the same runs chose is found too easily: from three runs on each run's fall is from
    the peak of the others (`fall_cross_fitted`), and the verdict goes by that. Simulated where gold neither rises
    nor falls (1,000 sets each of 3, 5 and 8 seeds, 9 points, white noise and random walks): a plain fall's whole
    interval lay below 0 in 5 to 14 %, the cross-fitted one's in 3 to 8 % (2.5 % would be exact), with no bias
    left.

    Args:
        runs: one per seed.
        grid: KLs, the first is the start.

    Returns:
        `points`: for each KL `proxy`, `gold`, `tokens` (mean of held-out answers); `peak` and the `peaks` of the
        runs by themselves; `fall`, `fall_cross_fitted`: gold at the end of the grid less gold at the peak;
        `proxy_after_peak`, `proxy_rise`, `gold_gain`; `tokens_ratio`: of held-out answers, end over start;
        `words_ratio`: see `words_growth`; `runs`; `verdict` and `sentence`.
    """
    values = {
        label: [[at_kl(run.evaluations, key, kl) for kl in grid] for run in runs] for label, key in FIGURES.items()
    }
    errors: dict[str, list[float | None]] = {}
    if len(runs) == 1:
        errors = {key: [at_kl(runs[0].evaluations, f"{key}_se", kl) for kl in grid] for key in ("reward", "gold")}
    points = [
        {"kl": kl, **{label: _pooled(values[label], k, errors.get(key)).to_dict()
                      for label, key in FIGURES.items()}}
        for k, kl in enumerate(grid)
    ]  # fmt: skip
    gold, last = values["gold"], len(grid) - 1
    peak = _peak(gold)
    found: dict[str, Any] = {
        "points": points,
        "peak": None if peak is None else {"kl": grid[peak], "gold": points[peak]["gold"]},
        "peaks": [None if own is None else grid[own] for own in (_peak([row]) for row in gold)],
        "fall": _change(gold, peak, last, errors.get("gold")).to_dict(),
        "fall_cross_fitted": _cross_fitted(gold, last).to_dict(),
        "proxy_after_peak": _change(values["proxy"], peak, last, errors.get("reward")).to_dict(),
        "proxy_rise": _change(values["proxy"], 0, last, errors.get("reward")).to_dict(),
        "gold_gain": _change(gold, 0, last, errors.get("gold")).to_dict(),
        "tokens_ratio": growth([(row[0], row[last]) for row in values["tokens"]]).to_dict(),
        "words_ratio": words_growth(runs).to_dict(),
        "runs": [
            {**_told(run, grid), "on_grid": {label: rows[place] for label, rows in values.items()}}
            for place, run in enumerate(runs)
        ],
    }  # fmt: skip
    found["verdict"] = verdict_of(found, moved=peak is not None and peak != last)
    found["sentence"] = sentence_of(found)
    return found


def verdict_of(found: Mapping[str, Any], *, moved: bool) -> str:
    """One of `VERDICTS`.

    * over-optimised: gold falls after its peak, and the proxy does not fall with it;
    * gold rises, gold falls: from the start to the end of the grid;
    * undecided: no interval excludes 0.
    """
    if found["peak"] is None:
        return "gold not known"
    fall = fall_that_counts(found)
    rising = found["proxy_after_peak"]["low"]
    if moved and fall["high"] is not None and fall["high"] < 0 and rising is not None and rising > 0:
        return "over-optimised"
    gain = found["gold_gain"]
    if gain["low"] is None:
        return "undecided"
    return "gold rises" if gain["low"] > 0 else "gold falls" if gain["high"] < 0 else "undecided"


def fall_that_counts(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The cross-fitted fall where there is one, else the plain one."""
    of_others: Mapping[str, Any] = found["fall_cross_fitted"]
    return of_others if of_others["mean"] is not None else found["fall"]


def sentence_of(found: Mapping[str, Any]) -> str:
    """What the verdict rests on, in words."""
    end = found["points"][-1]["kl"]
    rise, longer = _words(found["proxy_rise"]), _words(found["tokens_ratio"], sign="")
    tail = f" The proxy changes by {rise} from the start; answers are {longer} times as long in tokens."
    if found["peak"] is None:
        return f"Gold was not measured, so that nobody can say what the proxy's rise is worth.{tail}"
    peak, fall = found["peak"], fall_that_counts(found)
    about = f"Gold is highest at KL {peak['kl']:.3g}"
    if peak["kl"] not in (0.0, end):
        about += f", and changes by {_words(fall)} from there to KL {end:.3g}, the end of the grid"
        if fall is found["fall_cross_fitted"]:
            about += " (each seed's peak found on the others)"
    gain = f"; from the start to KL {end:.3g} it changes by {_words(found['gold_gain'])}"
    seeds = "" if len(found["runs"]) > 1 else " One seed only: nothing is said about others."
    return f"{about}{gain}.{tail}{seeds}"


def _pooled(rows: Sequence[Sequence[float | None]], k: int, errors: Sequence[float | None] | None) -> Estimate:
    found = over_seeds([row[k] for row in rows])
    error = None if errors is None else errors[k]
    return found if error is None or found.mean is None else _around(found, error)


def _around(found: Estimate, error: float) -> Estimate:
    assert found.mean is not None
    return replace(found, low=found.mean - Z95 * error, high=found.mean + Z95 * error, method=ONE_SEED)


def _peak(rows: Sequence[Sequence[float | None]]) -> int | None:
    """The place with the highest mean, of those where each row that is known anywhere is known."""
    known = [row for row in rows if any(value is not None for value in row)]
    means = {
        k: float(np.mean([value for value in column if value is not None]))
        for k, column in enumerate(zip(*known, strict=True))
        if all(value is not None for value in column)
    }
    return max(means, key=lambda k: means[k]) if means else None


def _change(
    rows: Sequence[Sequence[float | None]], start: int | None, end: int, errors: Sequence[float | None] | None
) -> Estimate:
    """From one place of the grid to another, paired by run; of a single run as if evaluations were unpaired."""
    if start is None:
        return Estimate.nothing(len(rows))
    found = over_seeds([_minus(row[end], row[start]) for row in rows])
    both = None if errors is None or start == end else (errors[start], errors[end])
    if both is None or found.mean is None or both[0] is None or both[1] is None:
        return found
    return _around(found, (both[0] ** 2 + both[1] ** 2) ** 0.5)


def _cross_fitted(rows: Sequence[Sequence[float | None]], end: int) -> Estimate:
    known = [row for row in rows if any(value is not None for value in row)]
    if len(known) < CROSS_FIT_FROM:
        return Estimate.nothing(len(rows))
    falls: list[float | None] = []
    for place, row in enumerate(known):
        peak = _peak([*known[:place], *known[place + 1 :]])
        falls.append(None if peak is None else _minus(row[end], row[peak]))
    return replace(over_seeds(falls), excluded=len(rows) - sum(fall is not None for fall in falls))


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _told(run: OnlineRun, grid: Sequence[float]) -> dict[str, Any]:
    unknown = sum(point["gold"] is None for point in run.evaluations)
    return {
        "path": str(run.path), "seed": run.seed, "furthest_kl": furthest(run), "complete": run.complete,
        "reaches_the_grid": furthest(run) >= grid[-1], "evaluations": [dict(point) for point in run.evaluations],
        "evaluations_without_gold": unknown, "not_finite": run.not_finite, "kept_round": run.kept,
        "answers": len(run.answers),
    }  # fmt: skip


def _notes(arms: Mapping[str, Sequence[OnlineRun]], grid: Sequence[float]) -> list[str]:
    notes = []
    for name, runs in arms.items():
        short = [run for run in runs if furthest(run) < grid[-1]]
        if short:
            notes.append(
                f"{name}: {len(short)} of {len(runs)} runs do not come to KL {grid[-1]:.3g}, the end of the grid; "
                "beyond its own end a run is left out, and the mean is of the others."
            )
        blind = [run for run in runs if all(point["gold"] is None for point in run.evaluations)]
        if blind:
            notes.append(f"{name}: {len(blind)} of {len(runs)} runs did not measure gold.")
        some = sum(point["gold"] is None for run in runs if run not in blind for point in run.evaluations)
        if some:
            notes.append(
                f"{name}: gold is not known in {some} evaluations; between their neighbours a line is drawn."
            )
        if bad := sum(run.not_finite for run in runs):
            notes.append(f"{name}: {bad} figures are NaN or infinite, and count as not known.")
        if open_runs := sum(not run.complete for run in runs):
            notes.append(f"{name}: {open_runs} of {len(runs)} runs are not complete.")
        if len(runs) == 1:
            notes.append(f"{name}: one seed only; its intervals are over held-out cases, not over seeds.")
    return notes


def _words(score: Mapping[str, Any], sign: str = "+") -> str:
    if score["mean"] is None:
        return "a number that is not known"
    shown = f"{score['mean']:{sign}.3g}"
    if score["low"] is None:
        return f"{shown} (no interval)"
    return f"{shown} (95 % interval {score['low']:{sign}.3g} to {score['high']:{sign}.3g})"
