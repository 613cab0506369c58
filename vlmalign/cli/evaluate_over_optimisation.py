"""`vlmalign evaluate over-optimisation`: proxy against gold over KL, from the runs of `vlmalign ppo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import figure, show_rows
from vlmalign.cli.outputs import JsonFile, PlotFile, ReportFile, check_outs, write_figures, write_plot


def evaluate_over_optimisation(
    runs: Annotated[
        list[str], typer.Argument(metavar="[NAME=]RUN...", help="run folders; NAME: the arm whose seed it is")
    ],
    points: Annotated[int, typer.Option(min=2, help="points of the grid of KL")] = 9,
    to: Annotated[
        float | None, typer.Option(help="where the grid ends; default: the furthest that every run comes to")
    ] = None,
    json_file: JsonFile = None,
    plot: PlotFile = None,
    report: ReportFile = None,
) -> None:
    """Is the reward over-optimised? Proxy against gold over KL, the peak of gold, the fall after it, growth.

    For example: vlmalign evaluate over-optimisation runs/ppo-1 runs/ppo-2 runs/ppo-3 --report over.html

    The runs must have been followed on held-out cases (eval_data, eval_steps) with a gold reward. Seeds are pooled
    at equal KL, on a grid that ends where the shortest run does: nothing is extrapolated. Of several arms: ppo=A
    ppo=B grpo=C grpo=D.
    """
    from vlmalign.evaluation.kl_plot import pooled_over_kl_plot
    from vlmalign.evaluation.online_curve import online_over_optimisation

    check_outs({"--json": json_file, "--plot": plot, "--report": report})
    arms = _read(runs)
    results = online_over_optimisation(arms, points=points, to=to)
    results["setup"] = {
        name: {"algorithm": own[0].algorithm, "reward": own[0].reward, "gold": own[0].gold} | {"seeds": len(own)}
        for name, own in arms.items()
    }
    _show(results)
    write_figures(results, json_file)
    write_plot(plot, pooled_over_kl_plot, results["arms"])
    if report is not None:
        from vlmalign.evaluation.over_kl_report import render_over_kl

        console.print(f"wrote {render_over_kl(results, report)}", markup=False)


def _read(given: Sequence[str]) -> dict[str, list[Any]]:
    """Runs by arm: `NAME=RUN`, or all of one arm, which is called after what was done."""
    from vlmalign.evaluation.online_runs import check_one_arm, read_online_run

    named = [text.partition("=") if "=" in text and not Path(text).exists() else ("", "", text) for text in given]
    if any(name for name, _, _ in named) and not all(name and folder for name, _, folder in named):
        raise ValueError("some runs have a name and others none: give every run as NAME=RUN, or none")
    arms: dict[str, list[Any]] = {}
    for name, _, folder in named:
        run = read_online_run(folder)
        arms.setdefault(name or (next(iter(arms), "") or run.algorithm), []).append(run)
    for name, runs in arms.items():
        check_one_arm(name, runs)
    return arms


def _show(results: Mapping[str, Any]) -> None:
    for name, arm in results["arms"].items():
        rows: list[tuple[str, ...]] = [("KL", "proxy", "gold", "tokens")]
        rows += [
            (f"{point['kl']:.2f}", *(_one(point[key]) for key in ("proxy", "gold", "tokens")))
            for point in arm["points"]
        ]
        show_rows(f"{name}: {len(arm['runs'])} seeds; means with 95 % intervals", rows)
        changes = {
            "gold, from the start": "gold_gain", "gold, from its peak": "fall",
            "gold, from the other seeds' peak": "fall_cross_fitted", "proxy, from the start": "proxy_rise",
            "proxy, from gold's peak": "proxy_after_peak", "tokens, end over start": "tokens_ratio",
            "words of logged answers, late over early": "words_ratio",
        }  # fmt: skip
        show_rows("changes", [(title, figure(arm[key], share=False)) for title, key in changes.items()])
    if results["differences"] is not None:
        both = results["differences"]
        rows = [(f"{p['kl']:.2f}", _one(p["proxy"]), _one(p["gold"])) for p in both["points"]]
        show_rows(f"{both['names'][0]} minus {both['names'][1]}, by seed", [("KL", "proxy", "gold"), *rows])
    console.print()
    for name, arm in results["arms"].items():
        console.print(f"{name}: {arm['verdict']}. {arm['sentence']}", markup=False)
    for note in results["notes"]:
        console.print(note, markup=False)


def _one(score: Mapping[str, Any]) -> str:
    return figure({key: value for key, value in score.items() if key in ("mean", "low", "high")}, share=False) + (
        f", {score['excluded']} excluded" if score["excluded"] else ""
    )
