"""The same evaluation of several training seeds, figure by figure: which part of a difference is the seed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from vlmalign.evaluation.figure_places import figures_in
from vlmalign.evaluation.seed_variance import SeedVariance, monotonicity, seed_variance
from vlmalign.records import DataError
from vlmalign.records.manifest import config_difference

RESULTS, PROVENANCE, METRICS, CONFIG = "results.json", "provenance.json", "metrics.jsonl", "config.yaml"
#: settings in which runs of two seeds may differ
OWN = frozenset({"seed", "out"})
#: what a training run logs beside figures
CLOCK = frozenset({"step", "epoch", "learning_rate", "flops", "seconds"})


@dataclass(frozen=True)
class SeedRun:
    """One seed.

    Attributes:
        name: the file or folder.
        seed: None where it does not say.
        config: its settings; empty where it does not say.
        scores: figure -> value; None: not scored.
        half_widths: figure -> half of its interval over items.
        steps: figure -> its value at each checkpoint.
    """

    name: str
    seed: int | None
    config: Mapping[str, Any]
    scores: Mapping[str, float | None]
    half_widths: Mapping[str, float]
    steps: Mapping[str, Sequence[float | None]]


def read_seed_run(place: str | Path) -> SeedRun:
    """Read a JSON file of figures, a folder that holds results.json, or a training run with its metrics.

    Raises:
        DataError: nothing of these, or damaged.
    """
    place = Path(place)
    if (place / METRICS).is_file():
        return _training_run(place)
    path = place / RESULTS if place.is_dir() else place
    if not path.is_file():
        raise DataError(f"neither a JSON file nor a folder with {RESULTS} or {METRICS}",
                        "Give the results of one seed.", file=place)  # fmt: skip
    data = _object(path)
    figures = figures_in(data)
    if not figures:
        raise DataError("it holds no figure with an interval", "Give what --json wrote.", file=path)
    scores = {name: None if figure["mean"] is None else float(figure["mean"]) for name, figure in figures.items()}
    halves = {name: (figure["high"] - figure["low"]) / 2 for name, figure in figures.items()
              if figure["low"] is not None and figure["high"] is not None}  # fmt: skip
    told = data.get("config")
    config = told if isinstance(told, Mapping) else {}
    seed = data.get("seed", config.get("seed"))
    return SeedRun(str(place), seed if isinstance(seed, int) else None, config, scores, halves, {})


def compare_seeds(
    runs: Sequence[SeedRun], *, only: Sequence[str] = (), chance: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Variance over seeds of every figure (Madaan et al. 2024), beside the interval over items.

    Args:
        runs: one of each seed, two at least.
        only: figures whose name contains one of these; () = all.
        chance: name of a figure, or part of it -> what guessing earns; the first that fits holds.

    Returns:
        `runs`: names and seeds; `figures`: name -> `SeedVariance` with `item_half_width` (median over runs),
        `monotonicity` where checkpoints are known; `notes`.

    Raises:
        ValueError: fewer than two runs, two of one seed, runs that differ in more than the seed, or no figure.
    """
    _check(runs)
    names = [
        name
        for name in dict.fromkeys(name for run in runs for name in run.scores)
        if not only or any(part in name for part in only)
    ]
    if not names:
        raise ValueError(
            f"no figure's name contains {' or '.join(map(repr, only))}: e.g. {next(iter(runs[0].scores))}"
        )
    for part in chance or {}:
        if not any(part in name for name in names):
            raise ValueError(f"chance is given for {part!r}, and no figure's name contains it")
    notes = []
    lacking = {name: n for name in names if (n := sum(name not in run.scores for run in runs))}
    if lacking:
        notes.append(
            f"{len(lacking)} figures are not in every run, e.g. {next(iter(lacking))}: those runs are excluded"
        )
    if any(run.seed is None for run in runs):
        unknown = [run.name for run in runs if run.seed is None]
        notes.append(f"{', '.join(unknown)} say no seed: that the runs differ in nothing else is taken on trust")
    if len(runs) < 5:
        notes.append(f"{len(runs)} seeds: the standard deviation is known by no more than its interval says")
    return {
        "runs": {run.name: run.seed for run in runs},
        "figures": {name: _figure(runs, name, chance or {}) for name in names},
        "notes": notes,
    }


def _figure(runs: Sequence[SeedRun], name: str, chance: Mapping[str, float]) -> dict[str, Any]:
    guess = next((value for part, value in chance.items() if part in name), 0.0)
    found: SeedVariance = seed_variance([run.scores.get(name) for run in runs], chance=guess)
    halves = [run.half_widths[name] for run in runs if name in run.half_widths]
    told: dict[str, Any] = {
        **found.to_dict(), "chance": guess, "item_half_width": median(halves) if halves else None,
    }  # fmt: skip
    curves = [run.steps[name] for run in runs if len(run.steps.get(name, ())) > 1]
    if curves:
        told["monotonicity"] = monotonicity(curves).to_dict()
    return told


def _check(runs: Sequence[SeedRun]) -> None:
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} run is given: give the same evaluation of two seeds at least")
    first = runs[0]
    for k, run in enumerate(runs):
        for other in runs[:k]:
            if run.seed is not None and run.seed == other.seed:
                raise ValueError(f"{other.name} and {run.name} are both of seed {run.seed}: give each seed once")
        mine, theirs = (
            {key: value for key, value in each.config.items() if key not in OWN} for each in (run, first)
        )
        if mine and theirs and mine != theirs:
            raise ValueError(
                f"{first.name} and {run.name} differ in more than the seed ({config_difference(theirs, mine)}): "
                "what varies between them is not the seed's doing"
            )


def _training_run(folder: Path) -> SeedRun:
    import yaml

    provenance = _object(folder / PROVENANCE) if (folder / PROVENANCE).is_file() else {}
    config = {}
    if (folder / CONFIG).is_file():
        read = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        config = read if isinstance(read, dict) else {}
    steps: dict[str, list[float | None]] = {}
    for number, line in enumerate((folder / METRICS).read_bytes().splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            raise DataError("it is no JSON", "The run was cut off: let it continue.",
                            file=folder / METRICS, line=number) from None  # fmt: skip
        if not isinstance(entry, dict):
            raise DataError(f"it is {str(entry)[:40]}, expected an object", "Restore the file.",
                            file=folder / METRICS, line=number)  # fmt: skip
        for key, value in entry.items():
            if key not in CLOCK and isinstance(value, int | float) and not isinstance(value, bool):
                steps.setdefault(key, []).append(float(value) if math.isfinite(value) else None)
    if not steps:
        raise DataError("it holds no figure", "Give a run that has logged something.", file=folder / METRICS)
    last = {name: values[-1] for name, values in steps.items()}
    seed = provenance.get("seed", config.get("seed"))
    return SeedRun(str(folder), seed if isinstance(seed, int) else None, config, last, {}, steps)


def _object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"it cannot be read: {error}", "It is damaged: make it again.", file=path) from None
    if not isinstance(data, dict):
        raise DataError("it holds no JSON object", "Give what --json wrote.", file=path)
    return data
