"""One optimiser step of this toolkit, from pictures and texts on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from benchmarks.setting import BETA, Pair
from benchmarks.step import Step
from torch import Tensor

from vlmalign.data.collation import collate, pad_token
from vlmalign.data.encode import Example, encode_response
from vlmalign.data.prompts import encode_prompt
from vlmalign.losses import dpo_loss, log_ratios, ranked_pairs
from vlmalign.models import VLM, FeatureCache, forward_responses, sequence_logps


class OurStep(Step):
    """DPO on all pairs of each prompt's ranked answers.

    Args:
        vlm: with adapters.
        answers: how many of each prompt's four answers are used: 2 is a pair.
        warm: whether processed prompts, image features and reference log-probabilities are kept between steps,
            as they are in training from the second epoch on; else every step is the first sight of its images,
            whose features serve policy and reference.
    """

    def __init__(self, vlm: VLM, answers: int = 2, *, warm: bool) -> None:
        super().__init__(vlm.model)
        self.vlm, self.answers, self.warm = vlm, answers, warm
        self.stops = vlm.stop_tokens
        self.features = FeatureCache(vlm.model)
        self.examples: dict[int, Example] = {}
        self.references: dict[tuple[int, ...], Tensor] = {}

    def loss(self, pairs: Sequence[Pair]) -> Tensor:
        """Mean DPO loss over all pairs of different rank."""
        if not self.warm:
            self.features.forget()
        batch = collate([self._example(pair) for pair in pairs], pad_token(self.vlm.processor))["batch"]
        policy = sequence_logps(forward_responses(self.vlm.model, batch, features=self.features), batch)
        key = tuple(map(id, pairs))
        reference = self.references.get(key)
        if reference is None:
            with torch.no_grad(), self.vlm.model.disable_adapter():
                found = forward_responses(self.vlm.model, batch, features=self.features)
            reference = sequence_logps(found, batch)
            if self.warm:
                self.references[key] = reference
        ratios = log_ratios(policy, reference)
        chosen, rejected = ranked_pairs(batch.slots, batch.prompt_index)
        return dpo_loss(ratios[chosen], ratios[rejected], beta=BETA).losses.mean()

    def _example(self, pair: Pair) -> Example:
        example = self.examples.get(id(pair))
        if example is None:
            processor = self.vlm.processor
            responses = (
                encode_response(processor, pair.prompt, pair.turns(rank), record="pair", stops=self.stops)
                for rank in range(self.answers)
            )
            example = Example("pair", encode_prompt(processor, pair.prompt, [pair.image]), tuple(responses))
            if self.warm:
                self.examples[id(pair)] = example
        return example
