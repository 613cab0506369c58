"""Online policy optimisation: PPO, and with other advantages GRPO and RLOO.

A round: sample answers to cases, score them, work out each token's advantage, update the policy.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from vlmalign.data import CasePrompt, CasePrompts
from vlmalign.losses.advantages import Moments
from vlmalign.losses.kl import adapted_coefficient
from vlmalign.models import VLM, save_vlm
from vlmalign.models.actor_critic import ActorCritic, ActorCriticOutput
from vlmalign.models.forward import forward_mode
from vlmalign.records.progress import is_interactive
from vlmalign.rewards import Reward, load_reward
from vlmalign.training import checkpoints
from vlmalign.training.experience import Experience, TokenScores, chunks, make_experience, token_scores
from vlmalign.training.held_out import Answered, HeldOut, answered, score_answers
from vlmalign.training.online_setup import (
    disable_dropout,
    learning_rate_factor,
    online_accelerator,
    parameter_groups,
    planned_rounds,
    reference_policy,
    round_features,
)
from vlmalign.training.online_signals import answer_lines, critic_signals, gold_signals, rollout_signals
from vlmalign.training.online_state import OnlineState, load_best, load_checkpoint, save_best, save_checkpoint
from vlmalign.training.order import endless_order, permutation
from vlmalign.training.policy import load_policy
from vlmalign.training.ppo_config import Gae, PpoConfig
from vlmalign.training.ppo_update import Updater
from vlmalign.training.rollouts import Rollout, roll_out
from vlmalign.training.runs import RunFolder
from vlmalign.training.sampler import check_rollouts, policy_sampler
from vlmalign.training.shaping import ShapedScores, Shaper
from vlmalign.training.signals import Signals, finite

ANSWERS = "answers.jsonl"
DEFAULT_SAVE_ROUNDS = 10


def train_ppo(config: PpoConfig, *, overwrite: bool = False) -> Path:
    """Align a model by sampling answers to cases and raising those that a reward prefers.

    With `advantage: gae` this is PPO (Schulman et al. 2017, arXiv:1707.06347) with a critic on the policy's own
    backbone and a per-token pull to the reference (Ziegler et al. 2019, arXiv:1909.08593); with `group` it is GRPO
    (Shao et al. 2024, arXiv:2402.03300), with `leave_one_out` RLOO (Ahmadian et al. 2024, arXiv:2402.14740). The
    reference is the policy as the stage began. Answers that a reward cannot score are left out of the update and
    counted. With `eval_data` the model that is kept is the one with the highest held-out reward, among those
    within `kl.budget` of which enough answers were scored (`least_scored`); the starting model is one of them. A
    complete run is left as it is; a stopped one continues and ends with the same bits.

    Args:
        config: settings; `data` and `eval_data` are folders of cases.
        overwrite: replace an earlier run in the folder, once the new one's model and data have loaded.

    Returns:
        The run folder; its `model` is what `from_pretrained` loads.

    Raises:
        DataError: a folder or case that cannot be used.
        FileExistsError: the folder holds another run and `overwrite` is not set.
        ValueError: a reward that is not there, sharded weights, or vLLM where it cannot run.
    """
    # 1. The rewards, and the run folder: a complete run is not repeated.
    check_rollouts(config)
    reward = load_reward(config.reward.name, **config.reward.settings)
    gold = load_reward(config.gold.name, **config.gold.settings) if config.gold else None
    identity = {"reward": reward.name, "gold": gold.name if gold else None}
    run = RunFolder("ppo", config, overwrite=overwrite, identity=identity)
    if run.finished:
        return run.path

    # 2. The starting model and the cases.
    accelerator = online_accelerator(config, run.path)
    vlm = load_policy(config)
    disable_dropout(vlm.model)
    cases = CasePrompts(config.data, vlm.processor, max_length=config.max_length)
    held_out = None
    if config.eval_data:
        held_out = CasePrompts(config.eval_data, vlm.processor, max_length=config.max_length, purpose="evaluation")

    # 3. Train, save, close the run.
    run.begin()
    loop = OnlineLoop(config, run, accelerator, vlm, reward, gold, cases, held_out)
    return loop.fit()


class OnlineLoop:
    """The rounds of an online run; see `train_ppo`."""

    def __init__(
        self,
        config: PpoConfig,
        run: RunFolder,
        accelerator: Accelerator,
        vlm: VLM,
        reward: Reward,
        gold: Reward | None,
        cases: CasePrompts,
        held_out: CasePrompts | None,
    ) -> None:
        self.config, self.run, self.accelerator, self.vlm = config, run, accelerator, vlm
        self.reward, self.gold, self.cases, self.held_out = reward, gold, cases, held_out
        self.features, self.keeps_features = round_features(config, vlm.model)
        self.sampler = policy_sampler(config, vlm, accelerator.device, self.features)
        self.reference = reference_policy(config, vlm.model, self.features)
        critic = config.advantage if isinstance(config.advantage, Gae) else None
        self.actor = ActorCritic(vlm.model, critic=bool(critic), detach=bool(critic and critic.detach))
        self.optimizer = torch.optim.AdamW(parameter_groups(self.actor, config.weight_decay), lr=0.0)
        self.model, self.optimizer = accelerator.prepare(self.actor, self.optimizer)
        self.updater = Updater(config, accelerator, self.model, vlm.model, self.optimizer, self.features)
        self.shaper = Shaper(reward, config.shaping, vlm.tokenizer)
        self.signals = Signals()
        self.state = OnlineState(kl_coefficient=config.kl.coefficient)
        self.rounds = planned_rounds(config, len(cases), accelerator.num_processes)

    # -- the run ------------------------------------------------------------------------------------------

    def fit(self) -> Path:
        """Take all rounds (or those that are left), then save the model and complete the run folder."""
        start = time.perf_counter()
        resumed = self._resume()
        if self.config.report_to:
            self.accelerator.init_trackers("runs")
        if self.held_out is not None and self.state.first is None:
            self._evaluate()
        with self._progress() as bar:
            while not self._done():
                logs = self._round()
                if self._is_due(self.config.eval_steps) and self.held_out is not None:
                    self._evaluate()
                if self._is_due(self.config.logging_steps):
                    self._log(logs)
                if self.config.save_steps != 0 and self._is_due(self.config.save_steps or DEFAULT_SAVE_ROUNDS):
                    self._save()
                bar.total = self._expected_rounds()
                bar.update(1)
                bar.set_postfix({name: f"{logs[name]:.3g}" for name in ("reward", "kl") if name in logs})
        if self.state.best_round is not None:
            load_best(self.run.checkpoints, self.actor, self.state.best_round)
        self.vlm.model.eval()
        self.run.save_model(partial(save_vlm, self.vlm))
        if self.accelerator.is_main_process:
            if self.config.lora:
                self.vlm.model.save_pretrained(self.run.adapter)
            self.run.finish(self._summary(resumed, time.perf_counter() - start))
        self.accelerator.wait_for_everyone()
        if self.config.report_to:
            self.accelerator.end_training()
        return self.run.path

    def _resume(self) -> int:
        newest = next(iter(checkpoints.complete_checkpoints(self.run.checkpoints)), None)
        step = checkpoints.step_of(newest) if newest else 0
        if self.accelerator.is_main_process:
            self.run.forget_after(step if newest else -1)
            self.run.forget_after(step if newest else -1, ANSWERS)
        if newest:
            self.state = load_checkpoint(newest, self.actor, self.optimizer, self.accelerator.device)
            self.shaper.baseline, self.shaper.seen = self.state.baseline, self.state.seen
        return step

    def _done(self) -> bool:
        state = self.state
        if state.stopped:
            return True
        if self.rounds is not None:
            return state.round >= self.rounds
        assert self.config.max_flops is not None
        return state.round > 0 and sum(state.flops.values()) + state.last_flops > self.config.max_flops

    def _expected_rounds(self) -> int:
        state, budget = self.state, self.config.max_flops or 0.0
        return self.rounds or state.round + int((budget - sum(state.flops.values())) // max(state.last_flops, 1.0))

    def _is_due(self, interval: int | None) -> bool:
        """Whether this round ends an interval; the last one ends all of them."""
        return self._done() or (interval is not None and self.state.round % interval == 0)

    def _progress(self) -> tqdm[Any]:
        shown = is_interactive() and self.accelerator.is_main_process
        return tqdm(total=self.rounds, initial=self.state.round, unit="round", leave=False, disable=not shown)

    # -- a round ------------------------------------------------------------------------------------------

    def _round(self) -> dict[str, float]:
        config, state = self.config, self.state
        # 1. Sample answers.
        size, world = config.batch_size, self.accelerator.num_processes
        first = (state.round * world + self.accelerator.process_index) * size
        order = endless_order(len(self.cases), first, config.seed, "order")
        items = [self.cases[index] for index in islice(order, size)]
        rollout = self._roll_out(items, range(first, first + size), config.samples, "training")

        # 2. Score them.
        shaped = self.shaper.shape(rollout, self._join)
        gold = score_answers(self.gold, rollout) if self.gold else None

        # 3. Log-probabilities of the policy and of the reference, and values.
        pulled = bool(state.kl_coefficient or config.kl.stop)
        old = self._scores(rollout, self._policy) if config.needs_old(pulled) else None
        reference = self._scores(rollout, self.reference) if pulled else None
        pull_to = None if reference is None else reference.logps
        kl = self._watch(rollout, shaped, old, pull_to)
        if gold is not None:
            self.signals.add(gold_signals(gold))
        scoring = sum(scores.flops for scores in (old, reference) if scores is not None)
        flops = {"sampling": rollout.flops, "reward": shaped.flops, "scoring": scoring, "training": 0.0}

        # 4. Advantages, and updates.
        if config.kl.stop and kl is not None and kl > config.kl.stop:
            state.stopped = f"kl: {kl:.3g} nats per answer, kl.stop is {config.kl.stop:g}"
        else:
            experience = make_experience(config, rollout, shaped, old, pull_to, state.kl_coefficient, self._join)
            self.signals.add(critic_signals(experience))
            flops["training"] = self._updates(experience)
        logs = {**self.signals.read(self.accelerator), **self.updater.signals.read(self.accelerator)}
        self._remember(flops, rollout, shaped, kl)
        return logs

    def _roll_out(self, items: Sequence[CasePrompt], places: Sequence[int], samples: int, purpose: str) -> Rollout:
        if not self.keeps_features and self.features is not None:
            self.features.forget()  # so that a resumed round computes them in the same batches
        with self.accelerator.autocast():
            return roll_out(
                self.vlm, items, places, self.sampler, samples=samples, temperature=self.config.temperature,
                seed=(self.config.seed, purpose),
                max_new_tokens=self.config.max_new_tokens, policy=f"{self.run.path.name}-{self.state.round}",
                version=self.state.round,
            )  # fmt: skip

    def _policy(self, batch: Any) -> ActorCriticOutput:
        return self.model(batch, features=self.features, temperature=self.config.temperature)

    def _scores(self, rollout: Rollout, forward: Callable[..., ActorCriticOutput]) -> TokenScores:
        with self.accelerator.autocast():
            parts = self._parts(range(len(rollout.items)))
            return token_scores(rollout, self.vlm.model, forward, parts, self.accelerator.device)

    def _updates(self, experience: Experience) -> float:
        """Passes over the round's answers; returns what they cost."""
        config, state, cost = self.config, self.state, 0.0
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * self._rate()
        self.signals.add({"learning_rate": (self.optimizer.param_groups[0]["lr"], 1)})
        self.model.train()
        size = config.batch_size // config.minibatches
        for number in range(config.passes):
            order = permutation(config.batch_size, config.seed, "update", state.round, number)
            for cases in chunks(order, size):
                result = self.updater.update(experience, cases, state.kl_coefficient)
                state.updates += result.stepped
                cost += result.flops
                self.signals.add({"update_kl": (result.kl, 1)})
                if config.kl.update is not None and result.kl > config.kl.update:
                    self.signals.add({"updates_cut_short": (1, 1)})
                    return cost
        return cost

    def _parts(self, cases: Sequence[int]) -> list[Sequence[int]]:
        """As many cases at a time as an update runs in one forward pass."""
        config = self.config
        return chunks(cases, config.batch_size // (config.minibatches * config.gradient_accumulation))

    def _rate(self) -> float:
        config, state = self.config, self.state
        if self.rounds is not None:
            done, step = state.round / self.rounds, 1 / self.rounds
        else:
            assert config.max_flops is not None
            done, step = sum(state.flops.values()) / config.max_flops, state.last_flops / config.max_flops
        return learning_rate_factor(config, done, step)

    # -- what is watched ----------------------------------------------------------------------------------

    def _join(self, own: Moments) -> Moments:
        """Moments over processes."""
        if self.accelerator.num_processes == 1:
            return own
        joined = Moments()
        for other in gather_object([tuple(own)]):
            joined = joined.join(Moments(*other))
        return joined

    def _watch(
        self, rollout: Rollout, shaped: ShapedScores, old: TokenScores | None, reference: torch.Tensor | None
    ) -> float | None:
        """Record what the answers are like; returns the KL to the reference over processes, if it is known."""
        self.signals.add(rollout_signals(rollout, shaped))
        moments = self._join(Moments.of(shaped.scores[shaped.valid]))
        self.signals.add({"reward_std": (moments.std, 1), "kl_coefficient": (self.state.kl_coefficient, 1)})
        if reference is None:
            return None
        sampled = sum(candidate.logp or 0.0 for candidate in rollout.candidates)  # at temperature 1
        policy = sampled if old is None else float((old.logps * rollout.mask).sum())
        pair = torch.tensor([policy - float((reference * rollout.mask).sum()), len(rollout.candidates)])
        total, answers = self.accelerator.reduce(pair.to(self.accelerator.device)).tolist()
        self.signals.add({"kl": (pair[0], pair[1])})
        return total / answers

    def _remember(self, flops: dict[str, float], rollout: Rollout, shaped: ShapedScores, kl: float | None) -> None:
        """Bring the state to the end of the round."""
        config, state = self.config, self.state
        reasons = Counter(reason for reason in shaped.reasons if reason is not None)
        if self.accelerator.num_processes > 1:
            everyone = gather_object([(flops, dict(reasons))])
            flops = {name: sum(cost.get(name, 0.0) for cost, _ in everyone) for name in flops}
            reasons = sum((Counter(each) for _, each in everyone), Counter())
        answers = len(rollout.candidates) * self.accelerator.num_processes
        state.count(answers, {str(reason): number for reason, number in reasons.items()}, flops)
        state.baseline, state.seen = self.shaper.baseline, self.shaper.seen
        if config.kl.target is not None and kl is not None:
            state.kl_coefficient = adapted_coefficient(
                state.kl_coefficient, kl, target=config.kl.target, answers=answers, horizon=config.kl.horizon
            )
        state.round += 1
        self._shown = answer_lines(rollout, shaped, state.round)[: config.logged_answers]

    # -- held-out cases, files ----------------------------------------------------------------------------

    def _evaluate(self) -> None:
        """Answer the held-out cases, always with the same draws, and keep the model if it is the best so far."""
        assert self.held_out is not None
        own: list[Answered] = []
        places = range(self.accelerator.process_index, len(self.held_out), self.accelerator.num_processes)
        for part in chunks(places, self.config.batch_size):
            rollout = self._roll_out([self.held_out[place] for place in part], part, 1, "held out")
            logps = self._scores(rollout, self._policy).logps - self._scores(rollout, self.reference).logps
            own += answered(rollout, (logps * rollout.mask).sum(1), self.reward, self.gold)
        found = HeldOut.gather(self.accelerator, own).summary()
        found["round"] = self.state.round
        state, budget = self.state, self.config.kl.budget
        state.first = state.first or found
        state.last = found
        reward, kl = found["reward"], found["kl"]
        allowed = reward is not None and (budget is None or (kl is not None and kl <= budget))
        scored = self.config.least_scored * (state.first["reward_valid"] or 0.0)
        allowed = allowed and (found["reward_valid"] or 0.0) >= scored
        if allowed and (state.best is None or (reward or 0.0) > (state.best["reward"] or 0.0)):
            state.best = found
            if self.accelerator.is_main_process:
                save_best(self.run.checkpoints, self.actor, state.round)
            self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.run.log({"step": state.round, **{f"eval_{k}": v for k, v in found.items() if k != "round"}})

    def _log(self, logs: dict[str, float]) -> None:
        if self.config.report_to:
            self.accelerator.log(logs, step=self.state.round)
        if not self.accelerator.is_main_process:
            return
        self.run.log({"step": self.state.round, **finite(logs), "flops": sum(self.state.flops.values())})
        for line in self._shown:
            self.run.log(line, ANSWERS)

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            save_checkpoint(
                self.run.checkpoints, self.actor, self.optimizer, self.state, self.config.keep_checkpoints
            )
        self.accelerator.wait_for_everyone()

    def _summary(self, resumed: int, seconds: float) -> dict[str, Any]:
        trained = checkpoints.trained_parameters(self.actor)
        return {
            "stage": "ppo",
            "algorithm": {"gae": "ppo", "group": "grpo", "leave_one_out": "rloo"}[self.config.advantage.name],
            "reward": self.reward.name,
            "gold": self.gold.name if self.gold else None,
            **self.state.summary(),
            "forward_mode": forward_mode(self.vlm.model),
            "trained_parameters": sum(value.numel() for value in trained.values()),
            "resumed_from_step": resumed,
            "seconds_of_this_session": round(seconds, 2),
        }
