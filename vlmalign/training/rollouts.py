"""A round's answers: sampled by the policy as it is now, kept as candidates and as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from vlmalign.data import CasePrompt, EncodedResponse, Example, collate, collate_prompts, pad_token
from vlmalign.models import VLM, FeatureCache, PromptBatch, sample_responses, sampling_flops
from vlmalign.models.sampling import Sample
from vlmalign.records import Candidate, Case, Sampling, assistant
from vlmalign.records.hashing import derive_seed


@dataclass(frozen=True)
class Rollout:
    """K answers to each of B cases, N = B K, those of one case together.

    Attributes:
        items: the cases.
        samples: per case its answers.
        candidates: the answers as records, (N).
        flops: floating point operations of sampling.
        pad: id that fills shorter answers.
    """

    items: tuple[CasePrompt, ...]
    samples: tuple[tuple[Sample, ...], ...]
    candidates: tuple[Candidate, ...]
    flops: float
    pad: int

    @property
    def cases(self) -> list[Case]:
        """The case of each answer, N."""
        return [item.case for item, own in self._answers() for _ in own]

    @property
    def images(self) -> list[Sequence[Image.Image]]:
        """The images of each answer's case, N."""
        return [item.images for item, own in self._answers() for _ in own]

    @cached_property
    def token_ids(self) -> list[tuple[int, ...]]:
        """Tokens of each answer, N."""
        return [sample.token_ids for own in self.samples for sample in own]

    @cached_property
    def lengths(self) -> Tensor:
        """Tokens of each answer, (N,)."""
        return torch.tensor([len(ids) for ids in self.token_ids])

    @cached_property
    def mask(self) -> Tensor:
        """Which tokens are real, (N, T) bool."""
        return torch.arange(int(self.lengths.max())) < self.lengths[:, None]

    @property
    def shape(self) -> tuple[int, int]:
        """(N, T)."""
        return (self.mask.shape[0], self.mask.shape[1])

    @cached_property
    def prompt_of(self) -> Tensor:
        """Which case each answer belongs to, (N,)."""
        return torch.tensor([b for b, own in enumerate(self.samples) for _ in own])

    def batch(self, cases: Sequence[int]) -> tuple[PromptBatch, Tensor]:
        """Some cases with all their answers, and which rows of the round the answers are, (n,)."""
        examples = []
        for b in cases:
            answers = tuple(
                EncodedResponse(sample.token_ids, (True,) * len(sample.token_ids)) for sample in self.samples[b]
            )
            examples.append(Example(self.items[b].key, self.items[b].prompt, answers))
        rows = torch.cat([(self.prompt_of == b).nonzero()[:, 0] for b in cases])
        return collate(examples, self.pad)["batch"], rows

    def _answers(self) -> zip[tuple[CasePrompt, tuple[Sample, ...]]]:
        return zip(self.items, self.samples, strict=True)


class Sampler(Protocol):
    """Whatever draws answers from the policy as it is now."""

    def __call__(
        self,
        items: Sequence[CasePrompt],
        *,
        seeds: list[list[int]],
        temperature: float,
        max_new_tokens: int,
        version: int,
    ) -> list[list[Sample]]:
        """Per case, one answer per seed.

        Args:
            items: B cases.
            seeds: per case, one per wanted answer.
            temperature: of sampling.
            max_new_tokens: an answer is cut here.
            version: of the policy; the same number means the same weights.
        """
        ...


@dataclass(frozen=True)
class LocalSampler:
    """The policy itself, in this process.

    Attributes:
        vlm: model and processor.
        device: of the model.
        features: see `sample_responses`.
    """

    vlm: VLM
    device: torch.device
    features: FeatureCache | None = None

    def __call__(
        self,
        items: Sequence[CasePrompt],
        *,
        seeds: list[list[int]],
        temperature: float,
        max_new_tokens: int,
        version: int,
    ) -> list[list[Sample]]:
        """See `Sampler`; the weights are always those of now, whatever the version."""
        prompts = collate_prompts([item.prompt for item in items], pad_token(self.vlm.processor))
        return sample_responses(
            self.vlm, {name: value.to(self.device) for name, value in prompts.items()}, seeds=seeds,
            temperature=temperature, max_new_tokens=max_new_tokens, features=self.features,
        )  # fmt: skip


def roll_out(
    vlm: VLM,
    items: Sequence[CasePrompt],
    places: Sequence[int],
    sampler: Sampler,
    *,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    seed: tuple[object, ...],
    policy: str,
    version: int,
) -> Rollout:
    """Sample answers to cases.

    An answer's draws depend on `seed`, its place and its number alone, not on how many processes share the cases.

    Args:
        vlm: model and processor.
        items: B cases.
        places: where each of them stands in the order of the data.
        sampler: draws the answers.
        samples: answers per case.
        temperature: of sampling.
        max_new_tokens: an answer is cut here.
        seed: parts of the seed.
        policy: id to write into the candidates.
        version: see `Sampler`.
    """
    pad = pad_token(vlm.processor)
    prompts = collate_prompts([item.prompt for item in items], pad)
    seeds = [[derive_seed(*seed, place, k) for k in range(samples)] for place in places]
    drawn = sampler(items, seeds=seeds, temperature=temperature, max_new_tokens=max_new_tokens, version=version)
    settings = {"temperature": temperature, "top_p": 1.0, "max_new_tokens": max_new_tokens}
    candidates = [
        Candidate(
            id=f"{item.case.id}/{policy}/{k}",
            case_id=item.case.id,
            group_id=item.case.group_id,
            messages=(assistant(sample.text),),
            policy=policy,
            sampling=Sampling(**settings, sample=k),
            seed=seeds[b][k],
            logp=sample.logp,
            tokens=len(sample.token_ids),
            finished=sample.finished,
        )
        for b, (item, own) in enumerate(zip(items, drawn, strict=True))
        for k, sample in enumerate(own)
    ]
    tokens = sum(len(sample.token_ids) for own in drawn for sample in own)
    flops = sampling_flops(vlm.model, prompts, samples=len(candidates), new_tokens=tokens / len(candidates))
    return Rollout(tuple(items), tuple(tuple(own) for own in drawn), tuple(candidates), flops, pad)
