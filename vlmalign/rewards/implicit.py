"""A tuned policy against its reference as a reward, sentence by sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vlmalign.data.collation import collate, pad_token
from vlmalign.data.encode import EncodedResponse
from vlmalign.models import VLM, PromptBatch, batch_flops, forward_responses
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import config_hash
from vlmalign.rewards.language_model import load_language_model, model_digest
from vlmalign.rewards.prompt_groups import answers_of, shared_prompts
from vlmalign.rewards.protocol import RewardOutput, Steps, check_aligned
from vlmalign.rewards.sentence_steps import sentence_steps


class ImplicitReward:
    """beta times the log-ratio of a tuned policy and its reference, summed over the answer's tokens.

    r(y) = beta sum_t log pi(y_t | x, y_<t) / ref(y_t | x, y_<t): what DPO's loss is the Bradley-Terry loss of
    (Rafailov et al. 2023, arXiv:2305.18290, equation 5, without the term of the prompt, so that answers to
    *different* prompts must not be compared unless the policy was trained with `loss: outcome`). The part of a
    step's tokens is the step's reward (implicit process reward model, Yuan et al. 2024, arXiv:2412.01981); steps
    are the sentences of an answer, those of all turns of a conversation, and add up to the score. The end token
    belongs to the last sentence of its turn.

    Components: `policy_logp` and `reference_logp`, summed over the `tokens` that the assistant says.

    Args:
        policy: the tuned model: a model folder, a run, a Hub id or `builtin:NAME`.
        reference: what it was tuned from, alike.
        beta: that of the policy's training, > 0; it scales all scores alike.
        per_token: divide score and steps by the number of tokens.
        blank_images: show a grey picture instead of the case's images.
        batch_size: candidates per forward pass, with a logit of the whole vocabulary per token.
        dtype: in which both compute: "float32", "bfloat16" or "float16".
        device: where both run; "auto": the accelerator, if there is one.

    Raises:
        FileNotFoundError: no such model.
        ValueError: beta not above 0, or two models that do not read the same prompt alike: another tokenizer, chat
            template or image processor.
    """

    needs_images = True

    def __init__(
        self,
        policy: str | Path,
        reference: str | Path,
        *,
        beta: float = 0.1,
        per_token: bool = False,
        blank_images: bool = False,
        batch_size: int = 8,
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        if not beta > 0:
            raise ValueError(f"beta is {beta}, expected more than 0: give that of the policy's training.")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1: raise it.")
        self.policy = load_language_model(policy, dtype=dtype, device=device)
        self.reference = load_language_model(reference, dtype=dtype, device=device)
        _check_read_alike(self.policy, self.reference)
        self.beta, self.per_token = beta, per_token
        self.blank_images, self.batch_size = blank_images, batch_size
        self._stops = self.policy.stop_tokens
        settings = [model_digest(self.policy), model_digest(self.reference), beta, per_token]
        self.name = f"implicit@{config_hash(settings)[:8]}" + ("-blank" if blank_images else "")

    def score(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]] | None = None,
    ) -> RewardOutput:
        """Score N candidates and their sentences; see `Reward.score`.

        Raises:
            ValueError: no images.
            DataError: an answer that the chat template cannot render or whose text spells a special token.
        """
        check_aligned(cases, candidates, images)
        if images is None:
            raise ValueError("images is None: an implicit reward looks at the images, give those of every case")
        scores: list[float | None] = []
        components: list[Mapping[str, float]] = []
        steps: list[Steps | None] = []
        flops = 0.0
        for start in range(0, len(cases), self.batch_size):
            part = slice(start, start + self.batch_size)
            responses, logps, cost = self._token_logps(cases[part], candidates[part], images[part])
            flops += cost
            for candidate, response, values in zip(candidates[part], responses, logps, strict=True):
                score, parts, row = self._score_one(candidate, response, values)
                scores.append(score)
                components.append(parts)
                steps.append(row)
        reasons = ["the log-ratio is not finite" if score is None else None for score in scores]
        return RewardOutput.of(scores, reasons=reasons, components=components, steps=steps, flops=flops)

    @torch.no_grad()
    def _token_logps(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]],
    ) -> tuple[list[EncodedResponse], torch.Tensor, float]:
        """Responses, log-probabilities of their tokens under policy and reference (N, 2, T), and the cost."""
        processor = self.policy.processor
        encode = answers_of(processor, self._stops)
        examples = list(shared_prompts(processor, cases, candidates, images, encode, blank=self.blank_images))
        batch = collate(examples, pad_token(processor))["batch"]
        found, flops = zip(*(_logps(vlm, batch) for vlm in (self.policy, self.reference)), strict=True)
        responses = [response for example in examples for response in example.responses]
        return responses, torch.stack(found, 1), sum(flops)

    def _score_one(
        self, candidate: Candidate, response: EncodedResponse, logps: torch.Tensor
    ) -> tuple[float | None, Mapping[str, float], Steps | None]:
        """Score, components and steps of one answer; logps (2, T)."""
        spoken = torch.tensor(response.loss_mask)
        logps = logps[:, : len(response)].double() * spoken
        n = int(spoken.sum())
        scale = self.beta / n if self.per_token else self.beta
        ratios = scale * (logps[0] - logps[1])
        score = float(ratios.sum())
        if not math.isfinite(score):
            return None, {}, None
        places = sentence_steps(self.policy.tokenizer, candidate, response)
        steps = tuple((step.end, float(ratios[step.start : step.stop].sum())) for step in places)
        policy, reference = logps.sum(1).tolist()
        return score, {"policy_logp": policy, "reference_logp": reference, "tokens": float(n)}, steps


def _logps(vlm: VLM, batch: PromptBatch) -> tuple[torch.Tensor, float]:
    """Token log-probabilities (N, T) on the CPU, and the operations they took."""
    placed = batch.to(next(vlm.model.parameters()).device)
    output = forward_responses(vlm.model, placed, mode="cached")
    assert output.logps is not None
    mode: Any = output.mode  # "plain" for a family that cannot be cached
    return output.logps.cpu(), batch_flops(vlm.model, placed, training=False, mode=mode)


def _check_read_alike(policy: VLM, reference: VLM) -> None:
    """Refuse two models of which one would read tokens or pixels made for the other."""
    parts: dict[str, Any] = {
        "tokenizer": lambda vlm: (vlm.tokenizer.get_vocab(), vlm.tokenizer.eos_token_id),
        "chat template": lambda vlm: vlm.processor.chat_template,
        "image processor": lambda vlm: _settings_of(vlm.processor.image_processor),
        "family": lambda vlm: vlm.model.config.model_type,
    }
    for name, part in parts.items():
        if part(policy) != part(reference):
            raise ValueError(
                f"policy and reference differ in their {name}: their log-probabilities are of different tokens or "
                "pictures. Give the model that the policy was tuned from as the reference."
            )


def _settings_of(image_processor: Any) -> dict[str, Any]:
    """What decides the pixels, without the places and classes that it was loaded from."""
    named = ("processor_class", "image_processor_type")
    return {k: v for k, v in image_processor.to_dict().items() if k not in named and not k.startswith("_")}
