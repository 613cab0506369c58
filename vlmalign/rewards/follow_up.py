"""What a user would say next as a reward: likelier praise than blame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vlmalign.data.collation import collate, pad_token
from vlmalign.data.encode import EncodedResponse, candidate_prompt
from vlmalign.data.follow_up import encode_follow_up
from vlmalign.models import batch_flops, forward_responses
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.follow_up_phrases import choose_phrases
from vlmalign.rewards.language_model import load_language_model, model_digest
from vlmalign.rewards.prompt_groups import answers_of, shared_prompts
from vlmalign.rewards.protocol import RewardOutput, check_aligned


class FollowUpReward:
    """Follow-up likelihood as reward (FLR).

    r(y) = mean_p log p(p | x, y) - mean_n log p(n | x, y) over positive follow-ups p and negative ones n, under a
    vision-language model that takes them as the user's next turn (Zhang et al. 2024, arXiv:2409.13948). No
    preference data and no training are needed; how much it tells depends on the model. The difference of the
    phrases' own likelihoods is in every score alike, so that only scores of the same phrases and model can be
    compared, and those near one another say little: a small model may hardly react to the answer and give all of
    them about the same number, which is then reported as it is. Measure it on labelled pairs before it is trusted.

    Components: `positive` and
    `negative`, the two means.

    Args:
        model: a model folder, a run, a Hub id or `builtin:NAME`; the policy's own first model is a choice.
        bank: `clinical` or `general` follow-ups (`PHRASE_BANKS`), where none of one's own are given.
        positive: one's own follow-ups to a good answer, with `negative`.
        negative: one's own follow-ups to a bad answer.
        per_token: log-probabilities per token of a follow-up instead of their sum: long follow-ups then weigh no
            more than short ones.
        blank_images: show a grey picture instead of the case's images.
        batch_size: candidates per forward pass, each with all follow-ups after it.
        dtype: in which the model computes: "float32", "bfloat16" or "float16".
        device: where it runs; "auto": the accelerator, if there is one.

    Raises:
        FileNotFoundError: no such model.
        ValueError: follow-ups that are no two lists of different texts, or an unknown bank.
    """

    needs_images = True

    def __init__(
        self,
        model: str | Path,
        *,
        bank: str = "clinical",
        positive: Sequence[str] | None = None,
        negative: Sequence[str] | None = None,
        per_token: bool = False,
        blank_images: bool = False,
        batch_size: int = 4,
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self.phrases = choose_phrases(bank, positive, negative)
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1: raise it.")
        self.vlm = load_language_model(model, dtype=dtype, device=device)
        self.per_token, self.blank_images, self.batch_size = per_token, blank_images, batch_size
        self._check_answer = answers_of(self.vlm.processor, self.vlm.stop_tokens)
        settings = [model_digest(self.vlm), *self.phrases, per_token]
        self.name = f"follow_up@{config_hash(settings)[:8]}" + ("-blank" if blank_images else "")

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates; see `Reward.score`.

        Raises:
            ValueError: no images.
            DataError: an answer or a follow-up that the chat template cannot render in place, or whose text spells
                a special token.
        """
        check_aligned(cases, candidates, images)
        if images is None:
            raise ValueError("images is None: this reward's model looks at the images, give those of every case")
        scores: list[float | None] = []
        components: list[Mapping[str, float]] = []
        flops = 0.0
        for start in range(0, len(cases), self.batch_size):
            part = slice(start, start + self.batch_size)
            logps, cost = self._phrase_logps(cases[part], candidates[part], images[part])
            flops += cost
            for positive, negative in self._means(logps):
                score = positive - negative
                scores.append(score if math.isfinite(score) else None)
                components.append({"positive": positive, "negative": negative})
        reasons = ["the likelihood is not finite" if score is None else None for score in scores]
        return RewardOutput.of(scores, reasons=reasons, components=components, flops=flops)

    @torch.no_grad()
    def _phrase_logps(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]],
    ) -> tuple[torch.Tensor, float]:
        """Log-probability of each follow-up to each candidate, positive ones first, (N, F), and the cost."""
        processor, model = self.vlm.processor, self.vlm.model
        examples = list(
            shared_prompts(processor, cases, candidates, images, self._follow_ups, blank=self.blank_images)
        )
        batch = collate(examples, pad_token(processor))["batch"].to(next(model.parameters()).device)
        output = forward_responses(model, batch, mode="cached")
        assert output.logps is not None
        logps = (output.logps.double() * batch.loss_mask).sum(1)
        if self.per_token:
            logps = logps / batch.loss_mask.sum(1)
        mode: Any = output.mode  # "plain" for a family that cannot be cached
        return logps.view(len(cases), -1).cpu(), batch_flops(model, batch, training=False, mode=mode)

    def _follow_ups(self, case: Case, candidate: Candidate) -> Sequence[EncodedResponse]:
        self._check_answer(case, candidate)
        prompt = candidate_prompt(case, candidate)
        return [
            encode_follow_up(self.vlm.processor, prompt, candidate.messages, phrase, record=candidate.id)
            for phrase in (*self.phrases.positive, *self.phrases.negative)
        ]

    def _means(self, logps: torch.Tensor) -> list[tuple[float, float]]:
        n = len(self.phrases.positive)
        return list(zip(logps[:, :n].mean(1).tolist(), logps[:, n:].mean(1).tolist(), strict=True))
