"""From the folders of finished seeds to results.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from vlmalign.cli.compute import flops_of_run, flops_of_sampling
from vlmalign.cli.demo_plan import ARMS, DPO_ARMS, IN_SCOPE, LOGIC, SFT_ARMS
from vlmalign.cli.expert_scores import expert_figures, score_expert
from vlmalign.cli.scored_arms import score_arm, score_candidates_folder, truths_of
from vlmalign.clinical import load_logic, parse_text
from vlmalign.evaluation import (
    CaseTruth,
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
from vlmalign.evaluation.reward_accuracy import (
    PairAccuracy,
    best_of_n_curve,
    curve_to_dict,
    role_swapped_accuracy,
    seen_minus_blanked,
)
from vlmalign.records import Candidate, Case, Judgement, Preference, read_manifest, read_records

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
PACKAGES = ("vlmalign", "torch", "transformers", "monai", "peft", "accelerate")


@dataclass(frozen=True)
class Seed:
    """A finished seed: its folder and number."""

    root: Path
    number: int

    def path(self, *parts: str) -> Path:
        """A path below its folder."""
        return self.root.joinpath(*parts)


def collect(
    seeds: Sequence[Seed], source: str, config: Mapping[str, Any], *, crossed: bool
) -> tuple[dict[str, Any], dict[str, list[ItemScore]]]:
    """The results of one or several seeds, and the greedy items of every arm for the report.

    Args:
        seeds: finished seeds.
        source: which source, for the record.
        config: the command's settings, for the record.
        crossed: whether the seeds share test groups (one real data set divided anew) or not (new phantoms).
    """
    logic = load_logic(LOGIC)
    truths = {seed.number: truths_of(read_records(seed.path("roles", "test"), Case), logic, seed.number)
              for seed in seeds}  # fmt: skip
    greedy = {arm: _items(seeds, truths, arm, "greedy") for arm in ARMS}
    greedy["expert_only"] = [
        item for seed in seeds
        for item in score_candidates_folder(seed.path("answers", "expert_only"), truths[seed.number], logic)
    ]  # fmt: skip
    sampled = {arm: _items(seeds, truths, arm, "sampled") for arm in ARMS}
    first = seeds[0]
    results: dict[str, Any] = {
        "source": source,
        "seed": first.number,
        "seeds": [seed.number for seed in seeds],
        "arms": {arm: arm_figures(items, crossed) for arm, items in greedy.items()},
        "sampled": {arm: arm_figures(items, crossed) for arm, items in sampled.items()},
        "baselines": baseline_figures(
            [(seed.path("labels"), truths[seed.number], seed.number) for seed in seeds],
            _items(seeds, truths, "text_only", "greedy"),
            crossed,
        ),
        "comparisons": compare_arms(greedy, crossed),
        "dpo_against_sft_more": compare_metrics(greedy["dpo"], greedy["sft_more"], crossed=crossed),
        "reward_model": _reward_model(seeds, truths, crossed),
        "expert": _expert(seeds, truths),
        "n_groups": {role: _count_groups(first.path("roles", role)) for role in _roles(first)},
        "counts": _counts(seeds),
        "seconds": _seconds(seeds),
        "flops": _flops(seeds),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "config": dict(config),
    }
    return results, greedy


def _items(
    seeds: Sequence[Seed], truths: Mapping[int, dict[str, CaseTruth]], arm: str, mode: str
) -> list[ItemScore]:
    return [item for seed in seeds for item in score_arm(seed.path("answers", arm), truths[seed.number], mode)]


def arm_figures(items: Sequence[ItemScore], crossed: bool) -> dict[str, Any]:
    """Every metric of one arm, as results.json holds it."""
    return {name: estimate.to_dict() for name, estimate in aggregate(items, crossed=crossed).items()}


def baseline_figures(
    labelled: Sequence[tuple[Path, Mapping[str, CaseTruth], int]], blind: Sequence[ItemScore], crossed: bool
) -> dict[str, Any]:
    """What no look at the image earns.

    Args:
        labelled: per seed, the folder of noisy labels (majority classes come from it), the test truths, and
            the seed.
        blind: items of the arm that answered without the image.
        crossed: see `collect`.
    """
    logic = load_logic(LOGIC)
    majority: list[ItemScore] = []
    uniform: list[ItemScore] = []
    for folder, truths, number in labelled:
        known = list(truths.values())
        texts = [case.reference.text for case in read_records(folder, Case) if case.reference]
        labels = [parse_text(logic, text).answers for text in texts if text]
        majority += majority_baseline(logic, labels, known, IN_SCOPE)
        uniform += random_baseline(logic, known, IN_SCOPE, seed=number)
    found = {"majority_class": majority, "uniform_random": uniform, "text_only": list(blind)}
    return {name: arm_figures(items, crossed) for name, items in found.items()}


def compare_arms(arms: Mapping[str, list[ItemScore]], crossed: bool) -> dict[str, Any]:
    """The named differences between arms, each with what its interval allows one to say."""
    found = {}
    for name, (a, b, metric, title) in COMPARED.items():
        difference = compare(arms[a], arms[b], metric, crossed=crossed)
        found[name] = {
            **difference.to_dict(),
            "metric": metric,
            "margin": MARGIN,
            "conclusion": conclude(difference, MARGIN),
            "in_words": explain(difference, MARGIN, name=title, subject=metric.replace("_", " ")),
            "smallest_detectable": smallest_detectable(difference),
        }
    return found


# -- reward model and expert ----------------------------------------------------------------------


def _reward_model(
    seeds: Sequence[Seed], truths: Mapping[int, dict[str, CaseTruth]], crossed: bool
) -> dict[str, Any]:
    seen, blanked = (_role_swapped(seeds, name) for name in ("score_seen", "score_blank"))
    return {
        "role_swapped": seen.to_dict(),
        "role_swapped_blanked": blanked.to_dict(),
        "seen_minus_blanked": seen_minus_blanked(seen, blanked).to_dict(),
        "best_of_n": curve_to_dict(_best_of_n(seeds, truths)),
    }


def _role_swapped(seeds: Sequence[Seed], name: str) -> PairAccuracy:
    right, wrong, items, groups, numbers = [], [], [], [], []
    for seed in seeds:
        scores = {j.candidate_ids[0]: j.score for j in read_records(seed.path("scores", name), Judgement)}
        for pair in read_records(seed.path("reward_test"), Preference):
            right.append(scores[f"{pair.id}/chosen"])
            wrong.append(scores[f"{pair.id}/rejected"])
            items.append(pair.provenance["item"])
            groups.append(" + ".join(sorted(pair.provenance["groups"])))
            numbers.append(seed.number)
    return role_swapped_accuracy(right, wrong, items, groups, numbers)


def _best_of_n(seeds: Sequence[Seed], truths: Mapping[int, dict[str, CaseTruth]]) -> Any:
    logic = load_logic(LOGIC)
    scores, gold, groups, numbers = [], [], [], []
    largest = 1
    for seed in seeds:
        judged = {j.candidate_ids[0]: j.score for j in read_records(seed.path("scores", "best_of_n"), Judgement)}
        by_case: dict[str, list[Candidate]] = {}
        for candidate in read_records(seed.path("best_of_n"), Candidate):
            by_case.setdefault(candidate.case_id, []).append(candidate)
        items = score_candidates_folder(seed.path("best_of_n"), truths[seed.number], logic)
        whole = {(i.case_id, i.sample): i.metrics["whole_report_accuracy"] for i in items}
        for case_id, candidates in by_case.items():
            if case_id not in truths[seed.number]:
                continue
            scores.append([judged[c.id] for c in candidates])
            gold.append([whole[case_id, c.sampling.sample] for c in candidates])
            groups.append(candidates[0].group_id)
            numbers.append(seed.number)
            largest = max(largest, len(candidates))
    n_values = [n for n in (1, 2, 4, 8, 16, 32) if n <= largest]
    return best_of_n_curve(scores, gold, groups, n_values, numbers)


def _expert(seeds: Sequence[Seed], truths: Mapping[int, dict[str, CaseTruth]]) -> dict[str, Any]:
    rows = []
    for seed in seeds:
        findings = seed.path("findings", "roles", "test")
        for row in score_expert(seed.path("cases"), findings, truths[seed.number]):
            rows.append({**row, "group": f"{seed.number}/{row['group']}"})
    return expert_figures(rows)


# -- counts and cost ------------------------------------------------------------------------------


def _roles(seed: Seed) -> list[str]:
    return sorted(path.name for path in seed.path("roles").iterdir() if path.is_dir())


def _count_groups(folder: Path) -> int:
    return len({case.group_id for case in read_records(folder, Case)})


def _counts(seeds: Sequence[Seed]) -> dict[str, Any]:
    folders = ("cases", "labels", "labels_clean", "sft_data", "prompts", "candidates", "pairs", "edits",
               "reward_data", "reward_test")  # fmt: skip
    return {
        name: {
            key: n for key, n in sorted(read_manifest(seeds[0].path(name)).counts.items()) if key != "megaflops"
        }
        for name in folders
    }


def _seconds(seeds: Sequence[Seed]) -> dict[str, float]:
    """Seconds per step, summed over seeds."""
    total: dict[str, float] = {}
    for seed in seeds:
        for name, value in json.loads(seed.path("seconds.json").read_text()).items():
            total[name] = round(total.get(name, 0.0) + value, 2)
    return total


def _flops(seeds: Sequence[Seed]) -> dict[str, float]:
    """Operations per arm, sampling included where the arm used it, summed over seeds."""
    total: dict[str, float] = {}
    for seed in seeds:
        sampling = flops_of_sampling(seed.path("candidates"))
        total["candidates"] = total.get("candidates", 0.0) + sampling
        for arm in (*DPO_ARMS, *SFT_ARMS):
            own = flops_of_run(seed.path("arms", arm))
            used = own if arm in ("sft_more", "sft_clean") else own + sampling
            total[arm] = total.get(arm, 0.0) + used
        for name in ("sft", "reward"):
            total[name] = total.get(name, 0.0) + flops_of_run(seed.path(name))
    return total
