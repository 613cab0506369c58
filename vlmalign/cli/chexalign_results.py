"""From the folders of a finished run of CheXalign to results.json: what was said, and at what length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmalign.cli.chexalign_plan import ANSWERED, ARMS, CONTROL, SCORES, START, Study
from vlmalign.cli.compute import flops_of_run, flops_of_sampling
from vlmalign.cli.given_truth import read_cases, score_against
from vlmalign.cli.pipeline import read_seconds
from vlmalign.cli.run_record import versions
from vlmalign.clinical import load_logic, parse_text
from vlmalign.evaluation.estimate import Estimate
from vlmalign.evaluation.intervals import cluster_estimate, paired_difference
from vlmalign.evaluation.ratio_of_sums import ratio_of_sums
from vlmalign.records import Candidate, Case, Judgement, Preference, read_manifest, read_records

PACKAGES = ("vlmalign", "torch", "transformers")
#: figures of one report that are shares, or 0 or 1; the others are numbers
SHARES = ("report_agreement", "length_controlled", "without_error", "whole_report_accuracy", "unsupported",
          "longer_than_reference", "invalid", "cut")  # fmt: skip
NUMBERS = ("words", "words_ratio", "words_per_claim")
FIGURES = (*SHARES, *NUMBERS)
#: further named differences: arm - other
COMPARED = (("dpo", "dpo_by_length_controlled"), ("dpo", "lc_dpo"))


@dataclass(frozen=True)
class Report:
    """One answer to a held-out case.

    Attributes:
        case_id: the case.
        group: its group.
        figures: of `FIGURES`; None where a figure cannot be had.
        words: its length.
        reference_words: that of the reference report; 0 where there is none.
        reason: why it has no agreement; None where it has one.
    """

    case_id: str
    group: str
    figures: Mapping[str, float | None]
    words: int
    reference_words: int
    reason: str | None


def collect_chexalign(study: Study, config: Mapping[str, Any]) -> dict[str, Any]:
    """All figures of a finished run, from its files.

    Args:
        study: what was run.
        config: its settings, for the record.
    """
    answered = _answers(study)
    start = {report.case_id: report.words for report in answered[START]}
    return {
        "config": dict(config),
        "arms": {arm: {**_figures(reports, start), **_counted(reports)} for arm, reports in answered.items()},
        "against_control": {
            arm: _differences(reports, answered[CONTROL]) for arm, reports in answered.items() if arm != CONTROL
        },
        "compared": {f"{a}_minus_{b}": _differences(answered[a], answered[b]) for a, b in COMPARED},
        "pairs": {score: _pairs(study, score) for score in SCORES},
        "judge": _judge(study),
        "counts": _counts(study),
        "flops": _flops(study),
        "seconds": read_seconds(study.root),
        "versions": versions(PACKAGES),
    }


# -- answers --------------------------------------------------------------------------------------


def _answers(study: Study) -> dict[str, list[Report]]:
    cases = {case.id: case for case in read_records(study.test, Case)}
    return {arm: _reports(study, arm, cases) for arm in ANSWERED}


def _reports(study: Study, arm: str, cases: Mapping[str, Case]) -> list[Report]:
    logic = load_logic(study.logic)
    judged = {j.candidate_ids[0]: j for j in read_records(study.path("agreement", arm), Judgement)}
    right = _whole_reports(study, arm)
    found = []
    for candidate in read_records(study.path("answers", arm), Candidate):
        case, judgement = cases[candidate.case_id], judged[candidate.id]
        reference = "" if case.reference is None else case.reference.text or ""
        words, theirs = len(candidate.text.split()), len(reference.split())
        parsed = parse_text(logic, candidate.text)
        parts = judgement.components
        errors = None if not judgement.valid else sum(parts[name] for name in parts if name in ERRORS)
        figures: dict[str, float | None] = {
            "report_agreement": parts.get("plain"),
            "length_controlled": parts.get("length_controlled"),
            "without_error": None if errors is None else float(errors == 0),
            "whole_report_accuracy": right.get(case.id),
            "unsupported": float(bool(parsed.unsupported)),
            "longer_than_reference": float(words > theirs) if theirs else None,
            "invalid": float(not judgement.valid),
            "cut": float(not candidate.finished),
            "words": float(words),
            "words_ratio": words / theirs if theirs else None,
            "words_per_claim": words / len(parsed.answers) if parsed.answers else None,
        }
        reason = None if judgement.valid else (judgement.invalid_reason or "").partition(":")[0]
        found.append(Report(case.id, case.group_id, figures, words, theirs, reason))
    return found


#: components of a judgement that count errors
ERRORS = ("false_finding", "missing_finding", "wrong_location", "wrong_severity", "wrong_comparison")


def _whole_reports(study: Study, arm: str) -> dict[str, float | None]:
    """Whether each report is right in all that is known of its case; empty where no finding is known."""
    logic = load_logic(study.logic)
    given = read_cases([Path(study.truths)], logic)
    if not given.truths:
        return {}
    items, _ = score_against(Path(study.path("answers", arm)), given, logic, (), Path(study.test))
    return {item.case_id: item.metrics["whole_report_accuracy"] for item in items}


def _figures(reports: Sequence[Report], start: Mapping[str, int]) -> dict[str, Any]:
    """Mean of every figure, and the lengths of all reports over those of all references, and of the start's."""
    groups = [report.group for report in reports]
    found = {
        name: cluster_estimate([r.figures[name] for r in reports], groups, proportion=name in SHARES)
        for name in FIGURES
    }
    told = [report for report in reports if report.reference_words]
    found["words_over_reference"] = ratio_of_sums(
        [r.words for r in told], [r.reference_words for r in told], [r.group for r in told],
        excluded=len(reports) - len(told),
    )  # fmt: skip
    found["words_over_start"] = ratio_of_sums(
        [r.words for r in reports], [start[r.case_id] for r in reports], groups
    )
    return {name: estimate.to_dict() for name, estimate in found.items()}


