"""`vlmalign evaluate best-of-n`: what picking by a reward gains, and where it begins to please it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import check_outs, figure, show_rows, write_figures


def evaluate_best_of_n(
    cases: Annotated[Path, typer.Option(help="folder of the cases that were answered; they name the groups")],
    proxy: Annotated[Path, typer.Option(help="judgements of the candidates by the reward that picks")],
    gold: Annotated[Path, typer.Option(help="judgements of the same candidates by what is held to be true")],
    n: Annotated[
        list[int] | None,
        typer.Option(min=1, help="an N to tell; repeat it; default 1, 2, 4 ... to all"),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all figures here")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw proxy and gold over KL: a .svg or .png file")] = None,
) -> None:
    """Tell proxy and gold score of the best of N, over N and over the KL that picking costs.

    For example: vlmalign evaluate best-of-n --cases cases --proxy judged --gold judged-gold --plot curve.svg

    Where the proxy still rises and gold falls, the reward is over-optimised.
    """
    from vlmalign.evaluation.over_optimisation import (
        default_n,
        over_optimisation,
        over_optimisation_plot,
        read_judged_candidates,
    )
    from vlmalign.records import Case, RecordFolder
    from vlmalign.records.writing import put

    if plot is not None and plot.suffix not in (".svg", ".png"):
        raise ValueError(f"--plot is {plot}: name a file that ends on .svg or .png")
    check_outs({"--json": json_file, "--plot": plot}, [cases, proxy, gold])
    judged = read_judged_candidates(RecordFolder(cases, Case), proxy, gold)
    results = over_optimisation(judged, sorted(set(n)) if n else default_n(judged))
    rows = [("N", "KL", "proxy", "gold", "gold minus the N before")]
    for point in results["points"]:
        of = {name: figure(point[name], share=False) for name in ("proxy", "gold")}
        step = "" if point["gold_step"] is None else figure(point["gold_step"], share=False)
        rows.append((str(point["n"]), f"{point['kl']:.2f}", of["proxy"], of["gold"], step))
    show_rows(f"best of N by {judged.judges[0]}, held against {judged.judges[1]}", rows)
    fall = figure(results["fall_from_peak"], share=False)
    about = f"gold is highest at N = {results['peak']}; from there to the largest N it changes by {fall}"
    counts = [(name.replace("_", " "), str(count)) for name, count in results["counts"].items()]
    show_rows("verdict", [(results["verdict"], about), *counts])
    write_figures(results, json_file)
    if plot is not None:
        put(plot, over_optimisation_plot(results, image_format="png" if plot.suffix == ".png" else "svg"))
        console.print(f"wrote {plot}", markup=False)
