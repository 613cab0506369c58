"""`vlmalign calibrate`: from a reward's scores to probabilities, with what is promised of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vlmalign.cli.console import console
from vlmalign.cli.outputs import check_out
from vlmalign.cli.stages import stage

if TYPE_CHECKING:
    from vlmalign.rewards.calibration_file import CrossFitted
    from vlmalign.rewards.calibration_items import ScoredItems

Target = Literal["pair", "answer"]
Rule = Literal["coverage", "risk", "selective"]
PerGroup = Literal["all", "one"]


def calibrate(
    judged: Annotated[Path, typer.Option(help="the reward's judgements of held-out answers")],
    out: Annotated[Path, typer.Option(help="the calibration to write, a JSON file")],
    pairs: Annotated[Path | None, typer.Option(help="the preference pairs that were judged")] = None,
    gold: Annotated[
        Path | None, typer.Option(help="instead of pairs: gold judgements of the same answers")
    ] = None,
    cases: Annotated[Path | None, typer.Option(help="with --gold: the cases that were answered")] = None,
    right_from: Annotated[float, typer.Option(help="with --gold: least gold score of a right answer")] = 1.0,
    target: Annotated[
        Target | None,
        typer.Option(help="pair: is the first of two better; answer: is one right. Default: pair with --pairs"),
    ] = None,
    method: Annotated[str, typer.Option(help="temperature, platt, isotonic or venn_abers")] = "venn_abers",
    per_group: Annotated[
        PerGroup | None,
        typer.Option(help="items of a group that are used; default one for venn_abers, whose promise needs it"),
    ] = None,
    rule: Annotated[
        Rule | None,
        typer.Option(
            help="when to abstain: coverage (conformal set), risk (kept and wrong), selective (wrong among kept)"
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="what the rule promises")] = 0.1,
    delta: Annotated[float, typer.Option(help="how often the promise of selective may fail")] = 0.1,
    folds: Annotated[int, typer.Option(help="folds of groups for the figures after calibration")] = 5,
    seed: Annotated[int, typer.Option(help="of folds, halves and random items")] = 0,
    also: Annotated[
        Path | None, typer.Option(help="the same reward's judgements of the tuned policy's answers")
    ] = None,
    also_pairs: Annotated[Path | None, typer.Option(help="pairs of --also")] = None,
    also_gold: Annotated[Path | None, typer.Option(help="gold judgements of --also")] = None,
    also_cases: Annotated[Path | None, typer.Option(help="cases of --also; default --cases")] = None,
    plots: Annotated[Path | None, typer.Option(help="folder for reliability.svg and risk_coverage.svg")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a file of other settings")] = False,
) -> None:
    """Calibrate a reward by patient, say what is promised and with what n, and check it across groups.

    For example: vlmalign calibrate --judged judged --pairs held_out --target answer --out calibration.json

    Judge first: vlmalign score scalar --set run=runs/reward --pairs held_out --out judged. To use it afterwards:
    vlmalign score calibrated --set reward=scalar --set settings.run=runs/reward --set calibration=calibration.json
    --cases cases --candidates candidates --out probabilities
    """
    run_calibrate(
        judged=judged, out=out, pairs=pairs, gold=gold, cases=cases, right_from=right_from, target=target,
        method=method, per_group=per_group, rule=rule, alpha=alpha, delta=delta, folds=folds, seed=seed, also=also,
        also_pairs=also_pairs, also_gold=also_gold, also_cases=also_cases, plots=plots, overwrite=overwrite,
    )  # fmt: skip


@stage("calibrate", continues=False)
def run_calibrate(
    judged: Path,
    out: Path,
    pairs: Path | None = None,
    gold: Path | None = None,
    cases: Path | None = None,
    right_from: float = 1.0,
    target: Target | None = None,
    method: str = "venn_abers",
    per_group: PerGroup | None = None,
    rule: Rule | None = None,
    alpha: float = 0.1,
    delta: float = 0.1,
    folds: int = 5,
    seed: int = 0,
    also: Path | None = None,
    also_pairs: Path | None = None,
    also_gold: Path | None = None,
    also_cases: Path | None = None,
    plots: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Fit, check by cross-fitting, repeat on the tuned policy's answers, print, and write the file."""
    if also is None and (also_pairs or also_gold or also_cases):
        raise ValueError("--also-pairs, --also-gold and --also-cases say what --also is: give --also too")
    from vlmalign.cli.calibrate_report import print_report, write_plots
    from vlmalign.evaluation.calibration_report import NO_GUARANTEE, apply_calibration, report_calibration
    from vlmalign.rewards.calibration_file import fit_calibration

    inputs = [judged, pairs, gold, cases, also, also_pairs, also_gold, also_cases]
    check_out(out, "--out", [folder for folder in inputs if folder is not None])
    items = _read(judged, pairs, gold, cases, target, right_from, "--pairs", "--gold")
    fitting: dict[str, Any] = {
        "method": method, "per_group": per_group, "rule": rule, "alpha": alpha, "delta": delta,
    }  # fmt: skip
    config = {
        **fitting, "seed": seed, "folds": folds, "target": items.target, "right_from": right_from,
        "items": _digest(items),
    }  # fmt: skip
    others = None
    if also is not None:
        others = _read(
            also,
            also_pairs,
            also_gold,
            also_cases or cases,
            items.target,
            right_from,
            "--also-pairs",
            "--also-gold",
        )
        config["also"] = _digest(others)
    _may_write(out, config, overwrite)
    calibration = fit_calibration(items, seed=seed, **fitting)
    found, unchecked = _cross_fitted(items, folds, seed, fitting)
    standing = "calibration data, each group by a calibration of the others"
    checked = rule is not None and not unchecked
    reports = {"held out": report_calibration(items, found, has_rule=checked, standing=standing)}
    if others is not None:
        applied = apply_calibration(others, calibration)
        reports["also"] = report_calibration(others, applied, has_rule=rule is not None, standing=NO_GUARANTEE)
    figures = {name: report.to_dict() for name, report in reports.items()}
    notes = {
        "config": config,
        "counts": dict(items.counts),
        "figures": figures,
        "guarantees": calibration.guarantees,
    }
    if unchecked:
        notes["unchecked"] = unchecked
    learnt = _of_training(pairs, cases)
    if learnt:
        notes["of_training"] = learnt
    calibration.model_copy(update={"notes": notes}).save(out)
    print_report(calibration, reports)
    if unchecked:
        console.print(f"the rule was not checked across groups: {unchecked}", markup=False)
    if learnt:
        console.print(f"careful: {learnt}", markup=False)
    if plots is not None:
        write_plots(plots, reports)
    console.print(f"wrote {out}", markup=False)


