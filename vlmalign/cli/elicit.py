"""`vlmalign elicit`: the confidence that a model's own answers show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.stages import stage


def elicit(
    candidates: Annotated[Path, typer.Argument(help="folder of candidates, several samples per case")],
    out: Annotated[Path, typer.Option(help="folder of judgements to write")],
    method: Annotated[
        Literal["verbal", "sampled", "aggregated"],
        typer.Option(help="what answers state, how samples agree, or agreement weighted by what they state"),
    ] = "sampled",
    logic: Annotated[str | None, typer.Option(help="compare claims by this clinical logic; default texts")] = None,
    cases: Annotated[Path | None, typer.Option(help="with --logic: the cases that were answered")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a folder of other settings")] = False,
) -> None:
    """Elicit a model's confidence from its answers; what is not stated or has no other sample is missing.

    For example: vlmalign elicit candidates --logic peripheral_smear --cases cases --out confidence

    The judgements can be calibrated like those of any reward (vlmalign calibrate --gold).
    """
    before = stamp(out)
    run_elicit(candidates, out, method, logic, cases, overwrite)
    tell_outcome(out, before)


@stage("elicit")
def run_elicit(
    candidates: Path,
    out: Path,
    method: Literal["verbal", "sampled", "aggregated"] = "sampled",
    logic: str | None = None,
    cases: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write a judgement with the confidence of every candidate."""
    from vlmalign.rewards.elicited import elicit_confidence

    elicit_confidence(candidates, out, method=method, cases=cases, logic=logic, overwrite=overwrite)
