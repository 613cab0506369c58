"""`vlmalign evaluate reward`: how often rewards prefer the better answer of labelled pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmalign.cli.console import console
from vlmalign.cli.figures import figure, show_rows
from vlmalign.cli.named_values import named_folders
from vlmalign.cli.outputs import JsonFile, ReportFile, check_outs, write_figures
from vlmalign.cli.scoring_options import MARGIN, AllowSelfGrading, OwnLabels


def evaluate_reward(
    judged: Annotated[
        list[str], typer.Option(help="judgements by `vlmalign score --pairs`: NAME=FOLDER or FOLDER; repeat it")
    ],
    pairs: Annotated[Path, typer.Option(help="the folder of preference pairs that was scored")],
    by: Annotated[
        list[str] | None,
        typer.Option(help="subsets: source, concept, question (default: these three), provenance.NAME"),
    ] = None,
    logic: Annotated[
        str | None, typer.Option(help="clinical logic that recognises questions: a name or a YAML file")
    ] = None,
    own_labels: OwnLabels = None,
    allow_self_grading: AllowSelfGrading = None,
    margin: Annotated[float, typer.Option(help="differences of two rewards below it are of no interest")] = MARGIN,
    mistakes: Annotated[int, typer.Option(min=0, help="pairs to show of each reward in the report")] = 8,
    json_file: JsonFile = None,
    report: ReportFile = None,
) -> None:
    """Measure rewards on labelled pairs: accuracy, ties and unscored pairs, by subset and against each other.

    For example: vlmalign evaluate reward --pairs pairs --judged scalar=judged --judged clip=judged-clip
    --report reward.html

    A tie is not a win: accuracy is told with ties as one half, and strictly. Of several rewards every two are
    compared on the pairs that both could score.
    """
    from vlmalign.clinical import load_logic
    from vlmalign.evaluation.conclusion import check_margin
    from vlmalign.evaluation.judged_pairs import read_judged_pairs
    from vlmalign.evaluation.reward_baselines import reward_baselines
    from vlmalign.evaluation.reward_metrics import compare_rewards, confident_mistakes, reward_figures
    from vlmalign.evaluation.reward_report import render_reward_report, show_mistakes
    from vlmalign.records import Preference, RecordFolder

    check_margin(margin, called="--margin")
    folders = named_folders(judged, "--judged")
    check_outs({"--json": json_file, "--report": report}, [pairs, *folders.values()])
    folder = RecordFolder(pairs, Preference)
    if not len(folder):
        raise ValueError(f"{pairs} holds no pair: there is nothing to measure")
    found = {
        name: read_judged_pairs(
            folder, path, own_labels=own_labels or (), allow_self_grading=allow_self_grading or ()
        )
        for name, path in folders.items()
    }
    domain = None if logic is None else load_logic(logic)
    keys = list(dict.fromkeys(by or ("source", "concept", "question")))
    results: dict[str, Any] = {
        "pairs": {
            "sha256": folder.sha256,
            "records": len(folder),
            "groups": next(iter(found.values())).n_groups,
        },
        "rewards": {name: reward_figures(one, by=keys, logic=domain) for name, one in found.items()},
        "baselines": {name: f.to_dict() for name, f in reward_baselines(next(iter(found.values()))).items()},
        "comparisons": compare_rewards(found, margin=margin),
        "margin": margin,
    }
    _show(results)
    write_figures(results, json_file)
    if report is not None:
        shown = [
            mistake
            for name, one in found.items()
            for mistake in show_mistakes(name, confident_mistakes(one, mistakes), folder)
        ]
        console.print(f"wrote {render_reward_report(results, shown, report)}", markup=False)


def _show(results: Mapping[str, Any]) -> None:
    from vlmalign.evaluation.reward_calibration import CALIBRATION_TITLES

    pairs = results["pairs"]
    console.print(
        f"{pairs['records']} pairs of {pairs['groups']} groups; shares in %, 95 % intervals", markup=False
    )
    for name, reward in results["rewards"].items():
        rows = [
            ("accuracy, ties one half", figure(reward["accuracy"])),
            ("accuracy, a tie is no win", figure(reward["strict"])),
            ("ties", figure(reward["ties"])),
            ("unscored", figure(reward["unscored"])),
        ]
        if reward["role_swapped"] is not None:
            rows.append(("role-swapped items", figure(reward["role_swapped"])))
        for key, part in reward["by"].items():
            rows.append((f"average over {key}", figure(part["macro"])))
            if len(part["subsets"]) > 1:
                rows += [(f"  {subset}", figure(found["accuracy"])) for subset, found in part["subsets"].items()]
        for key, (title, _) in CALIBRATION_TITLES.items():
            if key in reward["calibration"]:
                rows.append((title.lower(), figure(reward["calibration"][key], share=False)))
        rows += [(f"unscored: {why}", str(n)) for why, n in sorted(reward["unscored_reasons"].items())]
        show_rows(f"{name} ({reward['judge']}, {reward['criterion']})", rows)
    show_rows(
        "null baselines: accuracy, ties one half; strictly",
        [(name.replace("_", " "), figure(each["accuracy"]), figure(each["strict"]))
         for name, each in results["baselines"].items()],
    )  # fmt: skip
    if results["comparisons"]:
        show_rows(
            "differences, points",
            [
                (name.replace("_minus_", " - "), figure(score, signed=True), score["conclusion"])
                for name, score in results["comparisons"].items()
            ],
        )