def _read(
    judged: Path,
    pairs: Path | None,
    gold: Path | None,
    cases: Path | None,
    target: Target | None,
    right_from: float,
    pairs_name: str,
    gold_name: str,
) -> ScoredItems:
    from vlmalign.rewards.calibration_items import read_gold, read_pairs

    if (pairs is None) == (gold is None):
        raise ValueError(f"give either {pairs_name} or {gold_name}: the labels come from one of them")
    if pairs is not None:
        return read_pairs(judged, pairs, target or "pair")
    assert gold is not None
    if cases is None:
        raise ValueError(f"{gold_name} needs the cases that were answered, for their groups: give --cases")
    return read_gold(judged, gold, cases, target or "answer", right_from=right_from)


def _cross_fitted(
    items: ScoredItems, folds: int, seed: int, fitting: dict[str, Any]
) -> tuple[CrossFitted, str | None]:
    """Probabilities by cross-fitting; without the rule, and why, where the folds have too few groups for it."""
    from vlmalign.rewards.calibration_file import cross_fit

    if items.n_groups < 3:
        raise ValueError(f"{items.n_groups} groups: 3 are needed to fit a calibration and check it on others")
    try:
        return cross_fit(items, folds=folds, seed=seed, **fitting), None
    except ValueError as error:
        if fitting["rule"] is None:
            raise
        return cross_fit(items, folds=folds, seed=seed, **{**fitting, "rule": None}), str(error)


def _of_training(pairs: Path | None, cases: Path | None) -> str | None:
    """What is to be said where the reward may have learnt from the very records that it is calibrated on."""
    from vlmalign.records import Case, Preference, RecordFolder

    folder = RecordFolder(pairs, Preference) if pairs is not None else RecordFolder(str(cases), Case)
    n = sum(record.split == "train" for record in folder)
    if not n:
        return None
    return (
        f"{n} of the {len(folder)} {'pairs' if pairs is not None else 'cases'} are of split 'train': where the "
        "reward has learnt from them, it is surer there than of new ones, and no promise holds"
    )


def _digest(items: ScoredItems) -> str:
    from vlmalign.records.hashing import config_hash

    stds = [None if s != s else s for s in items.stds.tolist()]
    return config_hash([items.judge, items.scores.tolist(), items.labels.tolist(), items.groups, stds])


def _may_write(out: Path, config: dict[str, Any], overwrite: bool) -> None:
    """Refuse a file that another calibration, or something else, wrote."""
    from vlmalign.records import DataError
    from vlmalign.rewards.calibration_file import Calibration

    if overwrite or not out.exists():
        return
    if Calibration.load(out).notes.get("config") != config:
        raise DataError(
            "the file is a calibration with other settings or of other data",
            "Choose another --out, or pass --overwrite to replace it.",
            file=out,
        )
