"""Answers of a demo's arms on disk -> every arm's figures, the baselines' and the named differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmalign.cli.answers import KINDS, MODES
from vlmalign.cli.demo_plan import ARMS, IN_SCOPE
from vlmalign.cli.given_truth import GivenCases, score_against
from vlmalign.clinical import Logic, parse_text
from vlmalign.evaluation import (
    ItemScore,
    aggregate,
    compare,
    conclude,
    majority_baseline,
    random_baseline,
    smallest_detectable,
)
from vlmalign.evaluation.against import compare_metrics
from vlmalign.evaluation.conclusion import explain
from vlmalign.records import Case, read_records

MARGIN = 0.05
COMPARED = {
    "dpo_minus_sft_more": ("dpo", "sft_more", "whole_report_accuracy", "Value of the whole path (dpo - sft_more)"),
    "dpo_minus_sft_best_of_n": (
        "dpo", "sft_best_of_n", "whole_report_accuracy", "Value of preferences (dpo - sft_best_of_n)",
    ),
    "dpo_minus_sft_edited": (
        "dpo", "sft_edited", "whole_report_accuracy", "Preferences against editing (dpo - sft_edited)",
    ),
    "dpo_shuffled_minus_sft_more": (
        "dpo_shuffled", "sft_more", "whole_report_accuracy",
        "Negative control, whole reports (dpo_shuffled - sft_more)",
    ),
    "dpo_shuffled_minus_sft_more_in_scope": (
        "dpo_shuffled", "sft_more", "in_scope_accuracy", "Negative control (dpo_shuffled - sft_more)",
    ),
    "dpo_minus_sft_more_out_of_scope": (
        "dpo", "sft_more", "out_of_scope_accuracy", "What the expert cannot see (dpo - sft_more)",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class AnsweredSeed:
    """What one seed of a demo answered, and what it is scored against.

    Attributes:
        number: the seed.
        answers: the folder with one folder of answers per arm.
        labels: the noisy labels that the seed learned from (majority classes come from them).
        given: the cases that were answered.
    """

    number: int
    answers: Path
    labels: Path
    given: GivenCases

    def arm(self, arm: str, mode: str, logic: Logic) -> list[ItemScore]:
        """All items of one arm in one mode (greedy or sampled), reports and conversations."""
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}: choose one of {list(MODES)}")
        return [item for kind in KINDS for item in self.folder(self.answers / arm / f"{mode}_{kind}", logic)]

    def folder(self, folder: Path, logic: Logic) -> list[ItemScore]:
        """Scores of one folder of candidates, the demo's expert deciding what is in scope."""
        return score_against(folder, self.given, logic, IN_SCOPE)[0]


def arm_results(
    seeds: Sequence[AnsweredSeed], logic: Logic, *, crossed: bool, online: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, list[ItemScore]]]:
    """The parts of results.json that speak of arms, and the greedy items of every arm.

    Args:
        seeds: what each seed answered.
        logic: the clinical logic.
        crossed: whether the seeds share test groups (one real data set divided anew) or not (new phantoms).
        online: arms beside those that every demo has.
    """
    arms = (*ARMS, *online)
    greedy = {arm: [item for seed in seeds for item in seed.arm(arm, "greedy", logic)] for arm in arms}
    sampled = {arm: [item for seed in seeds for item in seed.arm(arm, "sampled", logic)] for arm in arms}
    greedy["expert_only"] = [item for seed in seeds for item in seed.folder(seed.answers / "expert_only", logic)]
    return {
        "arms": {arm: _figures(items, crossed) for arm, items in greedy.items()},
        "sampled": {arm: _figures(items, crossed) for arm, items in sampled.items()},
        "baselines": _baselines(seeds, logic, crossed),
        "comparisons": _compare_arms(greedy, {**COMPARED, **online_comparisons(online)}, crossed),
        "dpo_against_sft_more": compare_metrics(greedy["dpo"], greedy["sft_more"], crossed=crossed),
    }, greedy


def _figures(items: Sequence[ItemScore], crossed: bool) -> dict[str, Any]:
    """Every metric of one arm, as results.json holds it."""
    return {name: estimate.to_dict() for name, estimate in aggregate(items, crossed=crossed).items()}


def _baselines(seeds: Sequence[AnsweredSeed], logic: Logic, crossed: bool) -> dict[str, Any]:
    """What no look at the image earns."""
    found: dict[str, list[ItemScore]] = {"majority_class": [], "uniform_random": [], "text_only": []}
    for seed in seeds:
        known = list(seed.given.truths.values())
        texts = [case.reference.text for case in read_records(seed.labels, Case) if case.reference]
        labels = [parse_text(logic, text).answers for text in texts if text]
        found["majority_class"] += majority_baseline(logic, labels, known, IN_SCOPE)
        found["uniform_random"] += random_baseline(logic, known, IN_SCOPE, seed=seed.number)
        found["text_only"] += seed.arm("text_only", "greedy", logic)
    return {name: _figures(items, crossed) for name, items in found.items()}


def online_comparisons(online: Sequence[str]) -> dict[str, tuple[str, str, str, str]]:
    """Every online arm against more supervised training, and against dpo, at the same compute."""
    whole = {
        f"{arm}_minus_{other}": (arm, other, "whole_report_accuracy", f"{arm} - {other}")
        for arm in online
        for other in ("sft_more", "dpo")
    }
    beyond = {
        f"{arm}_minus_sft_more_out_of_scope": (
            arm, "sft_more", "out_of_scope_accuracy", f"What the expert cannot see ({arm} - sft_more)"
        )
        for arm in online
    }  # fmt: skip
    return {**whole, **beyond}


def _compare_arms(
    arms: Mapping[str, list[ItemScore]], compared: Mapping[str, tuple[str, str, str, str]], crossed: bool
) -> dict[str, Any]:
    """The named differences between arms, each with what its interval allows one to say."""
    found = {}
    for name, (a, b, metric, title) in compared.items():
        difference = compare(arms[a], arms[b], metric, crossed=crossed)
        found[name] = {
            **difference.to_dict(),
            "metric": metric,
            "margin": MARGIN,
            "conclusion": conclude(difference, MARGIN),
            "in_words": f"{title}: {explain(difference, MARGIN, subject=metric.replace('_', ' '))}",
            "smallest_detectable": smallest_detectable(difference),
        }
    return found
