"""From the folders of finished seeds to results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmalign.cli.arm_results import AnsweredSeed, arm_results
from vlmalign.cli.compute import flops_of_run, flops_of_sampling
from vlmalign.cli.demo_plan import DPO_ARMS, LOGIC, SFT_ARMS
from vlmalign.cli.expert_scores import expert_figures, score_expert
from vlmalign.cli.given_truth import read_cases
from vlmalign.cli.online_arms import followed
from vlmalign.cli.pipeline import read_seconds
from vlmalign.cli.run_record import versions
from vlmalign.clinical import Logic, load_logic
from vlmalign.evaluation import ItemScore
from vlmalign.evaluation.best_of_n import best_of_n_curve, curve_to_dict
from vlmalign.evaluation.reward_accuracy import (
    PairAccuracy,
    role_swapped_accuracy,
    seen_minus_blanked,
)
from vlmalign.records import Candidate, Case, Judgement, Preference, read_manifest, read_records

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
    seeds: Sequence[Seed],
    source: str,
    config: Mapping[str, Any],
    *,
    crossed: bool,
    online: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, list[ItemScore]]]:
    """The results of one or several seeds, and the greedy items of every arm for the report.

    Args:
        seeds: finished seeds.
        source: which source, for the record.
        config: the command's settings, for the record.
        crossed: whether the seeds share test groups (one real data set divided anew) or not (new phantoms).
        online: arms beside those that every demo has.
    """
    logic = load_logic(LOGIC)
    answered = [
        AnsweredSeed(
            seed.number, seed.path("answers"), seed.path("labels"),
            read_cases([seed.path("roles", "test")], logic, seed.number),
        )
        for seed in seeds
    ]  # fmt: skip
    figures, greedy = arm_results(answered, logic, crossed=crossed, online=online)
    first = seeds[0]
    results: dict[str, Any] = {
        "source": source,
        "seed": first.number,
        "seeds": [seed.number for seed in seeds],
        **figures,
        "reward_model": _reward_model(seeds, answered, logic),
        "expert": _expert(seeds, answered),
        "n_groups": {role: _count_groups(first.path("roles", role)) for role in _roles(first)},
        "counts": _counts(seeds),
        "seconds": _seconds(seeds),
        "flops": _flops(seeds, online),
        "versions": versions(PACKAGES),
        "config": dict(config),
    }
    if online:
        results["online"] = followed([seed.root for seed in seeds], online)
    return results, greedy


# -- reward model and expert ----------------------------------------------------------------------


def _reward_model(seeds: Sequence[Seed], answered: Sequence[AnsweredSeed], logic: Logic) -> dict[str, Any]:
    seen, blanked = (_role_swapped(seeds, name) for name in ("score_seen", "score_blank"))
    return {
        "role_swapped": seen.to_dict(),
        "role_swapped_blanked": blanked.to_dict(),
        "seen_minus_blanked": seen_minus_blanked(seen, blanked).to_dict(),
        "best_of_n": curve_to_dict(_best_of_n(seeds, answered, logic)),
    }


def _role_swapped(seeds: Sequence[Seed], name: str) -> PairAccuracy:
    right, wrong, items, groups, numbers = [], [], [], [], []
    for seed in seeds:
        scores = {j.candidate_ids[0]: j.score for j in read_records(seed.path("scores", name), Judgement)}
        for pair in read_records(seed.path("reward_test"), Preference):
            right.append(scores[f"{pair.id}/chosen"])
            wrong.append(scores[f"{pair.id}/rejected"])
            items.append(pair.provenance["item"])
            groups.append(pair.cluster)
            numbers.append(seed.number)
    return role_swapped_accuracy(right, wrong, items, groups, numbers, blanked=name == "score_blank")


def _best_of_n(seeds: Sequence[Seed], answered: Sequence[AnsweredSeed], logic: Logic) -> Any:
    scores, gold, groups, numbers = [], [], [], []
    largest = 1
    for seed, its in zip(seeds, answered, strict=True):
        judged = {j.candidate_ids[0]: j.score for j in read_records(seed.path("scores", "best_of_n"), Judgement)}
        by_case: dict[str, list[Candidate]] = {}
        for candidate in read_records(seed.path("best_of_n"), Candidate):
            by_case.setdefault(candidate.case_id, []).append(candidate)
        items = its.folder(seed.path("best_of_n"), logic)
        whole = {(i.case_id, i.sample): i.metrics["whole_report_accuracy"] for i in items}
        for case_id, candidates in by_case.items():
            if case_id not in its.given.truths:
                continue
            scores.append([judged[c.id] for c in candidates])
            gold.append([whole[case_id, c.sampling.sample] for c in candidates])
            groups.append(candidates[0].group_id)
            numbers.append(seed.number)
            largest = max(largest, len(candidates))
    n_values = [n for n in (1, 2, 4, 8, 16, 32) if n <= largest]
    return best_of_n_curve(scores, gold, groups, n_values, numbers)


def _expert(seeds: Sequence[Seed], answered: Sequence[AnsweredSeed]) -> dict[str, Any]:
    rows = []
    for seed, its in zip(seeds, answered, strict=True):
        findings = seed.path("findings", "roles", "test")
        for row in score_expert(seed.path("cases"), findings, its.given.truths):
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
        for name, value in read_seconds(seed.root).items():
            total[name] = round(total.get(name, 0.0) + value, 2)
    return total


def _flops(seeds: Sequence[Seed], online: Sequence[str]) -> dict[str, float]:
    """Operations per arm, sampling included where the arm used it, summed over seeds."""
    total: dict[str, float] = {}
    for seed in seeds:
        sampling = flops_of_sampling(seed.path("candidates"))
        total["candidates"] = total.get("candidates", 0.0) + sampling
        for arm in (*DPO_ARMS, *SFT_ARMS):
            own = flops_of_run(seed.path("arms", arm))
            used = own if arm in ("sft_more", "sft_clean") else own + sampling
            total[arm] = total.get(arm, 0.0) + used
        for arm in online:
            total[arm] = total.get(arm, 0.0) + flops_of_run(seed.path("arms", arm))
        for name in ("sft", "reward"):
            total[name] = total.get(name, 0.0) + flops_of_run(seed.path(name))
    return total
