"""`vlmalign evaluate seeds`: how much of a figure is the training seed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import figure, show_rows
from vlmalign.cli.outputs import JsonFile, check_outs, write_figures


def evaluate_seeds(
    runs: Annotated[
        list[Path],
        typer.Argument(help="one of each seed: JSON files, folders with results.json, or training runs"),
    ],
    metric: Annotated[
        list[str] | None, typer.Option(help="only figures whose name contains this; may be repeated")
    ] = None,
    chance: Annotated[
        list[str] | None, typer.Option(help="what guessing earns: VALUE, or PART-OF-NAME=VALUE; may be repeated")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Tell the variance over training seeds and the signal-to-noise ratio of each figure (Madaan et al. 2024).

    For example: vlmalign evaluate seeds runs/seed-1 runs/seed-2 runs/seed-3 --metric accuracy --chance 0.5
    --json seeds.json

    A difference of two models that is no larger than seeds make is no difference of the models. Runs that differ
    in more than their seed are refused.
    """
    from vlmalign.evaluation.seed_runs import compare_seeds, read_seed_run

    check_outs({"--json": json_file}, runs)
    guesses = _chances(chance or [])
    if len({run.resolve() for run in runs}) < len(runs):
        raise ValueError("a run is given twice: give each seed once")
    found = compare_seeds([read_seed_run(run) for run in runs], only=metric or (), chance=guesses)
    rows = [("", "mean over seeds (t interval)", "std (95 %)", "signal/noise", "above chance/noise", "items +-")]
    for name, each in found["figures"].items():
        rows.append((
            name, figure(each["mean"], share=False), _spread(each), _number(each["signal_to_noise"]),
            _number(each["above_chance"]), _number(each["item_half_width"]),
        ))  # fmt: skip
    show_rows(f"{len(runs)} seeds", rows)
    steps = [(name, figure(each["monotonicity"], share=False)) for name, each in found["figures"].items()
             if "monotonicity" in each]  # fmt: skip
    if steps:
        show_rows("monotonicity over checkpoints (Kendall's tau)", steps)
    for note in found["notes"]:
        console.print(f"\nnote: {note}", markup=False)
    write_figures(found, json_file)


def _chances(given: list[str]) -> dict[str, float]:
    """`["omissions=0", "0.5"]` -> `{"omissions": 0.0, "": 0.5}`; the unnamed one is for all others."""
    found: dict[str, float] = {}
    for text in given:
        name, equals, value = text.rpartition("=")
        if name in found or (equals and not name):
            raise ValueError(f"--chance {text!r}: give one value, or PART-OF-NAME=VALUE, each once")
        try:
            found[name] = float(value)
            if not math.isfinite(found[name]):
                raise ValueError
        except ValueError:
            raise ValueError(f"--chance {text!r}: expected a number, or PART-OF-NAME=NUMBER") from None
    return dict(sorted(found.items(), key=lambda item: not item[0]))


def _spread(each: dict[str, float | None]) -> str:
    if each["std"] is None:
        return "–"
    if each["std_low"] is None:
        return "0 (all alike)"
    return f"{each['std']:.3g} ({each['std_low']:.3g} to {each['std_high']:.3g})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
