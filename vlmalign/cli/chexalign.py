"""The stage of CheXalign, from sampled reports to a page: `vlmalign recipes run chexalign`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vlmalign.cli.stages import StageError, merge, open_recipe, stage
from vlmalign.records.suggestions import unknown

if TYPE_CHECKING:
    from vlmalign.cli.chexalign_plan import Study

#: what is used with phantoms where nothing else is said
MODEL, LOGIC = "builtin:smear-base", "peripheral_smear"


@stage("chexalign")
def chexalign(
    out: Path,
    cases: Path | None = None,
    test_cases: Path | None = None,
    model: str | None = None,
    logic: str | None = None,
    judge: str = "report_agreement",
    judge_settings: dict[str, Any] | None = None,
    sft: dict[str, Any] | bool = True,
    align: dict[str, Any] | None = None,
    losses: dict[str, dict[str, Any]] | None = None,
    n: int = 4,
    min_gap: float = 0.1,
    max_new_tokens: int | None = None,
    batch_size: int = 24,
    seed: int = 0,
    jobs: int = 2,
    preset: Literal["full", "quick"] = "full",
) -> None:
    """Sample reports, judge them against the reference, align with five losses, and tell what became of length.

    Args:
        out: where everything is written; OUT/report.html and OUT/results.json at the end.
        cases: folder of cases with reference reports, e.g. chest radiographs; default: phantoms of blood smears.
        test_cases: folder of held-out cases with reference reports; default: a part of the groups of `cases`.
        model: where training begins; required with cases.
        logic: clinical logic that reads the reports; required with cases, e.g. chest_xray.
        judge: report_agreement (claims, no model), or a recipe of stage judge with the protocol green.
        judge_settings: changes to that recipe.
        sft: settings of supervised training before sampling; false: the model writes reports already.
        align: settings of all runs on pairs, and of the control.
        losses: changes to the losses, by arm, e.g. losses.dpo.beta=0.05.
        n: reports sampled for each case, at temperature 1.
        min_gap: smallest difference of two scores that makes a pair; less is a tie.
        max_new_tokens: of a report; default 200, with cases 512.
        batch_size: cases that are answered together.
        seed: of data, sampling and training.
        jobs: stages that run at once; the processors are divided.
        preset: quick: a minute, phantoms only, too small for conclusions.
    """
    from vlmalign.cli.chexalign_plan import LARGE, PRESETS, SMALL, Study, chexalign_steps
    from vlmalign.cli.chexalign_results import collect_chexalign
    from vlmalign.cli.pipeline import run_pipeline
    from vlmalign.cli.run_record import claim, write_results
    from vlmalign.evaluation.chexalign_report import render_chexalign

    _check_folders(cases, test_cases, model, logic, preset)
    _check_numbers(n, min_gap, jobs)
    _check_losses(losses or {})
    usual, size = (SMALL if cases is None else LARGE), PRESETS[preset]
    study = Study(
        root=out,
        logic=logic or LOGIC,
        model=model or MODEL,
        seed=seed,
        size=size,
        cases=cases,
        test_cases=test_cases,
        judge=_judge_config(judge, judge_settings),
        supervised=_supervised(sft, merge(usual["sft"], size.sft)),
        align=merge(merge(usual["align"], size.align), align or {}),
        losses=losses or {},
        samples=n,
        min_gap=min_gap,
        max_new_tokens=max_new_tokens or (size.max_new_tokens if cases is None else 512),
        batch_size=batch_size,
    )
    settings = settings_of(study, preset)
    claim(out, settings, "chexalign.json", "run of chexalign")
    _check_leakage(study)
    run_pipeline(chexalign_steps(study), out, jobs=jobs, title="chexalign")
    results = collect_chexalign(study, settings)
    render_chexalign(results, out / "report.html")
    write_results(out, results)


def settings_of(study: Study, preset: str) -> dict[str, Any]:
    """What decides a run's results, for the record and to refuse another run in the same folder."""
    return {
        "cases": _name(study.cases), "test_cases": _name(study.test_cases), "model": study.model,
        "logic": study.logic, "judge": None if study.judge is None else dict(study.judge),
        "sft": None if study.supervised is None else dict(study.supervised), "align": dict(study.align),
        "losses": {name: dict(changes) for name, changes in study.losses.items()}, "n": study.samples,
        "min_gap": study.min_gap, "max_new_tokens": study.max_new_tokens, "batch_size": study.batch_size,
        "seed": study.seed, "preset": preset,
    }  # fmt: skip


def _name(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _check_folders(
    cases: Path | None, test_cases: Path | None, model: str | None, logic: str | None, preset: str
) -> None:
    if cases is None:
        if test_cases is not None:
            raise ValueError("test_cases is given without cases: give cases too, or neither for phantoms")
        if logic not in (None, LOGIC):
            raise ValueError(
                f"logic is {logic!r}, but the phantoms are blood smears ({LOGIC}): give cases of your own with it"
            )
        return
    for name, value in (("model", model), ("logic", logic)):
        if value is None:
            raise ValueError(f"cases is given without {name}: say --set {name}=...")
    if preset != "full":
        raise ValueError(f"preset is {preset!r}, which is for phantoms: leave it out with cases of your own")
    for folder in (cases, test_cases):
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder. Check the path.")


def _check_numbers(n: int, min_gap: float, jobs: int) -> None:
    if n < 2:
        raise ValueError(f"n is {n}: at least 2 reports of a case are needed for a pair")
    if min_gap <= 0:
        raise ValueError(f"min_gap is {min_gap}: it must be positive, e.g. 1e-8 to leave out equal scores only")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}: at least 1 is required")


def _check_losses(losses: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse an arm that is not there, and settings that its loss has not, before anything runs."""
    from vlmalign.cli.chexalign_plan import ARMS
    from vlmalign.cli.settings import make_settings
    from vlmalign.training.preference_loss import LOSSES

    for name, changes in losses.items():
        if name not in ARMS:
            raise StageError(f"losses: {unknown('arm', name, ARMS)}")
        loss = {**ARMS[name].loss, **changes}
        make_settings(LOSSES[ARMS[name].loss["name"]], loss, where=f"losses.{name}")


def _supervised(sft: Mapping[str, Any] | bool, usual: Mapping[str, Any]) -> dict[str, Any] | None:
    if sft is False:
        return None
    return merge(usual, {} if sft is True else sft)


def _judge_config(judge: str, changes: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Settings of stage `judge`; None for the judge that needs none.

    Raises:
        StageError: a recipe of another stage or protocol, or one that names what it judges.
    """
    from vlmalign.cli.chexalign_plan import AGREEMENT

    if judge == AGREEMENT:
        if changes:
            raise StageError(f"judge_settings is given, but judge {AGREEMENT!r} has none: drop it")
        return None
    config = merge(open_recipe(judge, stage="judge").config, changes or {})
    protocol = (config.get("protocol") or {}).get("name")
    if protocol != "green":
        raise StageError(
            f"{judge}: its protocol is {protocol!r}, expected 'green', whose score and length-controlled score "
            "choose pairs"
        )
    given = {"cases", "candidates", "out"}  # the run's own take their place
    if "pairs" in config:
        raise StageError(f"{judge}: it judges pairs, and here sampled reports are judged: drop 'pairs'")
    return {key: value for key, value in config.items() if key not in given}


def _check_leakage(study: Study) -> None:
    if study.cases is not None and study.test_cases is not None:
        from vlmalign.records.leakage import check_no_leakage

        check_no_leakage([study.cases], [study.test_cases])
