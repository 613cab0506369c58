"""One round of GRPO on four image prompts with eight answers each: this toolkit's loop beside TRL's trainer.

Both sample, score, compare the answers of a prompt, and take one AdamW step on all of them, in one forward pass,
from pictures on disk (ours) or in memory (TRL) on. A random model's end token would come by chance, so it is moved
out of the output layer's reach: all answers have 64 tokens on both sides, and count as ended.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from benchmarks.setting import ANSWER_TOKENS, Pair
from datasets import Dataset
from torch import Tensor, nn
from trl import GRPOConfig, GRPOTrainer

from vlmalign.data import CasePrompts
from vlmalign.models import VLM, batch_flops, sampling_flops
from vlmalign.records import Case, DatasetBuild
from vlmalign.rewards import RewardOutput
from vlmalign.training.experience import Experience, make_experience
from vlmalign.training.online_setup import online_accelerator
from vlmalign.training.ppo import OnlineLoop
from vlmalign.training.ppo_config import PpoConfig

SAMPLES = 8
LEARNING_RATE = 1e-5


def never_ending(vlm: VLM) -> VLM:
    """The same, with an end token that the output layer does not reach."""
    vocabulary = vlm.model.get_output_embeddings().weight.shape[0]
    missing = vocabulary + 1 - len(vlm.tokenizer)
    vlm.tokenizer.add_tokens([f"<unused{n}>" for n in range(missing)])
    vlm.tokenizer.eos_token = f"<unused{missing - 1}>"
    vlm.model.generation_config.eos_token_id = vlm.tokenizer.eos_token_id
    assert vlm.tokenizer.eos_token_id >= vocabulary
    return vlm


def worth(text: str) -> float:
    """The reward of both sides: how many different characters an answer has."""
    return float(len(set(text)))


class Variety:
    """`worth` as this toolkit's reward."""

    name, needs_images = "variety", False

    def score(self, cases: Any, candidates: Any, images: Any = None) -> RewardOutput:
        return RewardOutput.of([worth(c.text) for c in candidates], reasons=[None] * len(candidates))


class OurGrpo:
    """`OnlineLoop` with `advantage: group`; prompts are processed anew each round, as are the pictures' features.

    Args:
        vlm: with adapters.
        beta: weight of the KL to the model without adapters, in the loss.
    """

    def __init__(self, vlm: VLM, beta: float) -> None:
        folder = Path(tempfile.mkdtemp())
        self.config = PpoConfig(
            model="given", data=str(folder / "cases"), out=str(folder / "run"), max_steps=1000, batch_size=4,
            samples=SAMPLES, max_new_tokens=ANSWER_TOKENS, passes=1, learning_rate=LEARNING_RATE, warmup=0.0,
            lr_schedule="constant", lora={"rank": 16, "alpha": 32}, device="cpu", reward="variety",
            advantage="group", kl={"coefficient": beta, "estimator": "k3", "place": "loss"},
        )  # fmt: skip
        self.vlm, self.folder = vlm, folder
        self.model: nn.Module = vlm.model
        self.loop: OnlineLoop | None = None

    def __call__(self, pairs: Sequence[Pair]) -> None:
        """One round."""
        self.open(pairs)._round()

    def open(self, pairs: Sequence[Pair]) -> OnlineLoop:
        """The loop over these prompts, made when they are first seen."""
        if self.loop is None:
            with DatasetBuild(self.folder / "cases", "case", {}) as build:
                for i, pair in enumerate(pairs):
                    case = Case(
                        id=f"c{i}", images=(build.add_image(pair.image),), messages=pair.prompt,
                        domain="peripheral_smear", group_id=f"g{i}", group_kind="slide",
                    )  # fmt: skip
                    build.commit(case.id, [case])
            cases = CasePrompts(self.config.data, self.vlm.processor, cache_megabytes=0)
            run: Any = SimpleNamespace(path=self.folder / "run")
            accelerator = online_accelerator(self.config, run.path)
            self.loop = OnlineLoop(self.config, run, accelerator, self.vlm, Variety(), None, cases, None)
            local = self.loop.sampler

            def ended(*args: Any, **kwargs: Any) -> Any:
                return [[replace(sample, finished=True) for sample in own] for own in local(*args, **kwargs)]

            self.loop.sampler = ended
        return self.loop

    def experience(self, pairs: Sequence[Pair]) -> Experience:
        """A round's answers; the policy that sampled is taken to be the reference, so that ratios are not 1."""
        loop = self.open(pairs)
        rollout = loop._roll_out([loop.cases[i] for i in range(len(pairs))], range(len(pairs)), SAMPLES, "bench")
        old = loop._scores(rollout, loop.reference)
        shaped = loop.shaper.shape(rollout, loop._join)
        return make_experience(
            self.config, rollout, shaped, old, old.logps, self.config.kl.coefficient, loop._join
        )

    def loss(self, pairs: Sequence[Pair], experience: Experience) -> Tensor:
        """The loss of the update, with gradient."""
        updater, rollout = self.open(pairs).updater, experience.rollout
        batch, rows = rollout.batch(range(len(pairs)))
        tokens, beta = float(experience.mask.sum()), self.config.kl.coefficient
        return updater._loss(experience, batch, rows, tokens, len(rollout.candidates), beta)[0]


