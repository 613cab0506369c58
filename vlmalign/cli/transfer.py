"""A finished demo's arms on other data: the same figures, with what ties that data to the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlmalign.cli.arm_results import MARGIN, AnsweredSeed, arm_results
from vlmalign.cli.demo_plan import ARMS, LOGIC, answer_step
from vlmalign.cli.demo_report import confusion_figures, paired_examples
from vlmalign.cli.demo_results import PACKAGES
from vlmalign.cli.expert_scores import expert_figures, score_expert
from vlmalign.cli.given_truth import read_cases
from vlmalign.cli.online_arms import online_arms
from vlmalign.cli.pipeline import Step, read_seconds, run_pipeline
from vlmalign.cli.run_record import versions
from vlmalign.clinical import load_logic
from vlmalign.evaluation import ItemScore, render_report
from vlmalign.records.hashing import config_hash
from vlmalign.records.leakage import check_no_leakage, groups_and_images

TITLE = "Do the answers hold on other data?"
TRAINING_ROLES = ("expert", "labelled", "unlabelled")


def transfer(
    run: Path, source: str, data: Path | None, *, seed: int, slides: int, jobs: int, report: Path | None = None
) -> dict[str, Any]:
    """Answer and score a data set with every arm of every seed of a finished demo.

    Groups of neighbouring photographs may recur (the data may come from the same slides); pictures may not.
    How many groups recur is told as `shared_groups`.

    With `report` the figures are written as a page, too, with confusion matrices and paired examples.

    Raises:
        FileNotFoundError: the run is not a finished demo.
        DataError: a picture was trained on.
    """
    seeds = sorted(path for path in run.glob("seed-*") if path.is_dir())
    if not seeds or not (run / "results.json").is_file():
        raise FileNotFoundError(f"{run} is no finished demo (results.json is missing). Run `vlmalign demo` first.")
    if (source == "bccd") != (data is not None):
        raise ValueError("--data goes with --source bccd, and only with it")
    name = config_hash([source, str(data and data.resolve()), seed, slides])[:8]
    place = run / "evaluations" / f"{source}-{name}"
    cases = place / "cases"
    options: dict[str, Any] = {"on_bad": "skip"} if source == "bccd" else {
        "n_groups": slides, "fields_per_group": 4, "seed": seed, "first_group": 2_000_000,
    }  # fmt: skip
    config = {"name": source, "out": str(cases), "data": None if data is None else str(data), "options": options}
    run_pipeline([Step("source", "source", config)], place, jobs=1, title="evaluate")
    shared = _check_pictures(seeds, cases)
    steps = [step for root in seeds for step in _steps(root, place, cases, source, seed)]
    run_pipeline(steps, place, jobs=jobs, title="evaluate")
    figures, greedy = _results(seeds, place, cases, source, seed)
    results = figures | {"shared_groups": shared}
    if report is not None:
        number = results["seeds"][0]
        shown = paired_examples(greedy, number, cases, place / f"seed-{number}" / "answers")
        render_report(results, shown, confusion_figures(greedy), report, title=TITLE, margin=MARGIN)
    return results


def _check_pictures(seeds: list[Path], cases: Path) -> int:
    """Refuse pictures of the training; return how many groups recur."""
    theirs, _ = groups_and_images(cases)
    shared: set[str] = set()
    for root in seeds:
        for role in TRAINING_ROLES:
            folder = root / "roles" / role
            mine, _ = groups_and_images(folder)
            shared |= mine & theirs
            check_no_leakage([folder], [cases], groups=False)
    return len(shared)


def _steps(root: Path, place: Path, cases: Path, source: str, seed: int) -> list[Step]:
    here = place / root.name
    findings = str(here / "findings")
    steps = [
        Step(f"{root.name}_findings", "expert-run",
             {"expert": str(root / "expert"), "cases": str(cases), "out": findings}, (), 8),
        Step(f"{root.name}_expert_only", "templates",
             {"cases": str(cases), "findings": [findings], "out": str(here / "answers" / "expert_only"),
              "logic": LOGIC, "seed": seed}, (f"{root.name}_findings",)),
    ]  # fmt: skip
    for arm in (*ARMS, *_online(root), "text_only"):
        step = answer_step(arm, root, here, str(cases), source, seed)
        steps.append(Step(f"{root.name}_{step.name}", step.stage, step.config, (), step.weight))
    return steps


def _online(seed: Path) -> list[str]:
    """The online arms that the demo was asked for."""
    settings = json.loads((seed.parent / "demo.json").read_text(encoding="utf-8"))
    return online_arms(settings.get("align", ["dpo"]))


def _results(
    seeds: list[Path], place: Path, cases: Path, source: str, seed: int
) -> tuple[dict[str, Any], dict[str, list[ItemScore]]]:
    logic = load_logic(LOGIC)
    answered = []
    for root in seeds:
        number = int(root.name.removeprefix("seed-"))
        given = read_cases([cases], logic, number)
        answered.append(AnsweredSeed(number, place / root.name / "answers", root / "labels", given))
    figures, greedy = arm_results(answered, logic, crossed=len(seeds) > 1, online=_online(seeds[0]))
    rows = [
        row for r, its in zip(seeds, answered, strict=True)
        for row in score_expert(cases, place / r.name / "findings", its.given.truths)
    ]  # fmt: skip
    return {
        "source": source,
        "seed": seed,
        "seeds": [its.number for its in answered],
        **figures,
        "expert": expert_figures(rows),
        "n_groups": {"test": len({case.group_id for case in answered[0].given.cases.values()})},
        "seconds": read_seconds(place),
        "versions": versions(PACKAGES),
    }, greedy
