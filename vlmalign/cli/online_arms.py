"""The demo's online arms: PPO and GRPO, each against the expert's findings and the trained reward model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlmalign.cli.demo_plan import LOGIC, Demo, answer_step
from vlmalign.cli.pipeline import Step
from vlmalign.evaluation.online_runs import evaluations
from vlmalign.records.suggestions import unknown

ALGORITHMS = ("dpo", "ppo", "grpo")
#: nats per answer; about as far as the demo's dpo goes
KL_BUDGET = 10.0


def online_arms(align: Sequence[str]) -> list[str]:
    """Names of the arms that `--align` adds beside dpo.

    Example:
        >>> online_arms(["dpo", "grpo"])
        ['grpo_expert', 'grpo_reward']
    """
    return [f"{algorithm}_{proxy}" for algorithm in align if algorithm != "dpo" for proxy in ("expert", "reward")]


def chosen_algorithms(align: str) -> list[str]:
    """`dpo,ppo` as a list.

    Raises:
        ValueError: an algorithm that the demo does not know, or a list without dpo.
    """
    chosen = list(dict.fromkeys(name.strip() for name in align.split(",")))
    for name in chosen:
        if name not in ALGORITHMS:
            raise ValueError(f"--align: {unknown('algorithm', name, ALGORITHMS)}")
    if "dpo" not in chosen:
        raise ValueError(f"--align {align}: all arms are compared with dpo: add it")
    return chosen


def online_steps(demo: Demo, align: Sequence[str]) -> list[Step]:
    """The online arms' training and answers, and of phantoms the validation slides that they are followed on.

    Each arm may spend what dpo and the sampling of its candidates cost.
    """
    arms = online_arms(align)
    if not arms:
        return []
    validation = _validation(demo) if demo.source == "smear" else []
    steps = list(validation)
    for arm in arms:
        algorithm, _, proxy = arm.partition("_")
        step = demo.step(arm, algorithm, ("dpo", "prompts", "findings", "known_findings"), arm=arm, weight=60)
        config = {**step.config, **_proxy(demo, proxy, step.config["reward"])}
        if validation:
            config |= {"eval_data": [demo.path("validation")], "eval_steps": 5, "gold": _gold()}
            config["kl"] = {**config["kl"], "budget": KL_BUDGET}
        spent = {"like": demo.path("arms", "dpo"), "plus": [demo.path("candidates")], "max_steps": None}
        needs = (
            *step.needs,
            *(["reward"] if proxy == "reward" else []),
            *(["findings_validation"] if validation else []),
        )
        steps.append(replace(step, stage="ppo-matched", config={**config, **spent}, needs=needs))
    test = demo.path("roles", "test")
    return [*steps, *(answer_step(arm, demo.root, demo.root, test, demo.source, demo.seed) for arm in arms)]


def _validation(demo: Demo) -> list[Step]:
    return [
        demo.step("validation", "validation", weight=3),
        demo.step("findings_validation", "findings", ("expert", "validation"), cases="validation", weight=4),
    ]


def _proxy(demo: Demo, proxy: str, expert: Mapping[str, Any]) -> dict[str, Any]:
    """What an arm maximises."""
    if proxy == "reward":
        scaled = {"shaping": {"whiten": "running", "cut": -10.0}}  # its scores have a scale of their own
        return {"reward": {"name": "scalar", "settings": {"run": demo.path("reward")}}, **scaled}
    if demo.source != "smear":
        return {"reward": expert}
    findings = [*expert["settings"]["findings"], demo.path("findings", "validation")]
    return {"reward": {**expert, "settings": {**expert["settings"], "findings": findings}}}


def _gold() -> dict[str, Any]:
    return {"name": "symbolic", "settings": {"logic": LOGIC}}


def followed(roots: Sequence[Path], arms: Sequence[str]) -> dict[str, Any]:
    """How each online arm went: its evaluations on the validation slides, and its summary, seed by seed."""
    return {arm: [_followed(root / "arms" / arm) for root in roots] for arm in arms}


def _followed(run: Path) -> dict[str, Any]:
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    names = ("reward", "reward_se", "gold", "gold_se", "kl", "kl_se", "tokens", "cut", "reward_valid")
    return {
        "reward": summary["reward"],
        "rounds": summary["steps"],
        "kept_round": summary["kept_round"],
        "stopped": summary["stopped"],
        "answers": summary["answers"],
        "invalid": summary["invalid"],
        "evaluations": evaluations(run, names),
    }
