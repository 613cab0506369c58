"""`vlmalign risk`: how risky an answer is, by several weak sources of which none is the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vlmalign.cli.figures import figure, show_rows
from vlmalign.cli.outcome import stamp, tell_outcome
from vlmalign.cli.outputs import JsonFile, check_out, write_figures
from vlmalign.cli.scoring_options import LOGIC, LogicName
from vlmalign.cli.stages import stage

if TYPE_CHECKING:
    from vlmalign.cli.given_truth import GivenCases
    from vlmalign.rewards.harmonised_risk import HarmonisedRisk

Scalarising = Literal["quadratic", "linear", "euclidean"]
ROWS = {
    "risk": "risk",
    "majority_vote": "null: share of sources that say otherwise",
    "own_frequency": "null: how seldom the policy says so",
    "risk_minus_majority_vote": "risk - share of sources",
    "risk_minus_own_frequency": "risk - how seldom",
}


def risk(
    cases: Annotated[Path, typer.Option(help="folder of cases whose answers are scored")],
    candidates: Annotated[Path, typer.Option(help="folder of the policy's candidates to these cases")],
    out: Annotated[Path, typer.Option(help="folder of judgements to write")],
    findings: Annotated[
        list[Path] | None, typer.Option(help="findings; each expert in them is a source; may be repeated")
    ] = None,
    claims: Annotated[
        list[Path] | None,
        typer.Option(help="candidates of other models; each policy in them is a source; may be repeated"),
    ] = None,
    logic: LogicName = LOGIC,
    features: Annotated[
        str, typer.Option(help="of the pictures: pixels, or a model whose vision tower makes them")
    ] = "pixels",
    concepts: Annotated[
        list[str] | None, typer.Option(help="score only claims about these; may be repeated")
    ] = None,
    fit_cases: Annotated[
        Path | None, typer.Option(help="learn from these cases, of other groups, instead of across folds")
    ] = None,
    fit_candidates: Annotated[Path | None, typer.Option(help="the policy's candidates to --fit-cases")] = None,
    folds: Annotated[int, typer.Option(help="of groups: each is scored by what the others taught")] = 5,
    seed: Annotated[int, typer.Option(help="of folds")] = 0,
    scalariser: Annotated[Scalarising, typer.Option(help="how the sources' losses are joined")] = "quadratic",
    l2: Annotated[float, typer.Option(help="penalty on the weights of features")] = 0.01,
    min_probability: Annotated[float, typer.Option(help="how sure a finding must be to be used")] = 0.8,
    truth: Annotated[
        list[Path] | None,
        typer.Option(help="the same cases with findings that are true: does risk find wrong claims? repeatable"),
    ] = None,
    allow_self_grading: Annotated[
        list[str] | None, typer.Option(help="an expert that may be behind both a source and --truth")
    ] = None,
    json_file: JsonFile = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a folder of other settings")] = False,
) -> None:
    """Score answers by the risk of their claims, learnt from weak sources without any truth (Zhao et al. 2023).

    For example: vlmalign risk --cases cases --candidates answers --findings findings --claims others --out judged

    A small model learns from pictures what the policy, experts and other models say of a concept; the risk of a
    claim is the probability of everything else. The score is 1 - the mean risk; no answer is scored by what its
    own group taught. An answer without a claim, or on which all sources abstain, is invalid, with why.

    With --truth cases the AUROC of risk for wrong claims is told, beside null baselines. A risk is an order and no
    probability: vlmalign calibrate makes it one.
    """
    before = stamp(out)
    run_risk(
        cases, candidates, out, findings, claims, logic, features, concepts, fit_cases, fit_candidates, folds,
        seed, scalariser, l2, min_probability, truth, allow_self_grading, json_file, overwrite,
    )  # fmt: skip
    tell_outcome(out, before)


@stage("risk")
def run_risk(
    cases: Path,
    candidates: Path,
    out: Path,
    findings: list[Path] | None = None,
    claims: list[Path] | None = None,
    logic: str = LOGIC,
    features: str = "pixels",
    concepts: list[str] | None = None,
    fit_cases: Path | None = None,
    fit_candidates: Path | None = None,
    folds: int = 5,
    seed: int = 0,
    scalariser: Scalarising = "quadratic",
    l2: float = 0.01,
    min_probability: float = 0.8,
    truth: list[Path] | None = None,
    allow_self_grading: list[str] | None = None,
    json_file: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write a judgement of every candidate; with `truth` also say whether risk finds wrong claims."""
    given = [cases, candidates, fit_cases, fit_candidates, *(findings or ()), *(claims or ()), *(truth or ())]
    check_out(json_file, "--json", [folder for folder in given if folder is not None])
    for option, value in (("--json", json_file), ("--allow-self-grading", allow_self_grading)):
        if value and not truth:
            raise ValueError(f"{option} is given and --truth is not: drop it, or give cases whose truth is known")
    from vlmalign.cli.given_truth import read_cases
    from vlmalign.clinical import load_logic
    from vlmalign.rewards import score_candidates
    from vlmalign.rewards.harmonised_risk import HarmonisedRisk

    known = read_cases(truth, load_logic(logic)) if truth else None
    scorer = HarmonisedRisk(
        logic, cases, candidates, findings=findings or (), claims=claims or (), fit_cases=fit_cases,
        fit_candidates=fit_candidates, features=features, concepts=concepts, folds=folds, seed=seed,
        scalariser=scalariser, l2=l2, min_probability=min_probability,
    )  # fmt: skip
    if known is not None:
        _check_truth(scorer, known, cases, allow_self_grading or ())
    score_candidates(scorer, cases, candidates, out, overwrite=overwrite)
    if known is not None:
        _tell(scorer, known, json_file)


def _check_truth(scorer: HarmonisedRisk, known: GivenCases, cases: Path, allowed: Any) -> None:
    """Refuse the word of a source for the truth, and cases that show other pictures."""
    from vlmalign.evaluation.self_grading import refuse_self_grading
    from vlmalign.records import Case, DataError, RecordFolder

    refuse_self_grading(
        scorer.votes_by_expert, known.experts, allowed=allowed, what="findings of the sources", file=known.names
    )
    for case in RecordFolder(cases, Case):
        there = known.cases.get(case.id)
        if there is not None and [i.sha256 for i in there.images] != [i.sha256 for i in case.images]:
            raise DataError(
                f"the case shows other pictures there than in {cases}",
                "Give the truth of these very cases.",
                file=known.names,
                record=case.id,
                field="images",
            )


def _tell(scorer: HarmonisedRisk, known: GivenCases, json_file: Path | None) -> None:
    from vlmalign.evaluation.claim_risk import claim_risk_figures

    found = claim_risk_figures(scorer.claims, {name: truth.answers for name, truth in known.truths.items()})
    for concept, figures in found.items():
        show_rows(f"AUROC in % for wrong claims: {concept} ({_counts(figures)})", _rows(figures))
    write_figures({"judge": scorer.name, "concepts": found}, json_file)


def _counts(figures: Mapping[str, Any]) -> str:
    names = {"claims": "claims", "wrong": "wrong", "unscored": "without risk", "truth_unknown": "of unknown truth"}
    return ", ".join(f"{figures[key]} {name}" for key, name in names.items())


def _rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    if figures["risk"]["mean"] is None:
        return [("no AUROC", "it needs wrong and right claims of a concept in one fold")]
    return [(title, figure(figures[key], signed="minus" in key)) for key, title in ROWS.items()]
