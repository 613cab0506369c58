"""From the folders of a finished comparison of rewards to results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlmalign.cli.demo_plan import LOGIC, Demo
from vlmalign.cli.given_truth import read_cases
from vlmalign.cli.pipeline import read_seconds
from vlmalign.cli.reward_comparison_plan import PESSIMISM, POLICIES, compared
from vlmalign.cli.run_record import versions
from vlmalign.clinical import load_logic
from vlmalign.evaluation.calibration import calibration_figures
from vlmalign.evaluation.critique_gate import critique_agreement, critique_gate
from vlmalign.evaluation.error_detection import error_auroc
from vlmalign.evaluation.judged_pairs import JudgedPairs, read_judged_pairs
from vlmalign.evaluation.kl_grid import common_grid, curve, differences
from vlmalign.evaluation.online_runs import evaluations
from vlmalign.evaluation.reward_accuracy import (
    PairAccuracy,
    pair_accuracy,
    role_swapped_accuracy,
    seen_minus_blanked,
)
from vlmalign.evaluation.reward_calibration import margin_calibration
from vlmalign.evaluation.reward_shift import PairScores, reward_shift
from vlmalign.records import DataError, Preference, RecordFolder
from vlmalign.records.scores import read_scores
from vlmalign.rewards.calibration_file import cross_fit
from vlmalign.rewards.calibration_items import read_pairs

PACKAGES = ("vlmalign", "torch", "transformers")
#: what is told of an online run's evaluations
FOLLOWED = ("kl", "reward", "reward_se", "gold", "gold_se", "tokens", "cut")
#: figures of a reward's own errors, in results.json
STD_GAIN = {
    "auroc_margin": "auroc_margin",
    "auroc_margin_and_std": "auroc_margin_and_std",
    "difference": "auroc_gain",
}


def collect_comparison(demo: Demo, config: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """All figures of a comparison.

    Args:
        demo: where it lies.
        config: the command's settings, for the record.
        seeds: of online training, none where there was none.
    """
    rewards = {reward.name: _figures(demo, reward.name, reward.blankable) for reward in compared(demo)}
    held, tuned = ([_scored(demo, name, place) for name in ("implicit", "scalar")] for place in POLICIES)
    results: dict[str, Any] = {
        "source": demo.source,
        "seed": demo.seed,
        "config": dict(config),
        "rewards": rewards,
        "implicit_against_scalar": reward_shift((held[0], held[1]), (tuned[0], tuned[1])).to_dict(),
        "seconds": read_seconds(demo.root),
        "versions": versions(PACKAGES),
    }
    results["critique_gate"] = _gate(demo)
    if seeds:
        results["ppo"] = _online(demo, seeds)
    return results


def _gate(demo: Demo) -> dict[str, Any]:
    """Whether critiques help: the critique model against the scalar one of the same pairs, on held-out answers."""
    logic = load_logic(LOGIC)
    truths = read_cases([demo.root / "roles" / "test"], logic).truths
    known = {name: truth.answers for name, truth in truths.items()}
    own, plain = judged(demo, "critique", "held_out"), judged(demo, "scalar", "held_out")
    written = read_scores(demo.root / "judged" / "critique" / "held_out").judgements
    gate = critique_gate(own, plain, agreement=critique_agreement(own, written, logic, known))
    return {**gate.to_dict(), "in_words": " ".join(gate.sentences)}


def judged(demo: Demo, reward: str, shown: str) -> JudgedPairs:
    """The pairs of a test with one reward's scores."""
    pairs = "reward_test" if shown in ("role_swapped", "blanked") else f"test_pairs/{shown}"
    return read_judged_pairs(RecordFolder(demo.root / pairs, Preference), demo.root / "judged" / reward / shown)


def _scored(demo: Demo, reward: str, place: str) -> PairScores:
    return PairScores.of(judged(demo, reward, place))


def _figures(demo: Demo, name: str, blankable: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen = _by_item(judged(demo, name, "role_swapped"))
    found["role_swapped"] = seen.to_dict()
    if blankable:
        blanked = _by_item(judged(demo, name, "blanked"), blanked=True)
        found["role_swapped_blanked"] = blanked.to_dict()
        found["seen_minus_blanked"] = seen_minus_blanked(seen, blanked).to_dict()
    for place in POLICIES:
        suffix = "" if place == "held_out" else f"_{place}"
        scored = judged(demo, name, place)
        found |= {f"{key}{suffix}": value for key, value in _on_pairs(scored).items()}
        found[f"ece_calibrated{suffix}"] = _calibrated(demo, name, place)
    return found


def _by_item(scored: JudgedPairs, *, blanked: bool = False) -> PairAccuracy:
    pairs = scored.pairs
    items = [pair.pair.provenance["item"] for pair in pairs]
    chosen, rejected = [p.chosen for p in pairs], [p.rejected for p in pairs]
    return role_swapped_accuracy(chosen, rejected, items, scored.groups, blanked=blanked)


def _on_pairs(scored: JudgedPairs) -> dict[str, Any]:
    """Accuracy, calibration as it is, and what finds the reward's own errors; what is not known is None."""
    pairs = scored.pairs
    accuracy = pair_accuracy([p.chosen for p in pairs], [p.rejected for p in pairs], scored.groups)
    found: dict[str, Any] = {"pair_accuracy": accuracy.to_dict()}
    calibration = margin_calibration(scored)
    for name in ("ece", "brier", "risk_coverage", "bins"):
        found[name] = calibration.get(name)
    gain = calibration.get("std_gain")
    for name, ours in STD_GAIN.items():
        found[ours] = None if gain is None else gain[name]
    if gain is None:
        found["auroc_margin"] = calibration.get("error_auroc")
        found["no_std"] = calibration.get("std_gain_missing")
    found["auroc_std"] = _std_alone(scored)
    return found


def _std_alone(scored: JudgedPairs) -> dict[str, Any] | None:
    """How well the standard deviation finds errors by itself; None where it is not known of every pair."""
    known = [(p.margin_std, p.margin, p.group) for p in scored.pairs if p.margin]
    stds = [std for std, _, _ in known if std is not None]
    wrong = [float(margin < 0) for _, margin, _ in known]
    if len(stds) < len(known) or len(set(wrong)) < 2:
        return None
    return error_auroc(stds, wrong, [group for _, _, group in known]).to_dict()


def _calibrated(demo: Demo, name: str, place: str) -> dict[str, Any] | None:
    """The error after a temperature fitted on other groups of the same pairs; None where none can be fitted."""
    pairs = demo.root / "test_pairs" / place
    try:
        items = read_pairs(demo.root / "judged" / name / place, pairs)
        fitted = cross_fit(items, method="temperature")
    except (DataError, ValueError):
        return None
    return calibration_figures(fitted.p, items.labels, items.groups, pairs=True).ece.to_dict()


def _online(demo: Demo, seeds: Sequence[int]) -> dict[str, Any]:
    """Both arms on a common grid of KL, their difference, and every run's own evaluations."""
    runs = {
        arm: [evaluations(demo.root / "ppo" / arm / f"seed-{seed}", FOLLOWED) for seed in seeds]
        for arm in PESSIMISM
    }
    grid = common_grid(runs)
    apart = differences(runs["pessimistic"], runs["plain"], grid)
    return {
        **{arm: [point.to_dict() for point in curve(of_seeds, grid)] for arm, of_seeds in runs.items()},
        "pessimistic_minus_plain": [point.to_dict() for point in apart],
        "seeds": list(seeds),
        "runs": runs,
    }
