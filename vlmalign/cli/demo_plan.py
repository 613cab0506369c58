"""The demo's stages in order, each a recipe: who learns from what, and which step waits for which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmalign.cli.pipeline import Step
from vlmalign.cli.stages import load_recipe, merge
from vlmalign.recipes import read_recipe, recipe_names

LOGIC = "peripheral_smear"
#: what the expert can verify; focus, stain and the leukocyte's kind are beyond it
IN_SCOPE = ("leukocyte", "crowding", "platelets")
#: questions of a conversation, where a source cannot tell the truth of them all
QUESTIONS = {"bccd": ("focus", "stain", "leukocyte", "crowding", "platelets", "impression")}
SFT_ARMS = {
    "sft_more": "sft_data",
    "sft_clean": "sft_clean_data",
    "sft_best_of_n": "best_of_n_data",
    "sft_edited": "edits",
}
DPO_ARMS = {"dpo": "pairs", "dpo_shuffled": "pairs_shuffled"}
ARMS = ("sft", *SFT_ARMS, *DPO_ARMS)


@dataclass(frozen=True)
class Preset:
    """How large a demo is.

    Attributes:
        variables: recipe variables by recipe suffix, e.g. `{"source": {"slides": 100}}`.
        settings: settings that replace a recipe's, by recipe suffix.
        best_of: candidates per test case for the best-of-N curve.
        best_of_cases: test cases of that curve.
    """

    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    best_of: int = 8
    best_of_cases: int = 120


PRESETS = {
    "full": Preset(),
    "quick": Preset(
        variables={
            "source": {"slides": 60},
            "prompts": {"max_cases": 60},
            "candidates": {"n": 4},
            "reward-data": {"items": 60},
            "reward-test": {"items": 40},
            "validation": {"slides": 6},
        },
        settings={
            "sft": {"epochs": 4, "batch_size": 8},
            "dpo": {"epochs": 1, "batch_size": 8},
            "ppo": {"batch_size": 4, "samples": 4},
            "grpo": {"batch_size": 4, "samples": 4},
            "sft-arm": {"batch_size": 8},
            "reward": {"epochs": 1},
            "expert": {"config": {"epochs": 3, "batch_size": 8}},
        },
        best_of=4,
        best_of_cases=16,
    ),
}


@dataclass(frozen=True)
class Demo:
    """One seed of the demo: where it lives and what it reads."""

    root: Path
    source: str
    data: Path | None
    seed: int
    preset: Preset

    def step(
        self,
        name: str,
        recipe: str,
        needs: tuple[str, ...] = (),
        *,
        weight: float = 1.0,
        settings: Mapping[str, Any] | None = None,
        **variables: Any,
    ) -> Step:
        """The recipe `<source>-<recipe>`, or the phantoms' where the source has none of its own."""
        own = f"{self.source}-{recipe}"
        text = read_recipe(own if own in recipe_names() else f"smear-{recipe}")
        known = load_variables(text)
        given = {"root": str(self.root), "seed": self.seed, **self.preset.variables.get(recipe, {}), **variables}
        if self.data is not None:
            given["data"] = given.get("data", str(self.data))
        loaded = load_recipe(text, {k: v for k, v in given.items() if k in known}, name=own)
        config = merge(loaded.config, merge(self.preset.settings.get(recipe, {}), settings or {}))
        return Step(name, loaded.stage, config, needs, weight)

    def path(self, *parts: str) -> str:
        """A path below the demo's folder."""
        return str(self.root.joinpath(*parts))


def check_source(source: str, data: Path | None) -> None:
    """Refuse a source and a folder of data that do not go together."""
    if source == "bccd" and data is None:
        raise ValueError("--source bccd needs --data: the folder that holds JPEGImages and Annotations")
    if source == "smear" and data is not None:
        raise ValueError("--data goes with --source bccd: phantoms read no data")
    if data is not None and not data.is_dir():
        raise FileNotFoundError(f"--data {data}: no such folder. Check the path.")


def load_variables(text: str) -> set[str]:
    """Names of the variables that a recipe defines."""
    import yaml

    return set(yaml.safe_load(text).get("vars") or {})


def plan(demo: Demo) -> list[Step]:
    """All steps of one seed, in an order in which each stands behind what it needs."""
    return [*_data(demo), *_policy_and_pairs(demo), *_arms(demo), *_reward(demo), *_answers(demo)]