class PeerGrpo:
    """`GRPOTrainer`: its own sampling, scoring, loss and optimiser.

    Args:
        vlm: with adapters, as `setting.adapt` makes them.
        beta: as ours.
    """

    def __init__(self, vlm: VLM, beta: float) -> None:
        rows = 4 * SAMPLES
        config = GRPOConfig(
            output_dir=tempfile.mkdtemp(), beta=beta, use_cpu=True, report_to=[], bf16=False,
            gradient_checkpointing=False, learning_rate=LEARNING_RATE, per_device_train_batch_size=rows,
            generation_batch_size=rows, num_generations=SAMPLES, max_completion_length=ANSWER_TOKENS,
            temperature=1.0, top_p=1.0, loss_type="dapo", scale_rewards="group", lr_scheduler_type="constant",
            use_bias_correction_kl=False,  # the KL as GRPO's paper has it, which ours is too
        )  # fmt: skip
        settings = vlm.model.peft_config["default"]
        placeholder = {"prompt": [{"role": "user", "content": "a"}], "image": Pair.__name__}

        def reward(completions: Any, **_: Any) -> list[float]:
            return [worth(turns[-1]["content"]) for turns in completions]

        self.trainer: Any = GRPOTrainer(
            model=vlm.model.unload(), reward_funcs=reward, args=config, processing_class=vlm.processor,
            train_dataset=Dataset.from_list([placeholder]), peft_config=settings,
        )  # fmt: skip
        self.trainer.current_gradient_accumulation_steps = 1
        self.model: nn.Module = self.trainer.model
        self.model.train()
        self.optimiser = self.trainer.create_optimizer()

    def __call__(self, pairs: Sequence[Pair]) -> None:
        """One round: `training_step` samples and scores too."""
        self.trainer.training_step(self.model, self.rows(pairs), None)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.trainer.args.max_grad_norm)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def rows(self, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
        """TRL's rows, each prompt once per answer."""
        return [
            {name: pair.row()[name] for name in ("images", "prompt")} for pair in pairs for _ in range(SAMPLES)
        ]

    def loss(self, pairs: Sequence[Pair], experience: Experience) -> Tensor:
        """The loss of the update on the given answers, with gradient; all else is TRL's."""
        answers = [list(ids) for ids in experience.rollout.token_ids]
        self.trainer._generate_single_turn = lambda *_: (answers, None)
        beta, self.trainer.beta = self.trainer.beta, 1.0  # so that the reference is computed
        try:
            inputs = self.trainer._generate_and_score_completions(self.rows(pairs))
        finally:
            self.trainer.beta = beta
            del self.trainer._generate_single_turn
        inputs["old_per_token_logps"] = inputs["ref_per_token_logps"]
        return self.trainer._compute_loss(self.model, inputs)


def same_update(ours: OurGrpo, peer: PeerGrpo, pairs: Sequence[Pair]) -> float:
    """Refuse to time two updates whose losses or gradients differ on the same answers."""
    experience = ours.experience(pairs)
    if {len(ids) for ids in experience.rollout.token_ids} != {ANSWER_TOKENS}:
        raise SystemExit(f"some of our answers have not {ANSWER_TOKENS} tokens")
    losses, norms = [], []
    for side in (ours, peer):
        loss = side.loss(pairs, experience)
        loss.backward()
        gradients = [p.grad for p in side.model.parameters() if p.grad is not None]
        norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
        losses.append(float(loss.detach()))
        side.model.zero_grad()
    difference = abs(losses[0] - losses[1])
    if not difference < 1e-4 or abs(losses[0]) < 1e-3 or not abs(norms[0] / norms[1] - 1) < 1e-3:
        raise SystemExit(f"the losses are {losses}, the gradients' norms {norms}: expected the same, and not 0")
    return difference


def arithmetic_limit(ours: OurGrpo, pairs: Sequence[Pair]) -> float:
    """Operations of TRL's round over those of ours, from shapes alone, the output layer at answers' places only.

    Of each prompt and its picture TRL runs 8 copies to sample, 8 for the reference where there is one, 8 to
    update; ours one each, and the picture once in all.
    """
    loop, model = ours.open(pairs), ours.vlm.model
    rollout = loop._roll_out([loop.cases[i] for i in range(len(pairs))], range(len(pairs)), SAMPLES, "bench")
    batch, _ = rollout.batch(range(len(pairs)))
    blind = replace(batch, prompts={k: v for k, v in batch.prompts.items() if k != "pixel_values"})
    scored = [False] * bool(ours.config.kl.coefficient)  # the reference, without a backward pass
    mine = rollout.flops + sum(batch_flops(model, blind, training=training) for training in (*scored, True))
    prompt = sampling_flops(model, batch.prompts, samples=0, new_tokens=0)
    plain = rollout.flops + (SAMPLES - 1) * prompt
    plain += sum(batch_flops(model, batch, training=training, mode="plain") for training in (*scored, True))
    return plain / mine
