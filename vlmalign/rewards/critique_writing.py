"""Critiques of answers as a critique model writes them; what was cut or says nothing is no critique."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from vlmalign.data.blank import blank_image
from vlmalign.data.collation import encode_prompts
from vlmalign.data.critique import critique_prompt
from vlmalign.data.encode import candidate_prompt
from vlmalign.models import Sample, sample_responses, sampling_flops
from vlmalign.models.critique_model import CritiqueModel
from vlmalign.records import Candidate, Case
from vlmalign.records.hashing import derive_seed

CUT, EMPTY, UNREADABLE = "cut", "empty", "unreadable"
#: why a critique is not scored, in words
REASONS = {CUT: "cut by the token limit", EMPTY: "empty", UNREADABLE: "spelling a special token"}


@dataclass(frozen=True)
class WrittenCritique:
    """One critique.

    Attributes:
        text: as it was written, also where it is not valid.
        fault: why it is no critique that can be scored, a key of `REASONS`; None: it can be.
    """

    text: str
    fault: str | None = None

    @classmethod
    def of(cls, sample: Sample) -> WrittenCritique:
        """A sampled one.

        Example:
            >>> WrittenCritique.of(Sample((7,), "Claim: foc", -1.0, finished=False)).fault
            'cut'
        """
        fault = None if sample.text.strip() else EMPTY
        return cls(sample.text, fault if sample.finished else CUT)


@dataclass(frozen=True)
class CritiqueWriter:
    """Writes critiques of answers.

    Attributes:
        model: what writes.
        n: critiques of each answer.
        temperature: of sampling, 0 takes the likeliest token; default 0 for one critique and 1 for several.
        seed: of sampling. The draws of the k-th critique are the same for all answers to a case, so that in a
            comparison of two answers they do not add to the noise.
        max_new_tokens: a longer critique is cut, and so not scored.
        blank_images: show grey pictures instead of the case's.

    Raises:
        ValueError: settings out of range.
    """

    model: CritiqueModel
    n: int = 1
    temperature: float | None = None
    seed: int = 0
    max_new_tokens: int = 256
    blank_images: bool = False

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n is {self.n}, expected 1 or more: an answer is scored after a critique.")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}, expected 1 or more: raise it.")
        if self.n > 1 and self.temperature == 0:
            raise ValueError(f"n is {self.n} at temperature 0, where all critiques are the same: use n 1.")
        if self.temperature is not None and not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature is {self.temperature}, expected 0 (likeliest token) or more: raise it.")

    def write(
        self,
        cases: Sequence[Case],
        candidates: Sequence[Candidate],
        images: Sequence[Sequence[Image.Image]],
    ) -> tuple[list[list[WrittenCritique]], float]:
        """Critiques of N answers in one batch, and the operations that they took.

        Args:
            cases: the case of each candidate, N, at least one.
            candidates: N answers that `encode_response` accepts.
            images: the images of each candidate's case, N.

        Returns:
            n critiques of each answer.
        """
        turns = [
            critique_prompt(candidate_prompt(case, candidate), candidate.messages)
            for case, candidate in zip(cases, candidates, strict=True)
        ]
        if self.blank_images:
            images = [[blank_image(picture) for picture in pictures] for pictures in images]
        names = [candidate.id for candidate in candidates]
        device = next(self.model.parameters()).device
        prompts = encode_prompts(self.model.processor, turns, images, names)
        prompts = {name: value.to(device) for name, value in prompts.items()}
        drawn = sample_responses(
            self.model.vlm,
            prompts,
            seeds=[[derive_seed(self.seed, case.id, "critique", k) for k in range(self.n)] for case in cases],
            temperature=(0.0 if self.n == 1 else 1.0) if self.temperature is None else self.temperature,
            max_new_tokens=self.max_new_tokens,
        )
        samples = [sample for each in drawn for sample in each]
        tokens = sum(len(sample.token_ids) for sample in samples) / len(samples)
        flops = sampling_flops(self.model.model, prompts, samples=len(samples), new_tokens=tokens)
        return [[WrittenCritique.of(sample) for sample in each] for each in drawn], flops
