"""`vlmalign evaluate power`: how many patients a comparison needs, or what so many can show."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import show_rows
from vlmalign.cli.outputs import check_outs, write_figures

if TYPE_CHECKING:
    from vlmalign.evaluation.power import Differences

Question = Literal["proportion", "superiority", "non-inferiority", "equivalence"]


def evaluate_power(
    question: Annotated[
        Question, typer.Argument(help="one share's precision, or what is to be shown of two models' difference")
    ],
    share: Annotated[float | None, typer.Option(help="with proportion: the share expected to be right")] = None,
    half_width: Annotated[
        float | None, typer.Option(help="with proportion: of the wanted 95 % interval, e.g. 0.05")
    ] = None,
    effect: Annotated[
        float | None, typer.Option(help="true difference, first minus second; default 0 with a margin")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="largest difference of no interest, for non-inferiority and equivalence")
    ] = None,
    discordant: Annotated[
        float | None, typer.Option(help="share of items that exactly one of the models has right")
    ] = None,
    std: Annotated[
        float | None, typer.Option(help="instead: standard deviation of an item's paired difference")
    ] = None,
    pilot: Annotated[
        Path | None, typer.Option(help="instead: CSV with columns group and difference, which tells the ICC, too")
    ] = None,
    items_per_group: Annotated[
        float | None, typer.Option(help="items of a patient, on average; default 1")
    ] = None,
    icc: Annotated[
        float | None, typer.Option(help="intraclass correlation of a patient's items; default 0")
    ] = None,
    size_variation: Annotated[
        float | None, typer.Option(help="std of the patients' item counts over their mean; default 0")
    ] = None,
    groups: Annotated[
        int | None, typer.Option(min=2, help="so many patients are given: tell what they reach")
    ] = None,
    power: Annotated[float | None, typer.Option(help="wanted chance that it is shown; default 0.8")] = None,
    alpha: Annotated[float, typer.Option(help="two-sided; of equivalence that of each one-sided test")] = 0.05,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the numbers here")] = None,
) -> None:
    """Tell how many patients are needed, or with --groups what so many can show, and what that rests on.

    For example: vlmalign evaluate power superiority --effect 0.05 --discordant 0.25 --items-per-group 3 --icc 0.2

    Or: vlmalign evaluate power non-inferiority --margin 0.03 --discordant 0.1 --groups 400
    """
    from vlmalign.evaluation.study_size import Plan, size_study

    check_outs({"--json": json_file}, [] if pilot is None else [pilot])
    _check(question, share=share, half_width=half_width, effect=effect, margin=margin, discordant=discordant,
           std=std, pilot=pilot, items_per_group=items_per_group, icc=icc, size_variation=size_variation,
           groups=groups, power=power)  # fmt: skip
    if not 0 < alpha < 0.5:
        raise ValueError(f"--alpha is {alpha}: expected more than 0 and less than 0.5")
    clusters = {"correlation": icc or 0.0, "items_per_group": 1.0 if items_per_group is None else items_per_group,
                "size_variation": size_variation or 0.0}  # fmt: skip
    varies = _varies(share, discordant, std, pilot, effect or 0.0, clusters)
    plan = Plan(question, varies, effect or 0.0, margin or 0.0, half_width, power or 0.8, alpha)
    found = size_study(plan, groups)
    reached = "half width of the interval" if question == "proportion" else "power"
    console.print(
        f"{question}: {found['groups']:,} patients ({found['items']:,} items), {reached} {found['reached']:.3f}",
        markup=False, style="bold",
    )  # fmt: skip
    show_rows("other numbers", [("patients", reached), *((n, f"{x:.3f}") for n, x in found["nearby"].items())])
    show_rows("assumed", [(each,) for each in found["assumptions"]])
    write_figures(found, json_file)


def _check(question: Question, **given: object) -> None:
    """Refuse options that do not go with the question, or with each other, before anything is computed."""
    told = {name for name, value in given.items() if value is not None}
    fits = {"items_per_group", "icc", "size_variation", "groups"}
    if question == "proportion":
        fits |= {"share", "half_width"}
        needed = ["share"]
    else:
        needed = ["effect"] if question == "superiority" else ["margin"]
        fits |= {"effect", "discordant", "std", "pilot", "power", *needed}
    for name, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{_option(name)} is {value}: expected a finite number")
    for name in sorted(told - fits):
        raise ValueError(f"{_option(name)} does not go with {question}: drop it")
    for name in needed:
        if name not in told:
            raise ValueError(f"{question} needs {_option(name)}")
    if question == "proportion":
        _one_of(told, ("half_width", "groups"), question)
    else:
        _one_of(told, ("discordant", "std", "pilot"), question)
        if {"groups", "power"} <= told:
            raise ValueError(
                "--groups and --power are both given: with so many patients the power is what is told"
            )
    if "pilot" in told and (also := told & {"items_per_group", "icc", "size_variation"}):
        raise ValueError(f"{_option(sorted(also)[0])} and --pilot are both given: the pilot tells it; drop one")
    margin = given["margin"]
    if isinstance(margin, float) and margin <= 0:
        raise ValueError(f"--margin is {margin}: expected more than 0, the largest difference of no interest")
    power = given["power"]
    if isinstance(power, float) and not 0 < power < 1:
        raise ValueError(f"--power is {power}: expected more than 0 and less than 1")


def _one_of(told: set[str], names: tuple[str, ...], question: str) -> None:
    chosen = [name for name in names if name in told]
    if len(chosen) != 1:
        options = " or ".join(map(_option, names))
        raise ValueError(f"{question} needs one of {options}: {len(chosen)} are given")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _varies(
    share: float | None,
    discordant: float | None,
    std: float | None,
    pilot: Path | None,
    effect: float,
    clusters: dict[str, float],
) -> Differences:
    from vlmalign.evaluation.power import Differences, of_share, of_shares
    from vlmalign.evaluation.study_size import read_pilot

    if pilot is not None:
        return read_pilot(pilot)
    if share is not None:
        return of_share(share, **clusters)
    if discordant is not None:
        return of_shares(discordant, effect, **clusters)
    assert std is not None
    return Differences(std, **clusters)