def _data(demo: Demo) -> list[Step]:
    return [
        demo.step("source", "source", weight=20),
        demo.step("split", "split", ("source",), weight=3),
        demo.step("labels", "labels", ("split",)),
        demo.step("labels_clean", "labels-clean", ("labels",)),
        demo.step("sft_data", "sft-data", ("labels",)),
        demo.step("sft_clean_data", "sft-data", ("labels_clean",), labels="labels_clean", out="sft_clean_data"),
        demo.step("prompts", "prompts", ("split",), weight=2),
        demo.step("expert", "expert", ("split",), weight=60),
        demo.step("known_findings", "known-findings", ("split",)),
    ]


def _policy_and_pairs(demo: Demo) -> list[Step]:
    return [
        demo.step("sft", "sft", ("sft_data",), weight=60),
        demo.step("findings", "findings", ("expert", "prompts"), weight=10),
        demo.step("candidates", "candidates", ("sft", "prompts"), weight=30),
        demo.step("pairs", "pairs", ("candidates", "findings", "known_findings"), weight=2),
        demo.step("edits", "edits", ("candidates", "findings", "known_findings"), weight=2),
        demo.step("best_of_n_data", "best-of-n-data", ("pairs",)),
        demo.step("pairs_shuffled", "pairs-shuffled", ("pairs",)),
    ]


def _arms(demo: Demo) -> list[Step]:
    steps = [demo.step(arm, "dpo", (pairs,), pairs=pairs, arm=arm, weight=30) for arm, pairs in DPO_ARMS.items()]
    for arm, data in SFT_ARMS.items():
        # arms that need no candidates get their sampling compute as more training
        sampling = [demo.path("candidates")] if arm in ("sft_more", "sft_clean") else []
        steps.append(demo.step(arm, "sft-arm", ("dpo", data), data=data, arm=arm, sampling=sampling, weight=30))
    return steps


def _reward(demo: Demo) -> list[Step]:
    score = {"reward": "scalar", "settings": {"run": demo.path("reward")}}
    blank = {"reward": "scalar", "settings": {"run": demo.path("reward"), "blank_images": True}}
    best = demo.path("best_of_n")
    test = demo.path("roles", "test")
    return [
        demo.step("reward_data", "reward-data", ("prompts", "findings", "known_findings"), weight=2),
        demo.step("reward_test", "reward-test", ("split",)),
        demo.step("reward", "reward", ("sft", "reward_data", "pairs"), weight=40),
        _score(demo, "score_seen", {**score, "pairs": demo.path("reward_test")}, weight=6),
        _score(demo, "score_blank", {**blank, "pairs": demo.path("reward_test")}, weight=6),
        Step(
            "best_of_n", "generate",
            {
                "model": demo.path("sft", "model"), "cases": test, "out": best, "n": demo.preset.best_of,
                "max_new_tokens": 110, "seed": demo.seed, "limit": demo.preset.best_of_cases,
            },
            ("sft", "split"), 10,
        ),
        Step(
            "score_best_of_n", "score",
            {**score, "cases": test, "candidates": best, "out": demo.path("scores", "best_of_n")},
            ("reward", "best_of_n"), 6,
        ),
    ]  # fmt: skip


def _score(demo: Demo, name: str, config: dict[str, Any], weight: float) -> Step:
    return Step(name, "score", {**config, "out": demo.path("scores", name)}, ("reward", "reward_test"), weight)


def _answers(demo: Demo) -> list[Step]:
    test = demo.path("roles", "test")
    steps = [
        demo.step("findings_test", "findings", ("expert", "split"), cases="roles/test", weight=4),
        Step(
            "expert_only", "templates",
            {
                "cases": test, "findings": [demo.path("findings", "roles", "test")],
                "out": demo.path("answers", "expert_only"), "logic": LOGIC, "seed": demo.seed,
            },
            ("findings_test",),
        ),
    ]  # fmt: skip
    for arm in ARMS:
        steps.append(answer_step(arm, demo.root, demo.root, test, demo.source, demo.seed))
    steps.append(answer_step("text_only", demo.root, demo.root, test, demo.source, demo.seed))
    return steps


def model_folder(root: Path, arm: str) -> str:
    """Where an arm's model lies; `text_only` is the SFT policy, shown no pictures."""
    return str(root / "sft" / "model" if arm in ("sft", "text_only") else root / "arms" / arm / "model")


def answer_step(arm: str, root: Path, out: Path, cases: str, source: str, seed: int) -> Step:
    """The step in which one arm of the demo in `root` answers cases; the answers go below `out`."""
    config = {
        "model": model_folder(root, arm), "cases": cases, "out": str(out / "answers" / arm), "logic": LOGIC,
        "seed": seed, "blank_images": arm == "text_only", "concepts": list(QUESTIONS.get(source, ())),
    }  # fmt: skip
    return Step(f"answers_{arm}", "answers", config, ("sft" if arm == "text_only" else arm,), 8)