def _counted(reports: Sequence[Report]) -> dict[str, Any]:
    return {"invalid_reasons": dict(sorted(Counter(r.reason for r in reports if r.reason is not None).items()))}


def _differences(reports: Sequence[Report], others: Sequence[Report]) -> dict[str, Any]:
    """Paired differences of every figure, over cases that have it in both arms."""
    other = {report.case_id: report for report in others}
    groups = [report.group for report in reports]
    return {
        name: paired_difference(
            [r.figures[name] for r in reports], [other[r.case_id].figures[name] for r in reports], groups
        ).to_dict()
        for name in FIGURES
    }


# -- judge and pairs ------------------------------------------------------------------------------


def _pairs(study: Study, score: str) -> dict[str, Any]:
    """How many pairs a score chose and did not choose, and how long the better and the worse reports are."""
    folder = study.path("pairs", score)
    pairs = list(read_records(folder, Preference))
    lengths = [(pair.provenance["length"], pair.group_id) for pair in pairs]
    groups = [group for _, group in lengths]
    chosen, rejected = ([int(length[f"{side}_words"]) for length, _ in lengths] for side in ("chosen", "rejected"))
    figures = {
        "chosen_words": cluster_estimate(chosen, groups, proportion=False),
        "rejected_words": cluster_estimate(rejected, groups, proportion=False),
        "chosen_minus_rejected": paired_difference(chosen, rejected, groups),
        "chosen_over_rejected": ratio_of_sums(chosen, rejected, groups),
        "chosen_longer": cluster_estimate(
            [float(a > b) for a, b in zip(chosen, rejected, strict=True)], groups, proportion=True
        ),
        "margin": cluster_estimate([pair.margin for pair in pairs], groups, proportion=False),
    }
    counts = dict(sorted(read_manifest(folder).counts.items()))
    return {
        "pairs": len(pairs), "counts": counts, **{name: figure.to_dict() for name, figure in figures.items()}
    }  # fmt: skip


def _judge(study: Study) -> dict[str, Any]:
    """What the judge made of the samples: its name, mean score, and reports without a score by reason."""
    judged = list(read_records(study.path("judgements"), Judgement))
    groups = {case.id: case.group_id for case in read_records(study.sampled, Case)}
    reasons = Counter((j.invalid_reason or "").partition(":")[0] for j in judged if not j.valid)
    figures: dict[str, Estimate] = {
        name: cluster_estimate(
            [_score(j, component) for j in judged], [groups[j.case_id] for j in judged], proportion=True
        )
        for name, component in SCORES.items()
    }
    return {
        "name": sorted({j.judge for j in judged}), "reports": len(judged),
        "invalid_reasons": dict(sorted(reasons.items())),
        **{name: figure.to_dict() for name, figure in figures.items()},
    }  # fmt: skip


def _score(judgement: Judgement, component: str) -> float | None:
    if not judgement.valid:
        return None
    return judgement.score if component == "score" else judgement.components.get(component)


# -- counts and cost ------------------------------------------------------------------------------


def _counts(study: Study) -> dict[str, Any]:
    """Cases and groups of each role, and of one folder of samples."""
    found: dict[str, Any] = {}
    for role, folder in (("labelled", study.labelled), ("sampled", study.sampled), ("test", study.test)):
        cases = list(read_records(folder, Case))
        found[role] = {"cases": len(cases), "groups": len({case.group_id for case in cases})}
    samples = read_manifest(study.path("candidates")).counts
    found["samples"] = {"unfinished": samples.get("unfinished", 0)}
    return found


def _flops(study: Study) -> dict[str, float]:
    """Operations of every run, the sampling of its pairs included."""
    sampling = flops_of_sampling(study.path("candidates"))
    found = {"candidates": sampling, CONTROL: flops_of_run(study.path("arms", CONTROL))}
    found |= {arm: flops_of_run(study.path("arms", arm)) + sampling for arm in ARMS}
    if study.supervised is not None:
        found[START] = flops_of_run(study.policy)
    return found
