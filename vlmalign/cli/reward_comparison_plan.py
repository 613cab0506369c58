"""The stages that compare rewards: one data set, one policy, the same pairs for every reward that is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlmalign.cli.demo_plan import LOGIC, Demo
from vlmalign.cli.pipeline import Step

#: arms of online training: how many standard deviations are taken off the ensemble's score
PESSIMISM = {"plain": 0.0, "pessimistic": 1.0}
#: pairs that rewards are tested on, and the policy whose answers they are
POLICIES = {"held_out": ("sft",), "tuned": ("arms", "dpo")}
#: the reward that online training climbs
CLIMBED = "ensemble"


@dataclass(frozen=True)
class Compared:
    """A reward of the comparison.

    Attributes:
        name: in results.
        needs: steps that it reads.
        scorer: name of the reward.
        settings: of the reward.
        blankable: whether it can be shown grey pictures.
    """

    name: str
    needs: tuple[str, ...]
    scorer: str
    settings: Mapping[str, Any]
    blankable: bool = True


def compared(demo: Demo) -> list[Compared]:
    """What is compared, trained or not."""

    def run(name: str) -> dict[str, Any]:
        return {"run": demo.path("rewards", name)}

    findings = {"logic": LOGIC, "findings": [demo.path("findings", "roles", "test")]}
    implicit = {"policy": demo.path("arms", "dpo"), "reference": demo.path("sft")}
    return [
        Compared("scalar", ("scalar",), "scalar", {**run("scalar"), "uncertainty": "none"}),
        Compared("laplace", ("scalar",), "scalar", {**run("scalar"), "uncertainty": "laplace"}),
        Compared("dropout", ("scalar",), "scalar", {**run("scalar"), "uncertainty": "dropout"}),
        Compared("ensemble", ("ensemble",), "scalar", run("ensemble")),
        Compared("heteroscedastic", ("heteroscedastic",), "scalar", run("heteroscedastic")),
        Compared("evidential", ("evidential",), "scalar", run("evidential")),
        Compared(
            "critique", ("critique",), "critique", {**run("critique"), "max_new_tokens": 320, "batch_size": 64}
        ),
        Compared("mixture", ("mixture",), "mixture", run("mixture")),
        Compared("implicit", ("dpo",), "implicit", implicit),
        Compared("follow_up", ("sft",), "follow_up", {"model": demo.path("sft"), "batch_size": 16}),
        Compared("expert_verified", ("findings_test",), "expert_verified", findings, blankable=False),
    ]


def comparison_steps(demo: Demo, seeds: int) -> list[Step]:
    """All steps of a comparison, in an order in which each stands behind what it needs.

    Args:
        demo: where it lives and what it reads.
        seeds: of online training; 0: none.
    """
    return [*_base(demo), *_rewards(demo), *_tests(demo), *_scores(demo), *_online(demo, seeds)]


def _base(demo: Demo) -> list[Step]:
    return [
        demo.step("source", "source", weight=20),
        demo.step("split", "split", ("source",), weight=3),
        demo.step("labels", "labels", ("split",)),
        demo.step("sft_data", "sft-data", ("labels",)),
        demo.step("prompts", "prompts", ("split",), weight=2),
        demo.step("sft", "sft", ("sft_data",), weight=45),
        demo.step("expert", "expert", ("split",), weight=45),
        demo.step("known_findings", "known-findings", ("split",)),
        demo.step("findings", "findings", ("expert", "prompts"), weight=10),
        demo.step("findings_test", "findings", ("expert", "split"), cases="roles/test", weight=4),
        demo.step("candidates", "candidates", ("sft", "prompts"), weight=30),
        demo.step("pairs", "pairs", ("candidates", "findings", "known_findings"), weight=2),
        demo.step("reward_data", "reward-data", ("prompts", "findings", "known_findings"), weight=2),
        demo.step("dpo", "dpo", ("pairs",), weight=40),
    ]


def _rewards(demo: Demo) -> list[Step]:
    """Every trained reward reads the same pairs, once."""
    trained: dict[str, dict[str, Any]] = {
        "scalar": {"head": {"kind": "mlp", "dropout": 0.1}, "laplace": True},
        "ensemble": {"head": {"kind": "mlp", "members": 5}},
        "heteroscedastic": {"head": {"kind": "mlp", "outputs": "gaussian"}},
        "evidential": {"head": {"kind": "mlp", "outputs": "evidence"}},
    }
    needs = ("sft", "reward_data", "pairs")
    steps = [
        demo.step(name, "reward", needs, settings={**settings, "out": demo.path("rewards", name)}, weight=50)
        for name, settings in trained.items()
    ]
    judged = demo.step(
        "candidate_scores", "candidate-scores", ("candidates", "findings", "known_findings"), weight=2
    )
    mixture = demo.step(
        "mixture", "mixture", (*needs, "scalar", "candidate_scores"), weight=30,
        settings={"model": demo.path("rewards", "scalar"), "out": demo.path("rewards", "mixture")},
    )  # fmt: skip
    return [*steps, judged, mixture, *_critique(demo, needs)]


def _critique(demo: Demo, needs: tuple[str, ...]) -> list[Step]:
    """Critiques of the same pairs by the expert's findings, and the model that learns to write them."""
    data = ("reward_data", "pairs")
    steps = [demo.step(f"critiques_{name}", "critiques", needs, pairs=name) for name in data]
    settings = {
        "data": [demo.path(f"{name}_critiques") for name in data], "out": demo.path("rewards", "critique"),
        "head": {"kind": "mlp"},
    }  # fmt: skip
    learned = tuple(step.name for step in steps)
    return [*steps, demo.step("critique", "critique", ("sft", *learned), settings=settings, weight=120)]


