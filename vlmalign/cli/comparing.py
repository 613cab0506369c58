"""Two folders of candidates or judgements -> what `vlmalign compare` tells of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmalign.cli.clusters import read_groups
from vlmalign.cli.given_truth import GivenCases, read_cases
from vlmalign.cli.run_folders import (
    Say,
    check_attributes,
    kind_of_both,
    read_candidates,
    read_judgements,
    split_names,
    subgroup_labels,
)
from vlmalign.cli.short_names import distinct_ends
from vlmalign.clinical import load_logic
from vlmalign.evaluation.calibration import CalibrationFigures, calibration_figures
from vlmalign.evaluation.conclusion import OF_NO_INTEREST, check_margin
from vlmalign.evaluation.page_parts import Example, ExampleAnswer, small_png
from vlmalign.evaluation.risk_coverage import RiskCoverage, risk_coverage
from vlmalign.evaluation.run_comparison import changed, compare_runs, compare_subgroups
from vlmalign.evaluation.run_items import PairedRuns, RunItem, pair_runs
from vlmalign.records import Case, DataError, Judgement, RecordFolder


@dataclass(frozen=True)
class Compared:
    """What was found: `results` for the JSON file, and what the page shows beside it."""

    results: dict[str, Any]
    examples: list[Example]
    reliability: dict[str, CalibrationFigures]
    risk: dict[str, RiskCoverage]


def named(names: str | None, *runs: Path) -> tuple[str, ...]:
    """What the runs are called: as given, or as much of the ends of their paths as tells them apart.

    Raises:
        ValueError: not a name for each, or twice the same; twice the same folder.

    Example:
        >>> named(None, Path("dpo/answers"), Path("sft/answers")), named("new,old", Path("x"), Path("y"))
        (('dpo/answers', 'sft/answers'), ('new', 'old'))
    """
    places = [run.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"{run} is given twice: name different runs")
    if names is None:
        return distinct_ends(runs)
    found = tuple(part.strip() for part in names.split(","))
    if len(found) != len(runs) or not all(found) or len(set(found)) < len(found):
        raise ValueError(f"--names is {names!r}: expected {len(runs)} different ones, NAME_A,NAME_B")
    return found


def compare_folders(
    run_a: Path,
    run_b: Path,
    *,
    names: tuple[str, str],
    cases: Sequence[Path] = (),
    answered: Path | None = None,
    groups: Sequence[Path] = (),
    logic: str = "peripheral_smear",
    in_scope: Sequence[str] | None = None,
    metric: str | None = None,
    margin: float = 0.02,
    less_is_better: Sequence[str] = (),
    by: Sequence[str] | None = None,
    confidence: Sequence[Path] = (),
    common_only: bool = False,
    examples: int = 4,
    seed: int = 0,
) -> Compared:
    """Compare two folders of the same kind; see the options of `vlmalign compare`.

    Raises:
        DataError: a folder that cannot be used, or two of different kinds.
        ValueError: options that do not fit, or runs over different items.
    """
    kind, by = _kind(run_a, run_b), split_names(by)
    _check_options(kind, cases, by, confidence, margin)
    _check_groups(kind, cases, answered, groups)
    domain = load_logic(logic) if cases else None
    given = None if domain is None else read_cases(cases, domain)
    if kind == "candidate":
        assert given is not None and domain is not None
        scope = in_scope or domain.observed_concepts
        a, b = (read_candidates(run, given, domain, scope, answered) for run in (run_a, run_b))
    else:
        clusters = read_groups(groups) if groups else None if given is None else given.groups
        a, b = (read_judgements(run, clusters) for run in (run_a, run_b))
    runs = pair_runs(a.items, b.items, common_only=common_only)
    results = compare_runs(
        runs, metric=metric, margin=margin, less_is_better=less_is_better, names=names, seed=seed
    )
    main = results["metric"]
    if kind == "judgement" and given is None and not groups:
        results["notes"].append(
            "Judgements name no patient: every case is a cluster of its own, and intervals are too narrow where a "
            "patient has several. Name the patients with --groups (cases, candidates or pairs) or --cases."
        )
    results["counts"] |= {"a": a.counts, "b": b.counts, "changed": len(changed(runs, main))}
    labels, expected = ({}, {}) if given is None else subgroup_labels(given.cases.values(), by)
    results["subgroups"] = compare_subgroups(runs, main, labels, expected, seed=seed)
    results["names"] = list(names)
    results["setup"] = {
        "a_sha256": a.sha256, "b_sha256": b.sha256, "kind": kind, "margin": margin,
        "logic": None if domain is None else domain.name, "metric": main, "seed": seed,
        "cases_sha256": [] if given is None else sorted(given.hashes),
    }  # fmt: skip
    less = bool(results["metrics"][main]["less_is_better"])
    sides = zip("ab", names, confidence, zip(*runs.pairs, strict=True), strict=False)
    stated = {side: (name, *_reliability(folder, items, main, less)) for side, name, folder, items in sides}
    results["reliability"] = {side: told for side, (_, _, told) in stated.items()}
    drawn = {name: found for name, found, _ in stated.values() if found is not None}
    return Compared(
        results,
        _examples(runs, main, (a.say, b.say), names, given, cases, examples, seed),
        reliability={name: figures for name, (figures, _) in drawn.items()},
        risk={name: curve for name, (_, curve) in drawn.items()},
    )


def _kind(run_a: Path, run_b: Path) -> str:
    kind = kind_of_both((run_a, run_b), "Compare two folders of the same kind.")
    if kind not in ("candidate", "judgement"):
        raise DataError(f"it holds {kind} records", "Give folders of candidates or of judgements.", file=run_a)
    return kind


def _check_options(
    kind: str, cases: Sequence[Path], by: Sequence[str] | None, confidence: Sequence[Path], margin: float
) -> None:
    check_margin(margin, OF_NO_INTEREST, called="--margin")
    if kind == "candidate" and not cases:
        raise ValueError("--cases is not given: candidates are scored against what is known of their cases")
    if by and not cases:
        raise ValueError("--by needs --cases, which tell the subgroups")
    check_attributes(by)
    if len(confidence) not in (0, 2):
        raise ValueError(f"--confidence is given {len(confidence)} times: give A's folder, then B's")
    if confidence and kind != "candidate":
        raise ValueError("--confidence is of candidates, and these are judgements: drop it")


def _check_groups(kind: str, cases: Sequence[Path], answered: Path | None, groups: Sequence[Path]) -> None:
    if answered is not None and kind != "candidate":
        raise ValueError("--answered is of candidates, and these are judgements: drop it")
    if groups and kind != "judgement":
        raise ValueError("--groups is of judgements, and the groups of candidates are in --cases: drop it")
    if groups and cases:
        raise ValueError("--groups and --cases are both given: the cases tell the groups, drop --groups")


def _reliability(
    folder: Path, items: Sequence[RunItem], metric: str, less_is_better: bool
) -> tuple[tuple[CalibrationFigures, RiskCoverage] | None, dict[str, Any]]:
    """Calibration and risk of a run's confidences where the main metric says right or wrong; and what was left
    out.
    """
    stated = {}
    for judgement in RecordFolder(folder, Judgement):
        if judgement.valid and judgement.confidence is not None and len(judgement.candidate_ids) == 1:
            stated[judgement.candidate_ids[0]] = judgement.confidence
    known = [(stated.get(item.record), item.values.get(metric), item.group) for item in items]
    if any(value not in (0.0, 1.0, None) for _, value, _ in known):
        raise ValueError(f"--confidence needs a metric of right and wrong, and {metric} is none: choose --metric")
    used = [(p, value, group) for p, value, group in known if p is not None and value is not None]
    told: dict[str, Any] = {
        "items": len(known), "without_confidence": sum(p is None for p, _, _ in known),
        "without_answer": sum(p is not None and value is None for p, value, _ in known),
    }  # fmt: skip
    if not used:
        return None, told
    p, labels, groups = (list(column) for column in zip(*used, strict=True))
    right = [1 - label for label in labels] if less_is_better else labels
    curve = risk_coverage([-each for each in p], [1 - label for label in right], groups)
    figures = calibration_figures(p, right, groups)
    return (figures, curve), {**told, **figures.to_dict(), "risk_coverage": curve.to_dict()}


def _examples(
    runs: PairedRuns,
    metric: str,
    say: tuple[Say, Say],
    names: tuple[str, str],
    given: GivenCases | None,
    folders: Sequence[Path],
    wanted: int,
    seed: int,
) -> list[Example]:
    """Up to `wanted` items of either direction, drawn at random, with their pictures."""
    differing, rng, shown = changed(runs, metric), random.Random(seed), []
    sources: dict[str, RecordFolder[Case]] = {}
    if wanted and given is not None:
        sources = {case.id: opened for opened in (RecordFolder(f, Case) for f in folders) for case in opened}
    for sign in (1, -1):
        of_side = [found for found in differing if found[0] * sign > 0]
        for _, a, b in rng.sample(of_side, min(wanted, len(of_side))):
            case = None if given is None else given.cases[a.case_id]
            images, question = [], ""
            if case is not None:
                question = case.messages[-1].text
                images = [small_png(sources[case.id].image(ref, record=case.id)) for ref in case.images]
            values = [item.values[metric] for item in (a, b)]
            note = (
                f"{metric.replace('_', ' ')}: {values[0]:g} in A, {values[1]:g} in B; drawn among {len(of_side)}"
            )
            answers = [
                ExampleAnswer(name, tell(item)) for name, tell, item in zip(names, say, (a, b), strict=True)
            ]
            shown.append(Example(a.case_id, images, question, answers, a.truth, note))
    return shown
