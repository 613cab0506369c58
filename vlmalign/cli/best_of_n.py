"""`vlmalign best-of-n`: of each case's candidates the one that a reward scores highest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.stages import stage


def command(
    candidates: Annotated[Path, typer.Argument(help="folder of candidates, several to each case")],
    judged: Annotated[Path, typer.Option(help="folder of judgements of them, by `vlmalign score`")],
    out: Annotated[Path, typer.Option(help="folder of candidates to write: the picks")],
    n: Annotated[
        int | None, typer.Option(min=1, help="pick among the first so many of each case; default all")
    ] = None,
    pessimism: Annotated[
        float, typer.Option(min=0, help="kappa: pick by score - kappa * std; needs scores with a std")
    ] = 0.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a folder of other settings")] = False,
) -> None:
    """Pick the candidate of each case that scores highest, and tell how many were tied or could not be picked.

    For example: vlmalign best-of-n candidates --judged judged --out best --n 4
    """
    before = stamp(out)
    run_best_of_n(candidates, judged, out, n, pessimism, overwrite)
    tell_outcome(out, before)


@stage("pick-best-of-n")
def run_best_of_n(
    candidates: Path,
    judged: Path,
    out: Path,
    n: int | None = None,
    pessimism: float = 0.0,
    overwrite: bool = False,
) -> None:
    """Write the picked candidates."""
    from vlmalign.rewards.picking import pick_best_of_n

    pick_best_of_n(candidates, judged, out, n=n, pessimism=pessimism, overwrite=overwrite)
