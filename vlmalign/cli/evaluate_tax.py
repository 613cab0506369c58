"""`vlmalign evaluate tax`: what alignment has cost, task by task, finding by finding, subgroup by subgroup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import figure, show_rows
from vlmalign.cli.named_values import named_values
from vlmalign.cli.outputs import JsonFile, ReportFile, check_outs, write_figures
from vlmalign.cli.scoring_options import MARGIN, CommonOnly, InScope, LessIsBetter, Subgroups

TASK = "TASK=VALUE"


def evaluate_tax(
    before: Annotated[
        Path, typer.Argument(help="answers before alignment: a folder of them, or one per task in it")
    ],
    after: Annotated[Path, typer.Argument(help="answers after it, to the same cases; tasks are called alike")],
    cases: Annotated[
        list[Path] | None,
        typer.Option(help="the tasks' cases: truth, groups, subgroups; needed for candidates; may be repeated"),
    ] = None,
    logic: Annotated[
        list[str] | None, typer.Option(help="clinical logic; default: that of each domain; may be repeated")
    ] = None,
    in_scope: InScope = None,
    target: Annotated[
        list[str] | None, typer.Option(help="a task that alignment was for: it pays no tax; may be repeated")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="TASK=METRIC; default: the first that is scored; may be repeated")
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(
            help="the largest loss of no interest, in shares (0.02: 2 points), or TASK=MARGIN; state it before"
        ),
    ] = None,
    less_is_better: LessIsBetter = None,
    by: Subgroups = None,
    subset: Annotated[
        str | None, typer.Option(help="split each task by this field of the cases' `extra`, e.g. a question type")
    ] = None,
    common_only: CommonOnly = False,
    seed: Annotated[int, typer.Option(help="of bootstraps")] = 0,
    json_file: JsonFile = None,
    report: ReportFile = None,
) -> None:
    """The alignment tax: the same tasks before and after, each with its interval; findings and subgroups beside
    it.

    For example: vlmalign evaluate tax sft/answers dpo/answers --cases roles/test --target greedy_report --margin
    0.03 --report tax.html

    Tasks are the folders of candidates or judgements inside both, by their names: what only one side has is named
    and left out. A task is worse where Holm's p over all tasks is below 0.05; that there is no tax is claimed only
    where each task's interval lies above its margin.
    """
    from vlmalign.cli.taxing import tax_of_folders

    check_outs({"--json": json_file, "--report": report}, [before, after, *(cases or ())])
    everywhere, margins = _margins(margin or ())
    results = tax_of_folders(
        before, after, cases=cases or (), logics=logic or (), in_scope=in_scope, targets=target or (),
        metrics=named_values(metric or (), "--metric", TASK), margin=everywhere, margins=margins,
        less_is_better=less_is_better or (), by=by, subset=subset, common_only=common_only, seed=seed,
    )  # fmt: skip
    _show(results)
    write_figures(results, json_file)
    if report is not None:
        from vlmalign.evaluation.tax_report import render_tax

        console.print(f"wrote {render_tax(results, report)}", markup=False)


def _margins(given: Sequence[str]) -> tuple[float, dict[str, float]]:
    """The margin of all tasks, and those of single ones."""
    alone = [text for text in given if "=" not in text]
    if len(alone) > 1:
        raise ValueError(
            f"--margin is given {len(alone)} times without a task: give one for all, others as TASK=MARGIN"
        )
    own = named_values([text for text in given if "=" in text], "--margin", TASK)
    try:
        return float(alone[0]) if alone else MARGIN, {name: float(value) for name, value in own.items()}
    except ValueError as error:
        raise ValueError(f"--margin {', '.join(given)}: expected numbers, e.g. 0.02 or TASK=0.5") from error


def _show(results: Mapping[str, Any]) -> None:
    from vlmalign.evaluation.finding_changes import worse_in_words
    from vlmalign.evaluation.report_view import show_p

    rows: list[Sequence[str]] = [("task", "metric", "after", "gain", "p, Holm", "", "words, after over before")]
    for name, each in results["tasks"].items():
        margin = each["non_inferior"]
        shown = "no margin" if margin is None else {True: "within margin", False: "not shown within margin",
                                                    None: "cannot be said"}[margin["shown"]]  # fmt: skip
        words = None if each["words"] is None else each["words"]["ratio"]
        rows.append((name + (" (target)" if each["target"] else ""), each["metric"],
                     figure(_short(each["after"]), share=each["share"]),
                     figure(each["gain"], share=each["share"], signed=each["share"]),
                     show_p(each["p_holm"]), shown, figure(_short(words), share=False)))  # fmt: skip
    show_rows("gains (after minus before, more is better; 95 % intervals over groups)", rows)
    for side, names in results["missing_tasks"].items():
        if names:
            console.print(
                f"{len(names)} tasks {side.replace('_', ' ')}, left out: {', '.join(names)}", markup=False
            )
    for name, why in results["macro"]["left_out"].items():
        console.print(f"{name} is not in the overall figure: {why}", markup=False)
    for name, changes in results["findings"].items():
        console.print(f"{name}, by finding: {worse_in_words(changes)}", markup=False)
    console.print(f"\n{results['verdict']}: {results['sentence']}", markup=False)


def _short(score: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if score is None else {key: score[key] for key in ("mean", "low", "high")}
