"""`vlmalign preview` of an online stage: the starting model's answers, and what the reward says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text


def show_rollouts(
    config: Mapping[str, Any], console: Console, count: int, out: Path | None, *, where: str
) -> None:
    """Sample answers to the first cases, score them, and print both with a memory estimate.

    Args:
        config: settings of a stage `ppo`.
        console: where to print.
        count: how many cases.
        out: folder for the images as the model sees them.
        where: for errors.
    """
    from vlmalign.cli.preview_view import prompt_line, show_memory, write_images
    from vlmalign.data import CasePrompts
    from vlmalign.rewards import load_reward
    from vlmalign.training import PpoConfig, make_config
    from vlmalign.training.held_out import score_answers
    from vlmalign.training.policy import load_policy, stage_device
    from vlmalign.training.rollouts import LocalSampler, roll_out

    settings = make_config(PpoConfig, config, where=where)
    reward = load_reward(settings.reward.name, **settings.reward.settings)
    vlm = load_policy(settings)
    cases = CasePrompts(settings.data, vlm.processor, max_length=settings.max_length)
    count = min(count, len(cases))
    items = [cases[i] for i in range(count)]
    rollout = roll_out(
        vlm, items, range(count), LocalSampler(vlm, stage_device(settings)), samples=settings.samples,
        temperature=settings.temperature, seed=(settings.seed, "training"),
        max_new_tokens=settings.max_new_tokens, policy="preview", version=0,
    )  # fmt: skip
    scores = score_answers(reward, rollout)
    console.print(
        f"{len(cases)} cases; rounds of {settings.batch_size} with {settings.samples} answers each; reward "
        f"{reward.name}\n",
        markup=False,
    )
    batch, _ = rollout.batch(range(len(items)))
    for row, candidate in enumerate(rollout.candidates):
        if row % settings.samples == 0:
            console.print(prompt_line(vlm, batch, row // settings.samples))
        worth = f"{scores.mean[row]:.3g}" if scores.valid[row] else f"no score: {scores.reasons[row]}"
        console.print(
            Text.assemble((f"answer {row % settings.samples} ", "cyan"), candidate.text, (f"  ({worth})", "cyan"))
        )
    if out is not None:
        write_images(vlm, batch, out, console)
    prompts = settings.batch_size // (settings.minibatches * settings.gradient_accumulation)
    show_memory(
        vlm.model, batch, console, prompts=prompts, mixed=settings.dtype == "mixed", copied=settings.lora is None
    )
