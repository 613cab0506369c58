"""Eight sampled answers to each of four image prompts: this toolkit's sampler beside the library's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from benchmarks.setting import ANSWER_TOKENS, Pair
from torch import Tensor

from vlmalign.data import encode_prompts
from vlmalign.models import VLM, sample_responses, sampling_flops

SAMPLES = 8


class OurRollout:
    """`sample_responses`: each prompt is run once for all its samples."""

    def __init__(self, vlm: VLM) -> None:
        self.vlm = vlm

    def __call__(self, pairs: Sequence[Pair], samples: int = SAMPLES, temperature: float = 1.0) -> list[list[int]]:
        """Tokens of all answers."""
        seeds = [[100 * i + k for k in range(samples)] for i in range(len(pairs))]
        found = sample_responses(
            self.vlm, prompts_of(self.vlm, pairs), seeds=seeds, temperature=temperature, top_p=1.0,
            max_new_tokens=ANSWER_TOKENS,
        )  # fmt: skip
        return [list(sample.token_ids) for own in found for sample in own]


class PeerRollout:
    """`generate(num_return_sequences=8)` of transformers, which TRL calls too."""

    def __init__(self, vlm: VLM) -> None:
        self.vlm = vlm

    @torch.no_grad()
    def __call__(self, pairs: Sequence[Pair], samples: int = SAMPLES, temperature: float = 1.0) -> list[list[int]]:
        """Tokens of all answers."""
        inputs = prompts_of(self.vlm, pairs)
        how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        found = self.vlm.model.generate(
            **inputs, **how, num_return_sequences=samples, max_new_tokens=ANSWER_TOKENS,
            pad_token_id=self.vlm.tokenizer.pad_token_id,
        )  # fmt: skip
        return [_cut(row, self.vlm.tokenizer.eos_token_id) for row in found[:, inputs["input_ids"].shape[1] :]]


def prompts_of(vlm: VLM, pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """Processed prompts."""
    return encode_prompts(vlm.processor, [pair.prompt for pair in pairs], [[pair.image] for pair in pairs])


def arithmetic_limit(vlm: VLM, pairs: Sequence[Pair]) -> float:
    """Operations of running every prompt once per sample over those of running it once."""
    inputs = prompts_of(vlm, pairs)
    shared = sampling_flops(vlm.model, inputs, samples=SAMPLES * len(pairs), new_tokens=ANSWER_TOKENS)
    prompt = sampling_flops(vlm.model, inputs, samples=0, new_tokens=ANSWER_TOKENS)
    return (shared + (SAMPLES - 1) * prompt) / shared


def _cut(row: Tensor, end: int) -> list[int]:
    tokens = row.tolist()
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens
