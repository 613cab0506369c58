"""`vlmalign compare`: two or more runs over the same items, with every difference tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import figure, show_rows
from vlmalign.cli.outputs import JsonFile, ReportFile, check_outs, write_figures
from vlmalign.cli.scoring_options import (
    LOGIC,
    MARGIN,
    Answered,
    CommonOnly,
    InScope,
    LessIsBetter,
    LogicName,
    Subgroups,
)


def compare(
    run_a: Annotated[Path, typer.Argument(help="folder of candidates or of judgements")],
    run_b: Annotated[Path, typer.Argument(help="another one, over the same items")],
    more: Annotated[
        list[Path] | None, typer.Argument(help="further runs, each compared with RUN_A", show_default=False)
    ] = None,
    cases: Annotated[
        list[Path] | None,
        typer.Option(
            help="their cases: truth, groups, pictures, subgroups; needed for candidates; may be repeated"
        ),
    ] = None,
    answered: Answered = None,
    groups: Annotated[
        list[Path] | None,
        typer.Option(help="of judgements without --cases: cases, candidates or pairs that tell the patients"),
    ] = None,
    logic: LogicName = LOGIC,
    in_scope: InScope = None,
    metric: Annotated[
        str | None, typer.Option(help="the metric that the verdicts are about; default: the first")
    ] = None,
    margin: Annotated[
        float, typer.Option(help="the largest difference of no interest, in the metric's units; state it before")
    ] = MARGIN,
    less_is_better: LessIsBetter = None,
    by: Subgroups = None,
    confidence: Annotated[
        list[Path] | None, typer.Option(help="judgements with A's confidence, then B's (`vlmalign elicit`)")
    ] = None,
    names: Annotated[
        str | None, typer.Option(help="what to call them: NAME_A,NAME_B,...; default: the folders")
    ] = None,
    common_only: CommonOnly = False,
    examples: Annotated[int, typer.Option(min=0, help="changed items to show, of either direction")] = 4,
    seed: Annotated[int, typer.Option(help="of bootstraps and of which examples are shown")] = 0,
    json_file: JsonFile = None,
    report: ReportFile = None,
) -> None:
    """Compare runs item by item: paired differences, McNemar, margins, Holm, wins and losses, subgroups.

    For example: vlmalign compare dpo/answers sft/answers --cases roles/test --margin 0.05 --json results.json
    --report report.html

    Of folders that `vlmalign score --pairs` wrote, an item is a pair: is the chosen answer scored above the
    rejected? With further runs each is compared with RUN_A, and Holm's p is over all metrics of all comparisons.

    Runs over different items are refused unless --common-only says that only the shared ones count. Nothing of the
    margin's verdicts is worth anything if the margin was chosen after a look at the figures.
    """
    from vlmalign.cli.comparing import compare_folders, named

    others = [run_b, *(more or ())]
    inputs = [run_a, *others, *(cases or ()), *(groups or ())]
    check_outs({"--json": json_file, "--report": report}, inputs)
    if confidence and len(others) > 1:
        raise ValueError("--confidence is for two runs: compare these two alone, or drop it")
    called = named(names, run_a, *others)
    compared = [
        compare_folders(
            run_a, run, names=(called[0], name), cases=cases or (), answered=answered, groups=groups or (),
            logic=logic, in_scope=in_scope, metric=metric, margin=margin, less_is_better=less_is_better or (),
            by=by, confidence=confidence or (), common_only=common_only, examples=examples, seed=seed,
        )
        for name, run in zip(called[1:], others, strict=True)
    ]  # fmt: skip
    results = [found.results for found in compared]
    figures: dict[str, Any] = results[0]
    if len(results) > 1:
        from vlmalign.evaluation.many_comparisons import adjust_together

        tested = adjust_together(results)
        for found in results:
            found["notes"].append(f"Holm's p is over {tested} tests: all metrics of {len(results)} comparisons.")
        figures = {"comparisons": results, "tested": tested}
    for found in results:
        _show(found)
    write_figures(figures, json_file)
    if report is None:
        console.print("\nfor tables, plots and the items that changed: --report report.html", markup=False)
    else:
        _write_reports(compared, report)


def _write_reports(compared: Sequence[Any], report: Path) -> None:
    """One page; of several comparisons one each, numbered."""
    from vlmalign.evaluation.run_comparison_report import render_run_comparison

    for number, found in enumerate(compared, start=1):
        out = report if len(compared) == 1 else report.with_stem(f"{report.stem}-{number}")
        path = render_run_comparison(
            found.results, found.examples, out, reliability=found.reliability, risk=found.risk
        )
        console.print(f"wrote {path}", markup=False)


def _show(results: Mapping[str, Any]) -> None:
    from vlmalign.evaluation.report_view import show_p

    counts = results["counts"]
    console.print(
        f"A: {results['names'][0]}, B: {results['names'][1]}; {counts['items']} items of both in "
        f"{counts['groups']} groups; 95 % intervals",
        markup=False,
    )
    for note in results["notes"]:
        console.print(note, markup=False)
    show_rows(
        "A minus B",
        [
            (name.replace("_", " "), figure(each["difference"], share=each["share"], signed=each["share"]),
             f"p {show_p(each.get('p'))}, Holm {show_p(each.get('p_holm'))}", str(each["verdict"]))
            for name, each in results["metrics"].items()
        ],
    )  # fmt: skip
    outcome = results["win_tie_loss"]
    show_rows(
        f"wins, ties and losses of A over {outcome['over']}",
        [(title, ", ".join(f"{n} {word}" for word, n in outcome[key].items()))
         for key, title in (("tested", "tested"), ("after_holm", "after Holm"), ("raw", "by the sign alone"))],
    )  # fmt: skip
    console.print()
    for verdict in results["verdicts"]:
        console.print(f"{verdict['question']}: {verdict['sentence']}", markup=False)