def _tests(demo: Demo) -> list[Step]:
    """Role-swapped pairs, and pairs of two policies' answers to test fields, ordered by what is known of these."""
    test = demo.path("roles", "test")
    steps = [demo.step("role_swapped", "reward-test", ("split",))]
    for name, policy in POLICIES.items():
        answers = {"model": demo.path(*policy), "cases": test, "out": demo.path("test_candidates", name)}
        steps.append(
            demo.step(
                f"candidates_{name}",
                "candidates",
                (policy[-1], "split"),
                n=4,
                weight=20,
                settings={**answers, "seed": demo.seed + 1000},
            )  # fmt: skip
        )
        pairs = {
            "cases": test, "candidates": answers["out"], "out": demo.path("test_pairs", name), "logic": LOGIC,
            "pairing": {"mode": "all", "max_pairs": 2, "min_margin": 0.1},
        }  # fmt: skip
        steps.append(Step(name, "symbolic", pairs, (f"candidates_{name}",)))
    return steps


def _scores(demo: Demo) -> list[Step]:
    steps = []
    for reward in compared(demo):
        for test in ("role_swapped", *POLICIES):
            steps.append(_score(demo, reward, test, reward.settings))
        if reward.blankable:
            steps.append(
                _score(demo, reward, "role_swapped", {**reward.settings, "blank_images": True}, "blanked")
            )
    return steps


def _score(demo: Demo, reward: Compared, test: str, settings: Mapping[str, Any], shown: str | None = None) -> Step:
    pairs = demo.path("reward_test") if test == "role_swapped" else demo.path("test_pairs", test)
    name = f"{reward.name}_{shown or test}"
    config = {
        "reward": reward.scorer, "settings": dict(settings), "pairs": pairs,
        "out": demo.path("judged", reward.name, shown or test),
    }  # fmt: skip
    return Step(f"score_{name}", "score", config, (*reward.needs, test), 60 if reward.name == "critique" else 12)


def _online(demo: Demo, seeds: int) -> list[Step]:
    """Plain and pessimistic online training against the ensemble, followed on slides of known truth."""
    if not seeds or demo.source != "smear":
        return []
    steps = [demo.step("validation", "validation", weight=3)]
    for cases in ("prompts", "validation"):
        anchor = {
            "model": demo.path("sft"), "cases": demo.path(cases), "out": demo.path("anchors", cases), "n": 1,
            "temperature": 0.0, "max_new_tokens": 110, "batch_size": 64,
        }  # fmt: skip
        steps.append(Step(f"anchors_{cases}", "generate", anchor, ("sft", cases), 10))
    needs = (CLIMBED, "prompts", "anchors_prompts", "anchors_validation")
    return steps + [
        _climb(demo, arm, kappa, seed, needs)
        for seed in range(demo.seed, demo.seed + seeds)
        for arm, kappa in PESSIMISM.items()
    ]


def _climb(demo: Demo, arm: str, kappa: float, seed: int, needs: tuple[str, ...]) -> Step:
    anchors = [demo.path("anchors", cases) for cases in ("prompts", "validation")]
    reward = {"name": "scalar", "settings": {"run": demo.path("rewards", CLIMBED), "anchors": anchors}}
    settings = {
        "out": demo.path("ppo", arm, f"seed-{seed}"), "seed": seed, "reward": reward,
        "learning_rate": 2e-4, "kl": {"coefficient": 0.01},
        "gold": {"name": "symbolic", "settings": {"logic": LOGIC}}, "eval_data": [demo.path("validation")],
        "eval_steps": 3, "max_steps": 18, "samples": 4, "save_steps": 0,
        "shaping": {"pessimism": kappa, "whiten": "running", "cut": -10.0, "unscored": None},
    }  # fmt: skip
    return demo.step(f"ppo_{arm}_{seed}", "ppo", needs, settings=settings, weight=75)
